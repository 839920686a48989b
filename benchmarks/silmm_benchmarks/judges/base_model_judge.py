"""Any base model of silmm as a judge: its own answers about images, by its `yes_no`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from silmm.contracts.judges import Question
from silmm.errors import DataError, UsageError
from silmm.lora.loading import load_adapter
from silmm_benchmarks.judges.options import BaseModelOptions
from silmm_benchmarks.judges.weight_files import digest

if TYPE_CHECKING:
    from PIL.Image import Image

    from silmm.contracts import models as interfaces

_YES_NO = frozenset({"yes", "no"})


class BaseModelJudge:
    """Gives p(yes) and p(no), and answers with a choice: the one that the model finds likeliest.

    A base model's chat reads no images, so a question with choices is asked once for each choice, as
    "QUESTION CHOICE?"; one without choices, or with yes and no, is answered yes or no.
    """

    def __init__(self, model: interfaces.BaseModel, identity: Mapping[str, str], size: int = 0) -> None:
        """Take a model that answers about images; with `size`, they are scaled to size × size first."""
        self._model, self._identity, self._size = model, dict(identity), size

    @classmethod
    def load(cls, options: BaseModelOptions) -> BaseModelJudge:
        """Build the model that the options name from the registry, with its adapter.

        Raises:
            UsageError: there is no such model, it cannot read images, or its settings are wrong.
            DataError: the adapter's folder, or the model's, does not exist.
        """
        from silmm.contracts.options import Given, checkpoint_options, complete
        from silmm.registry.registry import Registry
        from silmm.storage.fingerprint import checkpoint_content

        registry = Registry.load()
        entry = registry.entry("model", options.model)
        if "yes_no" not in entry.capabilities:
            raise UsageError(f"the model {options.model!r} does not read images; name another one.")
        try:
            settings = json.loads(options.settings)
        except json.JSONDecodeError as error:
            raise UsageError(f"settings is not JSON ({error}); write {{\"key\": \"value\"}}.") from error
        if not isinstance(settings, dict):
            raise UsageError(f"the option settings is {settings!r}, not a JSON object.")
        texts = {key: Given(value, "settings") for key, value in settings.items()}
        chosen = complete(entry.options, f"model {options.model!r}", texts)
        model: interfaces.BaseModel = registry.build("model", options.model, chosen)
        stated = dict(chosen)
        for option, mark in checkpoint_options(entry.options).items():  # files by content, not by path
            stated |= checkpoint_content(chosen, option, mark, "model", lambda _: None)
        identity = {
            "judge": "base-model", "model": entry.qualified, "version": entry.version,
            "revision": entry.revision, "adapter_sha256": "",
            "settings": json.dumps(stated, sort_keys=True, default=str),
        }
        if options.adapter:
            folder = Path(options.adapter).expanduser()
            if not folder.is_dir():
                raise DataError(f"There is no adapter folder {folder}; name the one that training wrote.")
            load_adapter(model, folder)
            identity["adapter_sha256"] = digest(sorted(path for path in folder.iterdir() if path.is_file()))
        return cls(model, identity, options.size)

    @property
    def identity(self) -> Mapping[str, str]:
        """Model, version, content id of its weights, settings, adapter, and the rule for choices."""
        size = f"{self._size}x{self._size} bicubic" if self._size else "as they are"
        return {**self._identity, "input": size, "choices": "p_yes of 'QUESTION CHOICE?', first of equals"}

    def yes_no(
        self, images: Sequence[Image], questions: Sequence[Sequence[str]]
    ) -> list[NDArray[np.float64]]:
        """Return p(yes) and p(no), shape (n_questions, 2), for each image."""
        return self._model.yes_no([self._array(image) for image in images], questions)

    def answer(self, images: Sequence[Image], questions: Sequence[Sequence[Question]]) -> list[list[str]]:
        """Return "yes" or "no", or one of the choices, to each image's questions."""
        texts = [[text for question in group for text in _texts(question)] for group in questions]
        answers = []
        for group, pairs in zip(questions, self.yes_no(images, texts), strict=True):
            p_yes = list(pairs[:, 0] / pairs.sum(axis=1)) if len(pairs) else []
            words = []
            for question in group:
                count = len(_texts(question))
                words.append(_word(question, p_yes[:count]))
                p_yes = p_yes[count:]
            answers.append(words)
        return answers

    def _array(self, image: Image) -> interfaces.Image:
        from PIL.Image import Resampling

        rgb = image.convert("RGB")
        if self._size:
            rgb = rgb.resize((self._size, self._size), Resampling.BICUBIC)
        return np.asarray(rgb, dtype=np.uint8)


def _closed(question: Question) -> bool:
    return not question.choices or {choice.lower() for choice in question.choices} <= _YES_NO


def _texts(question: Question) -> list[str]:
    """Return the yes/no questions that decide one question."""
    if _closed(question):
        return [question.text]
    stem = question.text.rstrip().rstrip("?").rstrip()
    return [f"{stem} {choice}?" for choice in question.choices]


def _word(question: Question, values: Sequence[float]) -> str:
    if not np.isfinite(values).all():
        raise DataError(f"the model's answer to {question.text!r} is not finite; check its weights.")
    if _closed(question):
        said = "yes" if values[0] > 0.5 else "no"
        return next((choice for choice in question.choices if choice.lower() == said), said)
    return question.choices[int(np.argmax(values))]
