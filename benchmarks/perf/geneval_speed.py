"""GenEval's detector and colours per image: as the judges compute them, and as the official loop does.

Weights are random with the official shapes. The bias of "no object" is moved such that about ten queries are confident,
as on real images; which ones does not matter for the time.
"""

from __future__ import annotations

import argparse
import copy
import warnings
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from silmm_benchmarks.data.geneval_release import COLOURS, LABELS, LEAST_SCORE
from silmm_benchmarks.judges.clip_colours import ClipColours
from silmm_benchmarks.judges.loading import Placement
from silmm_benchmarks.judges.mask2former.inputs import prepared
from silmm_benchmarks.judges.mask2former.judge import Mask2FormerJudge
from silmm_benchmarks.judges.mask2former.network import Attention, Mask2Former, Sizes
from silmm_benchmarks.judges.mask2former.pixel_decoder import LEVELS, POINTS, DeformableAttention, Size
from silmm_benchmarks.judges.mask2former.swin import WindowAttention
from silmm_benchmarks.judges.pixels import CLIP_MEAN, CLIP_STD, centre_squares
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from benchmarks.perf import measure
from silmm.contracts.judges import Region

CONFIDENT = 10
"""Queries of an image that exceed the judge's least score."""
EVERY = 2
"""Of each second image one object's colour is asked: the benchmark asks 1,176 of 2,212 images at most."""
INPUT = 224
WORKERS = 4
"""Processes that the official loop starts for the crops of each clause with a colour."""
NARROW = Sizes(swin_width=48, swin_depths=(2, 2, 6, 2), swin_heads=(3, 6, 12, 24), width=128, encoder_hidden=512,
               decoder_hidden=1024)  # fmt: skip
TOLERANCE = 2e-4
"""Of a score."""
Answer = list[tuple[list[str], np.ndarray, np.ndarray, list[str]]]
"""Labels, scores and boxes of each image's objects, and the colours that were asked."""


