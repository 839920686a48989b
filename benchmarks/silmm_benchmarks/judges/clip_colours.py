"""CLIP ViT-L/14 of OpenAI as GenEval's judge of colours, zero-shot (docs/spec/geneval.md 2.5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from silmm.contracts.judges import Region
from silmm.errors import DataError, UsageError
from silmm_benchmarks.data.geneval_names import COLOURS
from silmm_benchmarks.judges.clip_similarity import read_clip
from silmm_benchmarks.judges.loading import Placement
from silmm_benchmarks.judges.options import ColourOptions
from silmm_benchmarks.judges.pixels import CLIP_MEAN, CLIP_STD, centre_squares
from silmm_benchmarks.judges.run_length import decode_mask

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image

MODEL = "ViT-L-14-quickgelu"
"""OpenAI's weights need the quick GELU; open_clip's plain ViT-L-14 gives other numbers without an error."""
ORIGINAL = "original"
"""In place of a background colour: the image's own pixels stay."""
_TEMPLATES = ("a photo of a {colour} {name}", "a photo of a {colour}-colored {name}", "a photo of a {colour} object")
_SCALE = 100.0


def class_texts(name: str) -> list[str]:
    """Return the texts of a class, colour by colour, three templates each; "a orange" is official."""
    return [template.format(colour=colour, name=name) for colour in COLOURS for template in _TEMPLATES]


def region_crop(image: Image, region: Region, *, background: str = "#999", crop: bool = True) -> Image:
    """Return a region of an upright RGB image, its background painted over where the region has a mask.

    Pillow rounds the box half to even; what lies outside of the image is black.

    Raises:
        DataError: the mask has another size than the image.
        ValueError: the box ends before it begins, or `background` is no colour of Pillow.
    """
    from PIL import Image as Pillow

    if region.mask:
        if region.frame != image.size:
            width, height = region.frame
            raise DataError(
                f"a mask of {width}x{height} does not fit the image of {image.width}x{image.height} pixels; ask the "
                "detector again."
            )
        mask = Pillow.fromarray(decode_mask(region.mask, image.height, image.width))
        blank = image.copy() if background == ORIGINAL else Pillow.new("RGB", image.size, background)
        image = Pillow.composite(image, blank, mask)
    if not crop:
        return image
    x, y = (side / framed for side, framed in zip(image.size, region.frame, strict=True))
    x0, y0, x1, y1 = region.box
    return image.crop((x0 * x, y0 * y, x1 * x, y1 * y))


def check_background(background: str) -> None:
    """Refuse what is no colour of Pillow.

    Raises:
        UsageError: it is none, and not :data:`ORIGINAL`.
    """
    from PIL import ImageColor

    try:
        if background != ORIGINAL:
            ImageColor.getrgb(background)
    except ValueError as error:
        raise UsageError(f"background {background!r} is no colour, as red or #999, and not {ORIGINAL}.") from error


class ClipColours:
    """Names the colour of objects by the nearest of ten texts; a classifier is built once per class."""

    def __init__(
        self, model: Any, tokenizer: Any, placement: Placement, weights: Mapping[str, str],
        *, background: str = "#999", crop: bool = True,
    ) -> None:
        """Take an open_clip model and its tokenizer, and how regions are cut out."""
        self._model = model.to(placement.device, placement.dtype).eval()
        self._tokenizer, self._placement, self._weights = tokenizer, placement, weights
        self._background, self._crop = background, crop
        self._classifiers: dict[str, torch.Tensor] = {}
        size = model.visual.image_size
        self._size = int(size if isinstance(size, int) else size[0])

    @classmethod
    def load(cls, options: ColourOptions) -> ClipColours:
        """Find the weights that the options name and load them.

        Raises:
            DataError: they are missing, broken or of another model; a TorchScript archive is not opened.
            UsageError: there is no such device or background colour.
        """
        check_background(options.background)
        model, tokenizer, weights = read_clip("clip-l14", MODEL, options.weights)
        placement = Placement.of(options)
        return cls(model, tokenizer, placement, weights, background=options.background, crop=options.crop)

    @property
    def identity(self) -> Mapping[str, str]:
        """Judge, architecture, hash of the weights, precision, and how regions are cut out."""
        return {
            "judge": "clip-l14", "architecture": MODEL, **self._weights, **self._placement.identity,
            "input": f"short side {self._size} bicubic, centre crop",
            "background": self._background, "crop": str(self._crop),
        }

    def colours(self, images: Sequence[Image], regions: Sequence[Sequence[Region]]) -> list[list[str]]:
        """Return the colour of each region of each image; of equal logits the first colour's.

        Raises:
            DataError: a logit is not finite, or a mask does not fit its image.
        """
        rows = self.logits(images, regions)
        if not np.isfinite(rows).all():
            raise DataError("the logits of colours are not finite; take dtype=float32, or check the weights.")
        names = iter(COLOURS[int(index)] for index in rows.argmax(1))
        return [[next(names) for _ in of_image] for of_image in regions]

    def logits(self, images: Sequence[Image], regions: Sequence[Sequence[Region]]) -> NDArray[np.float32]:
        """Return 100 times the cosine of each region and each colour's text, shape (n_regions, 10), image by image."""
        import torch
        from PIL import ImageOps

        crops: list[Image] = []
        for image, of_image in zip(images, regions, strict=True):
            upright = ImageOps.exif_transpose(image).convert("RGB") if of_image else image
            crops += [
                region_crop(upright, region, background=self._background, crop=self._crop) for region in of_image
            ]
        flat = [region for of_image in regions for region in of_image]
        rows = [np.zeros((0, len(COLOURS)), np.float32)]
        with torch.inference_mode():
            for part in self._placement.chunks(len(flat)):
                features = self._image_features(crops[part])
                classifiers = torch.stack([self.classifier(region.label) for region in flat[part]])
                logits = _SCALE * (features[:, None] @ classifiers)[:, 0]
                rows.append(logits.float().cpu().numpy())
        return np.concatenate(rows)

    def classifier(self, name: str) -> torch.Tensor:
        """Return the classifier of a class, shape (n_features, 10), built the first time.

        A column is the mean of a colour's three unit text features, made a unit vector.
        """
        import torch.nn.functional as F

        if name not in self._classifiers:
            tokens = self._tokenizer(class_texts(name)).to(self._placement.device)
            features = F.normalize(self._model.encode_text(tokens), dim=-1)
            mean = features.view(len(COLOURS), len(_TEMPLATES), -1).mean(1)
            self._classifiers[name] = (mean / mean.norm(dim=-1, keepdim=True)).t()
        return self._classifiers[name]

    def _image_features(self, crops: Sequence[Image]) -> torch.Tensor:
        import torch.nn.functional as F
        from PIL.Image import Resampling

        pixels = centre_squares(crops, self._size, Resampling.BICUBIC, CLIP_MEAN, CLIP_STD)
        pixels_on_device = pixels.to(self._placement.device, self._placement.dtype)
        return F.normalize(self._model.encode_image(pixels_on_device), dim=-1)
