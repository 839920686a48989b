"""The vision tokenizer: images to grids of codes and back, always in float32."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image as Images

from silmm.checkpoint.folders import read_json
from silmm.checkpoint.networks import fill, refuse_unknown
from silmm.checkpoint.weight_files import read_weights, weight_files
from silmm.errors import DataError
from silmm_plugins.models.emu3.locate import form_of

if TYPE_CHECKING:
    from torch import Tensor

    from silmm.contracts.models import Image
    from silmm_plugins.models.emu3.grammar import Codes

_CONFIG = {
    "codebook_size": "codebook_size",
    "embed_dim": "embed_dim",
    "z_channels": "latent_channels",
    "double_z": "double_latent",
    "in_channels": "in_channels",
    "out_channels": "out_channels",
    "temporal_downsample_factor": "temporal_downsample_factor",
    "ch": "base_channels",
    "ch_mult": "channel_multiplier",
    "num_res_blocks": "num_res_blocks",
    "attn_resolutions": "attn_resolutions",
}
"""Names in the original configuration and in that of transformers (docs/spec/base-models.md 3.2)."""
_RENAMED = (
    (re.compile(r"^encoder\.down\."), "encoder.down_block.down."),
    (re.compile(r"^decoder\.up\."), "decoder.up_block.up."),
    (re.compile(r"\.mid\.block_"), ".middle_block.block_"),
    (re.compile(r"\.mid\.attn_1\.norm"), ".middle_block.attn_norm"),
    (re.compile(r"\.mid\.attn_1\."), ".middle_block.attn_1."),
    (re.compile(r"\.attn\.(\d+)\.norm"), r".attn_norms.\1"),
)
_PROJECTION = re.compile(r"(\.attn_1|\.attn\.\d+)\.(q|k|v|proj_out)\.")


class Emu3ImageTokenizer:
    """Emu3's convolutional tokenizer with its preprocessing."""

    def __init__(self, model: Any, processing: dict[str, Any], max_pixels: int) -> None:
        """Wrap a model; `processing` is the checkpoint's preprocessor, `max_pixels` > 0 overrides its value."""
        self._model = model.eval().requires_grad_(False)
        self.codes: int = model.config.codebook_size
        self.side: int = model.spatial_scale_factor
        self._mean = torch.tensor(processing["image_mean"]).view(3, 1, 1)
        self._std = torch.tensor(processing["image_std"]).view(3, 1, 1)
        self._scale: float = processing["rescale_factor"]
        self._resample = Images.Resampling(processing["resample"])
        self._most: int = max_pixels or processing["max_pixels"]
        self._least: int = min(processing["min_pixels"], self._most)

    @property
    def limits(self) -> tuple[int, int]:
        """The least and the greatest number of pixels of the encoder's input."""
        return self._least, self._most

    def to(self, device: torch.device) -> None:
        """Move the weights."""
        self._model.to(device)

    def pixels(self, image: Image) -> Tensor:
        """Return the encoder's input for an image: (3, height, width), in whole codes."""
        height, width = self.resized(*image.shape[:2])
        resized = Images.fromarray(image).resize((width, height), self._resample)
        values = torch.from_numpy(np.asarray(resized, dtype=np.float32)).movedim(-1, 0) * self._scale
        return (values - self._mean) / self._std

    def resized(self, height: int, width: int) -> tuple[int, int]:
        """Return the size to which an image is scaled: whole codes, between the limits of pixels."""
        side = self.side
        rows, columns = max(1, round(height / side)), max(1, round(width / side))
        if rows * columns * side * side > self._most:
            shrink = math.sqrt(height * width / self._most) * side
            rows, columns = max(1, int(height / shrink)), max(1, int(width / shrink))
        elif rows * columns * side * side < self._least:
            grow = math.sqrt(self._least / (height * width)) / side
            rows, columns = math.ceil(height * grow), math.ceil(width * grow)
        return rows * side, columns * side

    @torch.inference_mode()
    def encode(self, image: Image) -> Codes:
        """Return an image's codes, int32 (rows, columns)."""
        return self.encode_pixels(self.pixels(image))

    @torch.inference_mode()
    def encode_pixels(self, pixels: Tensor) -> Codes:
        """Return the codes, int32 (rows, columns), of preprocessed pixels (3, height, width)."""
        out = self._model.encode(pixels[None].to(self._device), image_sizes=torch.tensor([pixels.shape[1:]]))
        codes: Codes = out.image_tokens[0].cpu().numpy().astype(np.int32)
        return codes

    @torch.inference_mode()
    def decode_pixels(self, codes: Codes) -> Tensor:
        """Return (3, height, width) of codes (rows, columns), about in [-1, 1]."""
        grid = torch.from_numpy(codes.astype(np.int64))[None].to(self._device)
        values: Tensor = self._model.decode(grid)[0].float().cpu()
        return values

    def decode(self, codes: Codes) -> Image:
        """Return the image of codes (rows, columns)."""
        values = (self.decode_pixels(codes) * self._std + self._mean) / self._scale
        # the original truncates
        image: Image = values.clamp(0, 255).to(torch.uint8).movedim(0, -1).contiguous().numpy()
        return image

    @property
    def _device(self) -> torch.device:
        device: torch.device = self._model.device
        return device