class ExplicitWindowAttention(WindowAttention):
    """Scores, softmax and mixture one after the other, as mmdet writes them."""

    def forward(self, cells: Tensor, index: Tensor, shifted: Tensor | None) -> Tensor:
        """Return what the judge's own attention returns."""
        count, tokens, width = cells.shape
        query, key, value = self.qkv(cells).view(count, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        scores = query * (width // self.heads) ** -0.5 @ key.transpose(-2, -1)
        bias = self.relative_position_bias_table[index.flatten()].view(tokens, tokens, -1).permute(2, 0, 1)
        scores = scores + bias[None] if shifted is None else scores + bias[None] + shifted
        mixed: Tensor = self.proj((scores.softmax(-1) @ value).transpose(1, 2).reshape(count, tokens, width))
        return mixed


class StackedDeformableAttention(DeformableAttention):
    """All sampled values stacked before they are weighted, as mmcv's function in plain torch does it."""

    def forward(self, tokens: Tensor, positions: Tensor, sizes: Sequence[Size], references: Tensor) -> Tensor:
        """Return what the judge's own attention returns."""
        count, width = tokens.shape
        query = tokens + positions
        values = self.value_proj(tokens).view(count, self.heads, -1)
        offsets = self.sampling_offsets(query).view(count, self.heads, LEVELS, POINTS, 2)
        weights = self.attention_weights(query).view(count, self.heads, -1).softmax(-1)
        scale = offsets.new_tensor([[columns, height] for height, columns in sizes])
        grids = 2 * (references[:, None, None, None] + offsets / scale[:, None]) - 1
        sampled = []
        for level, part in enumerate(torch.split(values, [height * columns for height, columns in sizes])):
            source = part.permute(1, 2, 0).reshape(self.heads, -1, *sizes[level])
            grid = grids[:, :, level].transpose(0, 1)
            sampled.append(F.grid_sample(source, grid, align_corners=False))
        stacked = torch.stack(sampled, dim=-2).flatten(-2)
        mixed = (stacked * weights.transpose(0, 1)[:, None]).sum(-1)
        output: Tensor = self.output_proj(mixed.reshape(width, count).t())
        return output


class ReportingAttention(Attention):
    """Multi-head attention that computes its weights for the caller too, as mmcv asks for them and drops them."""

    def forward(self, query: Tensor, key: Tensor, value: Tensor, forbidden: Tensor | None = None) -> Tensor:
        """Return what the judge's own attention returns."""
        heads = self.attn.num_heads
        masks = None if forbidden is None else forbidden[None].repeat(heads, 1, 1)
        attended: Tensor = self.attn(query, key, value, attn_mask=masks)[0]
        return attended


_OFFICIAL = {
    WindowAttention: ExplicitWindowAttention,
    DeformableAttention: StackedDeformableAttention,
    Attention: ReportingAttention,
}


def as_official(network: Mask2Former) -> Mask2Former:
    """Return a copy of a network, on the same weights, whose attention computes as mmdet's and mmcv's does."""
    twin = copy.deepcopy(network)
    for module in twin.modules():
        module.__class__ = _OFFICIAL.get(type(module), type(module))
    return twin


def random_network(sizes: Sizes, image: Image.Image) -> Mask2Former:
    """Return a network with random weights and about :data:`CONFIDENT` confident queries for an image."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = Mask2Former(sizes).eval().requires_grad_(False)
        for name, value in network.named_parameters():
            if name.endswith(("cls_embed.weight", "query_feat.weight", "query_embed.weight")):
                value.data.mul_(6)
    with torch.inference_mode():
        logits = network(prepared(image).pixels()).class_logits
    best = logits[:, :-1].logsumexp(1) - logits[:, -1]
    bias = best.sort(descending=True).values[min(CONFIDENT, len(best) - 1)]
    network.panoptic_head.cls_embed.bias.data[-1] += bias + 1
    return network


def random_colours(model: str) -> ClipColours:
    """Return a judge of colours with random weights in the shape of one of open_clip's models."""
    import open_clip

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        clip = open_clip.CLIP(**open_clip.get_model_config(model)).requires_grad_(False)
    placement = Placement(torch.device("cpu"), torch.float32, 16)
    return ClipColours(clip, open_clip.get_tokenizer(model), placement, {})


def batched(judge: Mask2FormerJudge, colours: ClipColours, images: Sequence[Image.Image]) -> Answer:
    """Detect, then name the colours of all images' first objects in one call."""
    detections = judge.detect(images)
    regions = [
        [
            Region(each.labels[row], tuple(map(float, each.boxes[row])), each.frame, each.masks[row])
            for row in _asked(number, each.scores)
        ]
        for number, each in enumerate(detections)
    ]
    names = colours.colours(images, regions)
    return [
        (list(each.labels), each.scores, each.boxes, of_image) for each, of_image in zip(detections, names, strict=True)
    ]


def _asked(number: int, scores: np.ndarray) -> list[int]:
    """Return the rows of an image's objects whose colour is asked."""
    return [int(row) for row in np.argsort(-scores, kind="stable")[: number % EVERY == 0]]


@torch.inference_mode()
def official(network: Mask2Former, colours: ClipColours, images: Sequence[Image.Image]) -> Answer:
    """Do image by image what the official loop does, with a loader of crops per clause."""
    answer: Answer = []
    for number, image in enumerate(images):
        source = prepared(image)
        output = network(source.pixels())
        size = source.padded.shape[:2]
        masks = F.interpolate(output.mask_logits[None], size=size, mode="bilinear", align_corners=False)
        masks = masks[..., : source.resized[0], : source.resized[1]]
        masks = F.interpolate(masks, size=source.original, mode="bilinear", align_corners=False)[0]
        probabilities = output.class_logits.softmax(-1)[:, :-1]
        best, index = probabilities.flatten().topk(100, sorted=False)
        masks = masks[index // probabilities.shape[1]]
        binary = (masks > 0).float()
        scores = best * (masks.sigmoid() * binary).flatten(1).sum(1) / (binary.flatten(1).sum(1) + 1e-6)
        boxes = torch.zeros(len(masks), 4)
        for row, mask in enumerate(binary.bool()):
            rows, columns = torch.where(mask)
            if len(rows):
                boxes[row] = torch.stack([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
        arrays = [mask.numpy() for mask in binary.bool()]
        labels = [LABELS[int(label)] for label in index % probabilities.shape[1]]
        kept = [row for row in range(len(labels)) if scores[row] >= LEAST_SCORE]
        named = [
            _colour(colours, Crops(image, [(boxes[kept[row]].tolist(), arrays[kept[row]])]), labels[kept[row]])
            for row in _asked(number, scores[kept].numpy())
        ]
        answer.append(([labels[row] for row in kept], scores[kept].numpy(), boxes[kept].numpy(), named))
    return answer


class Crops(Dataset[Tensor]):
    """The objects of one clause, cut out of their image."""

    def __init__(self, image: Image.Image, objects: Sequence[tuple[list[float], np.ndarray]]) -> None:
        """Take the image, and box and mask of each object."""
        self._image, self._objects = image, objects
        self._blank = Image.new("RGB", image.size, "#999")

    def __len__(self) -> int:
        """Return the number of objects."""
        return len(self._objects)

    def __getitem__(self, index: int) -> Tensor:
        """Return the input of CLIP for an object, shape (3, 224, 224)."""
        (left, upper, right, lower), mask = self._objects[index]
        crop = Image.composite(self._image, self._blank, Image.fromarray(mask)).crop((left, upper, right, lower))
        return centre_squares([crop], INPUT, Image.Resampling.BICUBIC, CLIP_MEAN, CLIP_STD)[0]


def _colour(colours: ClipColours, crops: Crops, label: str) -> str:
    """Name the colour of a clause's object."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # more processes than cores
        (pixels,) = DataLoader(crops, batch_size=16, num_workers=WORKERS)
    features = F.normalize(colours._model.encode_image(pixels), dim=-1)
    return COLOURS[int((100 * features @ colours.classifier(label)).argmax())]


def noise_images(count: int, side: int) -> list[Image.Image]:
    """Return images of smooth noise."""
    generator = torch.Generator().manual_seed(1)
    coarse = torch.rand(count, 3, 30, 30, generator=generator) * 255
    smooth = F.interpolate(coarse, (side, side), mode="bilinear").byte().permute(0, 2, 3, 1).numpy()
    return [Image.fromarray(each) for each in smooth]


def compare(case: str, sizes: Sizes, model: str, n_images: int, side: int, repeats: int) -> measure.Comparison:
    """Check that both ways give the same objects and colours, then time them; an item is an image.

    Raises:
        RuntimeError: they differ.
    """
    images = noise_images(n_images, side)
    network, colours = random_network(sizes, images[0]), random_colours(model)
    judge, twin = Mask2FormerJudge(network, torch.device("cpu"), {}), as_official(network)
    ways: dict[str, Callable[[], Answer]] = {
        measure.OURS: partial(batched, judge, colours, images),
        "as the official loop": partial(official, twin, colours, images),
    }
    answers = [way() for way in ways.values()]
    for answer, expected in zip(*answers, strict=True):
        same = answer[0] == expected[0] and answer[3] == expected[3]
        if not same or np.abs(answer[1] - expected[1]).max(initial=0) > TOLERANCE:
            raise RuntimeError("the two ways find other objects or colours; their times cannot be compared")
    return measure.Comparison(case, n_images, measure.interleaved(ways, repeats))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=3, help="timed rounds (default 3)")
    parser.add_argument("--threads", type=int, default=2, help="torch threads (default 2)")
    parser.add_argument("--images", type=int, default=2, help="images of each round (default 2)")
    parser.add_argument("--side", type=int, action="append", help="side of the images (default 512 and 1024)")
    parser.add_argument("--narrow", action="store_true", help="half the width, and CLIP ViT-B/32 in place of ViT-L/14")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    sizes, model = (NARROW, "ViT-B-32-quickgelu") if options.narrow else (Sizes(), "ViT-L-14-quickgelu")
    weights = "random, half the width, ViT-B/32" if options.narrow else "random, real size"
    rows = [
        compare(f"{side}×{side}", sizes, model, options.images, side, options.repeats)
        for side in options.side or (512, 1024)
    ]
    measure.publish("geneval_speed", "images", weights, rows)


if __name__ == "__main__":
    main()
