"""Examines any judge for `silmm probe`: its files, its canaries, and its answers about images."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from silmm.bench.images import open_rgb
from silmm.bench.judging import canaries
from silmm.contracts.judges import Detections, Question
from silmm.errors import DataError
from silmm.probe import Finding, Step
from silmm_benchmarks.judges import file_facts
from silmm_benchmarks.judges.weight_files import locate, weight_files

if TYPE_CHECKING:
    from PIL.Image import Image

TOP = 5
"""Detections of an image that are shown."""
QUESTIONS = ("is there a circle?", "what is in the image?")
STATEMENTS = (f"{canaries.TRUE}?", f"{canaries.FALSE}?")
TEXTS = (canaries.TRUE, canaries.FALSE)
_CONFIG = ("model_type", "architectures", "image_size", "vocab_size", "hidden_size", "torch_dtype", "dtype")
"""Keys of a config.json that are shown."""

Open = Callable[[], "Image"]


def scene() -> Image:
    """Return an image of unequal sides with several things in it: ground, a sun, a house."""
    from PIL import Image, ImageDraw

    image = Image.new("RGB", (641, 427), (120, 180, 235))
    draw = ImageDraw.Draw(image)
    draw.rectangle([0, 300, 641, 427], fill=(70, 150, 60))
    draw.ellipse([520, 30, 600, 110], fill=(250, 220, 60))
    draw.rectangle([180, 190, 360, 340], fill=(190, 120, 80))
    draw.polygon([(160, 190), (270, 90), (380, 190)], fill=(150, 40, 40))
    draw.rectangle([250, 260, 300, 340], fill=(80, 50, 30))
    return image


class JudgeProber:
    """A :class:`silmm.probe.Prober` that tries every method of a judge; subclasses check their files and more."""

    def __init__(self, name: str) -> None:
        """Take the judge's name, by which its weights are found."""
        self.name = name

    def files(self, options: Any) -> Mapping[str, Any]:
        """Return the files where the weights are, and what config.json says of them."""
        if not hasattr(options, "weights"):
            return {}  # another plugin's model, which has its own probe
        try:
            path = locate(self.name, options.weights)
            files = weight_files(path)
        except DataError as error:
            return {"problems": [str(error)]}
        facts: dict[str, Any] = {path.name: _weights(path) for path in files}
        config = path / "config.json"
        if config.is_file():
            facts["config.json"] = _stated(config)
        return {"path": str(path), **facts}

    def examine(
        self, judge: Any, images: Sequence[Path], texts: Sequence[str]
    ) -> Iterable[tuple[str, Step]]:
        """Return the canaries, and the judge's answers about our images and the user's."""
        yield "canaries", partial(_canaries, judge)
        for name, opened in self.images(images):
            if any(callable(getattr(judge, method, None)) for method in _SAYS):
                yield name, partial(self.describe, judge, opened, texts)

    def images(self, paths: Sequence[Path]) -> list[tuple[str, Open]]:
        """Return the images by name: a disc, a blank image, a scene, the user's."""
        own: list[tuple[str, Open]] = [
            ("red circle", canaries.circle), ("blank", canaries.blank), ("scene", scene)
        ]
        return [*own, *((path.name, partial(open_rgb, path)) for path in paths)]

    def describe(self, judge: Any, opened: Open, texts: Sequence[str]) -> str:
        """Return a judge's answers about an image, by every method that it has."""
        image = opened()
        said = [say(judge, image, texts) for method, say in _SAYS.items()
                if callable(getattr(judge, method, None))]
        return "; ".join(said)


def best_detections(detections: Detections) -> str:
    """Return how many detections there are, and the best of them."""
    shown = [
        f"{label} {score:.3f} [{', '.join(f'{side:.0f}' for side in box)}]"
        for label, score, box in zip(detections.labels[:TOP], detections.scores, detections.boxes, strict=False)
    ]
    width, height = detections.frame
    return f"{len(detections.labels)} detections in {width}x{height}" + (f": {', '.join(shown)}" if shown else "")


def _canaries(judge: Any) -> Finding | str:
    own = getattr(judge, "canaries", None)
    if callable(own):
        failed, asked = [str(text) for text in own()], "its own"
    else:
        results = canaries.check(judge)
        failed = [str(result) for result in results if not result.passed]
        asked = f"{len(results)}, as `silmm bench` asks them"
    if failed:
        return Finding("canaries", "fail", f"of {asked} {len(failed)} failed: {'; '.join(failed)}")
    return f"passes {asked}"


def _weights(path: Path) -> dict[str, Any]:
    facts = file_facts.describe(path)
    inside = file_facts.header(path) if path.suffix == ".safetensors" else None
    return {**facts, **(inside or {})}


def _stated(config: Path) -> dict[str, Any] | str:
    try:
        data = json.loads(config.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        return f"cannot be read: {error}"
    return {key: data[key] for key in _CONFIG if key in data} if isinstance(data, dict) else "no table"


def _detect(judge: Any, image: Image, _: Sequence[str]) -> str:
    (detections,) = judge.detect([image])
    return best_detections(detections)


def _answer(judge: Any, image: Image, texts: Sequence[str]) -> str:
    asked = list(texts or QUESTIONS)
    (said,) = judge.answer([image], [[Question(text) for text in asked]])
    return ", ".join(f"{text!r} {answer!r}" for text, answer in zip(asked, said, strict=True))


def _p_yes(judge: Any, image: Image, texts: Sequence[str]) -> str:
    asked = list(texts or STATEMENTS)
    (values,) = judge.p_yes([image], [asked])
    return ", ".join(f"P(yes) of {text!r} {p:.4f}" for text, p in zip(asked, values, strict=True))


def _yes_no(judge: Any, image: Image, texts: Sequence[str]) -> str:
    asked = list(texts or STATEMENTS)
    (pairs,) = judge.yes_no([image], [asked])
    return ", ".join(
        f"p(yes), p(no) of {text!r} {yes:.4f}, {no:.4f}" for text, (yes, no) in zip(asked, pairs, strict=True)
    )


def _of_texts(method: str, measure: str, judge: Any, image: Image, texts: Sequence[str]) -> str:
    asked = list(texts or TEXTS)
    values = getattr(judge, method)([image] * len(asked), asked)
    return ", ".join(f"{measure} {text!r} {value:.4f}" for text, value in zip(asked, values, strict=True))


def _depth(judge: Any, image: Image, _: Sequence[str]) -> str:
    (depth,) = judge.depth([image])
    height, width = depth.shape
    return f"inverse depth {width}x{height}, {depth.min()} to {depth.max()}, mean {float(np.mean(depth)):.1f}"


_SAYS: dict[str, Callable[[Any, Image, Sequence[str]], str]] = {
    "detect": _detect, "answer": _answer, "p_yes": _p_yes, "yes_no": _yes_no,
    "similarity": partial(_of_texts, "similarity", "cosine with"),
    "rate": partial(_of_texts, "rate", "rating with"), "depth": _depth,
}
"""Method of a judge -> text of its answers about an image."""
