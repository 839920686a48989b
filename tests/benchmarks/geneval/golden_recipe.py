"""Images, masks and weights by name: the recipe on which the outputs of GenEval's original code were recorded."""

import io
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from PIL import Image
from silmm_benchmarks.judges.mask2former.network import Mask2Former, Sizes

from tests.benchmarks.judges.unidet.recipe import hash24, unit

TINY = Sizes(
    swin_width=16, swin_depths=(2, 2, 4, 2), swin_heads=(1, 2, 4, 8), width=64, encoder_layers=2, encoder_hidden=96,
    decoder_layers=4, decoder_hidden=128, queries=20,
)  # fmt: skip
"""The sizes of the narrow network that was recorded."""
PALETTE = {
    "red": (220, 30, 30), "orange": (250, 150, 30), "yellow": (240, 230, 50), "green": (40, 160, 60),
    "blue": (40, 70, 210), "purple": (130, 50, 160), "pink": (250, 160, 190), "brown": (120, 75, 40),
    "black": (15, 15, 15), "white": (245, 245, 245),
}  # fmt: skip
_DETECTOR_GAINS = {
    "sampling_offsets": 2.0, "attention_weights": 3.0, "cls_embed": 6.0, "mask_feature": 2.0, "projection": 2.0,
}  # fmt: skip
_EMBEDDINGS = ("level_encoding", "level_embed", "query_embed", "query_feat")


