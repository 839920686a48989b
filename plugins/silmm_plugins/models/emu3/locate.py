"""Finds the parts of an Emu3: the policy, the judge and the vision tokenizer, on disk or on the hub."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from silmm.checkpoint.folders import checkpoint_folder, read_json
from silmm.errors import DataError, UsageError

Form = Literal["hf", "original", "vision"]
"""hf: Emu3ForConditionalGeneration; original: the language model alone; vision: the vision tokenizer."""

_FORMS: dict[str, Form] = {"emu3": "hf", "Emu3": "original", "Emu3VisionVQ": "vision"}
_FILES = ("*.json", "*.safetensors", "*.txt", "*.tiktoken", "*.jinja")
"""Files that are fetched from a hub repository: no code and no pickles."""
_GEN, _CHAT, _VISION = ("Emu3-Gen", "Emu3-Gen-hf"), ("Emu3-Chat", "Emu3-Chat-hf"), ("Emu3-VisionTokenizer",)

SELF = "self"
"""The judge that is the policy itself."""


@dataclass(frozen=True)
class Parts:
    """The folders of a model's parts."""

    policy: Path
    judge: Path | None
    """None: the policy answers itself."""
    vision: Path


def locate(path: str, judge: str, vision: str, revision: str | None = None) -> Parts:
    """Return the folders of a model; those named by hub ids are fetched first.

    Args:
        path: Emu3-Gen in either layout, or a folder that holds Emu3-Gen and the other parts.
        judge: Emu3-Chat in either layout; "" is a folder beside the policy, "self" the policy itself.
        vision: Emu3-VisionTokenizer; "" is that inside (-hf) or beside (original) the policy.
        revision: of `path`, if that is a hub id.

    Raises:
        UsageError: no path, or a part is neither named nor beside the policy.
        DataError: there is no such folder or hub id, or a folder holds another model.
    """
    folder = Path(path).expanduser()
    if path and folder.is_dir() and not (folder / "config.json").is_file():
        path = str(_inside(folder, _GEN))
    policy = checkpoint_folder(
        path, _FILES, owner="emu3", expected="Emu3-Gen, Emu3-Gen-hf or the folder that holds it and its companions",
        revision=revision,
    )  # fmt: skip
    form = _language_model(policy)
    judge_folder = None
    if judge != SELF:
        judge_folder = checkpoint_folder(
            judge or _beside(path, _ordered(_CHAT, form), "judge"), _FILES, option="judge"
        )
        _language_model(judge_folder)
    vision_folder = policy
    if vision or form != "hf":
        vision_folder = checkpoint_folder(vision or _beside(path, _VISION, "vision"), _FILES, option="vision")
    if vision_folder != policy and form_of(vision_folder) == "original":
        raise DataError(f"{vision_folder} holds a language model; model.vision names Emu3-VisionTokenizer")
    return Parts(policy, judge_folder, vision_folder)


def form_of(folder: Path) -> Form:
    """Return the layout of a folder, by the `model_type` of its config.json.

    Raises:
        DataError: no readable config.json, or another model's.
    """
    kind = read_json(folder / "config.json", "a configuration of Emu3").get("model_type")
    if kind not in _FORMS:
        raise DataError(
            f"{folder / 'config.json'} is of a model of type {kind!r}; emu3 reads the types "
            f"{', '.join(map(repr, _FORMS))}. Check model.path"
        )
    return _FORMS[kind]


def _language_model(folder: Path) -> Form:
    form = form_of(folder)
    if form == "vision":
        raise DataError(
            f"{folder} holds the vision tokenizer; model.path and model.judge name a language model"
        )
    return form


def _ordered(names: tuple[str, ...], form: Form) -> tuple[str, ...]:
    """Return the names, those of the policy's own layout first."""
    return tuple(sorted(names, key=lambda name: name.endswith("-hf") != (form == "hf")))


def _inside(folder: Path, names: tuple[str, ...]) -> Path:
    for name in names:
        if (folder / name).is_dir():
            return folder / name
    raise DataError(
        f"{folder} holds neither a config.json nor a folder {' or '.join(names)}; check model.path"
    )


def _beside(path: str, names: tuple[str, ...], option: str) -> str:
    """Return the sibling of the policy: a folder, or a repository of the same owner on the hub."""
    folder = Path(path).expanduser()
    if not folder.is_dir():
        owner, _, _ = path.partition("/")
        return f"{owner}/{names[0]}"
    for name in names:
        if (folder.absolute().parent / name).is_dir():
            return str(folder.absolute().parent / name)
    alternative = ", or --set model.judge=self to let the policy answer itself" if option == "judge" else ""
    raise UsageError(
        f"emu3: there is no {' or '.join(names)} beside {folder}; give its folder with "
        f"--set model.{option}=DIR{alternative}"
    )