def load_vision(folder: Path, max_pixels: int) -> Emu3ImageTokenizer:
    """Load the tokenizer of an -hf folder, or Emu3-VisionTokenizer, into main memory.

    Raises:
        DataError: files are missing or damaged, or config and weights do not agree.
    """
    from transformers import Emu3VQVAE, Emu3VQVAEConfig

    raw = read_json(folder / "config.json")
    try:
        if form_of(folder) == "hf":
            config = Emu3VQVAEConfig(**raw["vq_config"])
        else:
            values = {new: raw[old] for old, new in _CONFIG.items()}
            widest = raw["ch"] * raw["ch_mult"][-1]
            config = Emu3VQVAEConfig(**values, hidden_size=widest, num_attention_heads=1)
        model = Emu3VQVAE(config)
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{folder / 'config.json'} does not describe a vision tokenizer of Emu3 ({error!r}); copy it "
            "again"
        ) from error
    refuse_unknown(folder, "Emu3VQVAE", fill(model, _weights(folder), folder))
    processing = _processing(folder)
    return Emu3ImageTokenizer(model, processing, max_pixels)


def _weights(folder: Path) -> dict[str, Tensor]:
    files = weight_files(folder, pickles=False)
    if form_of(folder) == "hf":
        return {
            name: weight.float()
            for prefix in ("vqmodel.", "model.vqmodel.")
            for name, weight in read_weights(files, prefix).items()
        }
    return dict(_renamed(name, weight.float()) for name, weight in read_weights(files).items())


def _renamed(name: str, weight: Tensor) -> tuple[str, Tensor]:
    """Return an original tensor under its transformers name; 1x1 convolutions of attention become matrices."""
    projection = _PROJECTION.search(name)
    if projection:
        new = "out_proj" if projection[2] == "proj_out" else f"{projection[2]}_proj"
        name = f"{name[: projection.start(2)]}{new}.{name[projection.end() :]}"
        weight = weight.flatten(1) if weight.ndim > 1 else weight
    for pattern, new in _RENAMED:
        name = pattern.sub(new, name)
    return name, weight


def _processing(folder: Path) -> dict[str, Any]:
    """Return the preprocessor's settings.

    Raises:
        DataError: no preprocessor file, or a setting is missing: the defaults of transformers are those of
            another model (docs/spec/base-models.md 3.5).
    """
    for name in ("preprocessor_config.json", "processor_config.json"):
        if (folder / name).is_file():
            raw = read_json(folder / name)
            settings: dict[str, Any] = raw.get("image_processor", raw)
            wanted = ("image_mean", "image_std", "rescale_factor", "resample", "min_pixels", "max_pixels")
            missing = [key for key in wanted if key not in settings]
            if missing:
                raise DataError(f"{folder / name} lacks {missing[0]!r}; copy it again")
            return settings
    raise DataError(f"{folder} has no preprocessor_config.json; emu3 reads the image settings from it")