def pixels(name: str, height: int, width: int) -> np.ndarray:
    """Return an image (height, width, 3) of ramps, eight rectangles and noise."""
    y, x = np.mgrid[0:height, 0:width].astype(np.int64)
    image = np.stack([(3 * x * (c + 1) + 2 * y * (3 - c) + 50 * c) // 4 % 256 for c in range(3)], axis=2)
    for row in hash24(f"{name}/rect", 56).reshape(8, 7):
        left, upper = row[0] % width, row[1] % height
        right, lower = left + row[2] % max(1, width // 2) + 4, upper + row[3] % max(1, height // 2) + 4
        image[upper:lower, left:right] = row[4:7] % 256
    noise = hash24(f"{name}/noise", height * width * 3).reshape(height, width, 3) % 33 - 16
    return np.clip(image + noise, 0, 255).astype(np.uint8)


def mask(name: str, height: int, width: int) -> np.ndarray:
    """Return a mask (height, width): an ellipse with a noisy rim."""
    a, b, c, d = hash24(f"{name}/mask", 4)
    centre_x, centre_y = width * 0.3 + a % max(1, int(width * 0.4)), height * 0.3 + b % max(1, int(height * 0.4))
    radius_x, radius_y = 4 + c % max(1, width // 2), 4 + d % max(1, height // 2)
    y, x = np.mgrid[0:height, 0:width]
    distance = ((x - centre_x) / radius_x) ** 2 + ((y - centre_y) / radius_y) ** 2
    return distance + unit(f"{name}/rim", (height, width)) * 0.25 < 1.0


def image_of(name: str, case: Mapping[str, Any], mode: str, alpha: int) -> Image.Image:
    """Return the image of a case in its mode and orientation, as a file gives it; channel `alpha` is RGBA's alpha."""
    array = pixels(name, case["height"], case["width"])
    plain = {
        "RGB": lambda: Image.fromarray(array),
        "RGBA": lambda: Image.fromarray(np.dstack([array, array[..., alpha]])),
        "L": lambda: Image.fromarray(array[..., 0]),
        "LA": lambda: Image.fromarray(array[..., 0]).convert("LA"),
        "I;16": lambda: Image.fromarray(array[..., 0].astype(np.uint16) * 257 + 3),
        "1": lambda: Image.fromarray(array[..., 0] > 127),
        "P": lambda: Image.fromarray(array).quantize(32),
    }[mode]()
    exif = Image.Exif()
    if case["exif_orientation"]:
        exif[0x112] = case["exif_orientation"]
    buffer = io.BytesIO()
    plain.save(buffer, format="PNG", exif=exif)
    return Image.open(buffer)


def detector_tensor(key: str, shape: tuple[int, ...]) -> np.ndarray:
    """Return the float32 weights of a name of mmdet's state dict."""
    values = unit(key, shape)
    owner, _, leaf = key.rpartition(".")
    last, outer = owner.split(".")[-1], owner.split(".")[-2:-1]
    if leaf == "relative_position_bias_table":
        return np.float32(0.5) * values
    if last in ("norm", "norm0", "norm1", "norm2", "norm3", "gn", "post_norm") or outer == ["norms"]:
        return np.float32(leaf == "weight") + np.float32(0.2) * values
    if last in _EMBEDDINGS:
        return values
    if leaf in ("bias", "in_proj_bias"):
        return np.float32({"sampling_offsets": 6.0, "cls_embed": 2.0}.get(last, 0.2)) * values
    gain = 2.0 if leaf == "in_proj_weight" else _DETECTOR_GAINS.get(last, 1.2)
    if ".transformer_decoder." in key and (last == "out_proj" or owner.endswith("ffns.0.layers.1")):
        gain = 0.4  # keeps the queries apart
    return values * np.float32(gain * np.sqrt(3.0 / math.prod(shape[1:])))


def detector(sizes: Sizes | None = None) -> Mask2Former:
    """Return a network with the recipe's weights."""
    with torch.device("meta"):
        network = Mask2Former(sizes)
    network.load_state_dict(detector_table(network), assign=True)
    return network.eval().requires_grad_(False)


def detector_table(network: Mask2Former) -> dict[str, torch.Tensor]:
    """Return the recipe's weights for the names and shapes of a network."""
    return {
        key: torch.from_numpy(detector_tensor(key, tuple(value.shape))) for key, value in network.state_dict().items()
    }


def clip_tensor(key: str, shape: tuple[int, ...]) -> np.ndarray:
    """Return the float32 weights of a name of open_clip's state dict."""
    values = unit(f"clip.{key}", shape).astype(np.float64)
    parts = key.split(".")
    owner, leaf = parts[-2] if len(parts) > 1 else "", parts[-1]
    if owner.startswith("ln_"):
        scaled = (leaf == "weight") + 0.1 * values
    elif leaf in ("bias", "in_proj_bias"):
        scaled = 0.1 * values
    elif key in ("positional_embedding", "visual.positional_embedding", "visual.class_embedding"):
        scaled = 0.5 * values
    elif key == "token_embedding.weight":
        scaled = values
    elif key in ("text_projection", "visual.proj"):
        scaled = values * np.sqrt(3.0 / shape[0])
    else:
        scaled = values * 1.4142135 * np.sqrt(3.0 / np.prod(shape[1:]))
    return scaled.astype(np.float32)


def painted(case: Mapping[str, Any]) -> tuple[Image.Image, list[np.ndarray]]:
    """Return the image of an end-to-end case, coloured shapes on grey, and the mask of each shape."""
    image = np.full((96, 128, 3), 120, dtype=np.int64)
    y, x = np.mgrid[0:96, 0:128]
    masks = []
    for number, (_, colour, left, upper, right, lower, _, shape) in enumerate(case["painted"]):
        inside = (x >= left) & (x < right) & (y >= upper) & (y < lower)
        if shape == "ellipse":
            centre, radius = ((left + right) / 2, (upper + lower) / 2), ((right - left) / 2, (lower - upper) / 2)
            inside = ((x + 0.5 - centre[0]) / radius[0]) ** 2 + ((y + 0.5 - centre[1]) / radius[1]) ** 2 <= 1
        noise = hash24(f"{case['key']}/{number}", 3 * int(inside.sum())).reshape(-1, 3) % 21 - 10
        image[inside] = np.array(PALETTE[colour]) + noise
        masks.append(inside)
    return Image.fromarray(np.clip(image, 0, 255).astype(np.uint8)), masks


def nearest_colour(crop: Image.Image) -> str:
    """Stand in for CLIP as the recording does: the palette colour nearest to the mean of a crop."""
    mean = np.asarray(crop, dtype=np.float64).mean((0, 1))
    distance = {name: float(((mean - colour) ** 2).sum()) for name, colour in PALETTE.items()}
    return min(distance, key=lambda name: distance[name])
