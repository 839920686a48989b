"""CLIP ViT-B/32 of OpenAI in open_clip: the cosine of an image and a text."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from silmm.contracts.judges import BadText
from silmm.errors import DataError
from silmm_benchmarks.judges.loading import Placement, broken_weights
from silmm_benchmarks.judges.options import JudgeOptions
from silmm_benchmarks.judges.pixels import CLIP_MEAN, CLIP_STD, centre_squares
from silmm_benchmarks.judges.weight_files import fingerprint, locate, weight_files
from silmm_benchmarks.judges.weights_catalogue import WEIGHTS

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image

MODEL = "ViT-B-32-quickgelu"
"""OpenAI's weights need the quick GELU; open_clip's plain ViT-B-32 gives other numbers without a word."""
_FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")


class ClipSimilarity:
    """Cosine of L2-normalised features, no template, no factor, no clamp (docs/spec/benchmarks.md 1.5)."""

    def __init__(self, model: Any, tokenizer: Any, placement: Placement, weights: Mapping[str, str]) -> None:
        """Take an open_clip model with `encode_image` and `encode_text`, and its tokenizer."""
        self._model = model.to(placement.device, placement.dtype).eval()
        self._tokenizer, self._placement, self._weights = tokenizer, placement, weights
        size = model.visual.image_size
        self._size = int(size if isinstance(size, int) else size[0])

    @classmethod
    def load(cls, options: JudgeOptions) -> ClipSimilarity:
        """Find the weights that the options name and load them.

        Raises:
            DataError: they are missing, broken or of another model; a TorchScript archive is not opened.
        """
        model, tokenizer, weights = read_clip("clip-vit-b-32", MODEL, options.weights)
        return cls(model, tokenizer, Placement.of(options), weights)

    @property
    def identity(self) -> Mapping[str, str]:
        """Judge, architecture, hash of the weights, precision, input."""
        return {
            "judge": "clip-vit-b-32", "architecture": MODEL, **self._weights, **self._placement.identity,
            "input": f"short side {self._size} bicubic, centre crop",
        }

    def similarity(self, images: Sequence[Image], texts: Sequence[str]) -> NDArray[np.float64]:
        """Return the cosine of image i and text i, (n,); repeats of an image or text are read once.

        Raises:
            BadText: a text has more tokens than the model reads (77 with both ends); nothing is cut.
        """
        import torch

        self._check(texts)
        distinct = {id(image): image for image in images}
        words = list(dict.fromkeys(texts))
        if not words:
            return np.empty(0)
        with torch.inference_mode():
            image_features = dict(zip(distinct, self._encode_images(list(distinct.values())), strict=True))
            text_features = dict(zip(words, self._encode_texts(words), strict=True))
        cosines = [float(image_features[id(image)] @ text_features[text]) for image, text in zip(images, texts,
            strict=True)]
        return np.array(cosines, dtype=np.float64)

    def _check(self, texts: Sequence[str]) -> None:
        longest = self._tokenizer.context_length
        for text in texts:
            count = len(self._tokenizer.encode(text)) + 2
            if count > longest:
                raise BadText(
                    f"CLIP reads {longest} tokens and {text[:60]!r}… has {count}. The official script stops "
                    "there too; shorten this prompt or leave it out."
                )

    def _encode_images(self, images: Sequence[Image]) -> NDArray[np.float64]:
        from PIL.Image import Resampling

        rows = []
        for part in self._placement.chunks(len(images)):
            pixels = centre_squares(images[part], self._size, Resampling.BICUBIC, CLIP_MEAN, CLIP_STD)
            rows.append(self._unit(self._model.encode_image(self._on_device(pixels).to(self._placement.dtype))))
        return np.concatenate(rows)

    def _encode_texts(self, texts: Sequence[str]) -> NDArray[np.float64]:
        rows = [
            self._unit(self._model.encode_text(self._on_device(self._tokenizer(list(texts[part])))))
            for part in self._placement.chunks(len(texts))
        ]
        return np.concatenate(rows)

    def _on_device(self, tensor: torch.Tensor) -> torch.Tensor:
        return tensor.to(self._placement.device)

    @staticmethod
    def _unit(features: torch.Tensor) -> NDArray[np.float64]:
        rows = features.double().cpu().numpy()
        unit: NDArray[np.float64] = rows / np.linalg.norm(rows, axis=-1, keepdims=True)
        return unit


def read_clip(judge: str, architecture: str, weights: str) -> tuple[Any, Any, Mapping[str, str]]:
    """Return a CLIP model of open_clip, its tokenizer and the hash of its weights.

    Args:
        judge: whose weights are looked for.
        architecture: open_clip's name of the model.
        weights: the judge's option.

    Raises:
        DataError: the weights are missing, broken or of another model; a TorchScript archive is not opened.
    """
    import open_clip

    path = locate(judge, weights)
    named = [path / name for name in _FILES if (path / name).is_file()]
    files = named[:1] or weight_files(path)
    with broken_weights(files[0]):
        model = open_clip.CLIP(**open_clip.get_model_config(architecture))
        # Not open_clip's own loader: it resizes position embeddings of another model without a word.
        model.load_state_dict(_state(files[0], WEIGHTS[judge].url), strict=True)
    return model, open_clip.get_tokenizer(architecture), fingerprint(files[0])


def _state(path: Path, home: str) -> Mapping[str, Any]:
    """Return the weights by open_clip's names.

    Raises:
        DataError: it is OpenAI's TorchScript archive, which holds code.
    """
    from silmm.checkpoint.weight_files import read_pickle, read_weights

    if path.suffix == ".safetensors":
        return read_weights([path])
    if zipfile.is_zipfile(path) and _is_script(path):
        raise DataError(
            f"{path} is a TorchScript archive, which runs code when it is opened. Take the same weights as "
            f"{_FILES[0]} from {home}."
        )
    return read_pickle(path, ["state_dict"])


def _is_script(path: Path) -> bool:
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())
