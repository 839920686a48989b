"""Finds the parts of a SEED-LLaMA: language model, tokenizer, image encoder and unCLIP decoder."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from silmm.checkpoint.folders import checkpoint_folder, read_json
from silmm.errors import DataError, UsageError

if TYPE_CHECKING:
    from silmm_plugins.models.seed_llama.options import SeedLlamaOptions

QUANTIZER = "seed_quantizer.pt"
PIECES = "tokenizer.model"
VIT = "eva_vit_g.pth"
TOKENIZER_ID = "AILab-CVC/seed-tokenizer-2"
_FILES = ["*.json", "*.bin", "*.safetensors", "*.model", "*.pt", "*.txt"]


@dataclass(frozen=True)
class Folders:
    """The parts on the disk (docs/spec/base-models.md 2.2)."""

    language_model: Path
    """Folder with config.json and the shards."""
    tokenizer: Path
    """Folder with tokenizer.model and seed_quantizer.pt."""
    vit: Path | None
    """eva_vit_g.pth, needed where seed_quantizer.pt holds no image encoder."""
    unclip: Path | None
    """Folder of the unCLIP pipeline; without it there are no images."""


def find(options: SeedLlamaOptions) -> Folders:
    """Return the parts that the options name, or that are in or beside the folder `path`.

    Raises:
        UsageError: there is no `path`, or it holds several language models.
        DataError: a part is missing, or a hub id cannot be fetched.
    """
    root = checkpoint_folder(
        options.path, _FILES, owner="seed-llama",
        expected="the folder of the language model, or one that holds it and the other parts",
        revision=options.revision,
    )  # fmt: skip
    from_hub = not Path(options.path).expanduser().is_dir()
    model = _language_model(root)
    nearby = [root] if model != root else [root, root.parent]
    source = options.tokenizer or (TOKENIZER_ID if from_hub else "")
    tokenizer = checkpoint_folder(source, _FILES, option="tokenizer") if source else _tokenizer(nearby)
    for name in (PIECES, QUANTIZER):
        if not (tokenizer / name).is_file():
            raise DataError(
                f"{tokenizer} holds no {name}; the tokenizer of SEED-LLaMA is a folder with {PIECES} and "
                f"{QUANTIZER} ({TOKENIZER_ID}): --set model.tokenizer=DIR"
            )
    vit = _file(options.vit, "model.vit") if options.vit else _first(
        folder / sub / VIT for folder in [tokenizer, *nearby] for sub in (".", "companions")
    )
    unclip = checkpoint_folder(options.unclip, _FILES, option="unclip") if options.unclip else _first(
        child for folder in nearby for child in _children(folder) if _is_unclip(child)
    )
    if unclip is not None and not _is_unclip(unclip):
        raise DataError(
            f"{unclip} is no unCLIP pipeline: its model_index.json is missing or names another class; give the "
            "folder of stable-diffusion-2-1-unclip as --set model.unclip=DIR"
        )
    return Folders(model, tokenizer, vit, unclip)


def _language_model(root: Path) -> Path:
    if (root / "config.json").is_file():
        if _type(root) != "llama":
            raise DataError(
                f"{root / 'config.json'} describes a model of type {_type(root)!r}; SEED-LLaMA's is 'llama'. "
                "Give the folder of seed-llama-8b-sft or one like it"
            )
        return root
    models = [c for c in _children(root) if (c / "config.json").is_file() and _type(c) == "llama"]
    if len(models) == 1:
        return models[0]
    if models:
        names = ", ".join(folder.name for folder in models)
        raise UsageError(f"{root} holds several language models ({names}); give the folder of one of them")
    raise DataError(
        f"{root} is no SEED-LLaMA: neither it nor a folder in it holds the config.json of a Llama with its "
        "shards"
    )


def _type(folder: Path) -> object:
    return read_json(folder / "config.json").get("model_type")


def _tokenizer(folders: Sequence[Path]) -> Path:
    path = _first(folder / QUANTIZER for parent in folders for folder in [parent, *_children(parent)])
    if path is None:
        raise DataError(
            f"there is no {QUANTIZER} in {' and '.join(map(str, folders))} or a folder there; it comes with "
            f"{TOKENIZER_ID}: --set model.tokenizer=DIR"
        )
    return path.parent


def _is_unclip(folder: Path) -> bool:
    index = folder / "model_index.json"
    return index.is_file() and "UnCLIP" in str(read_json(index).get("_class_name"))


def _file(path: str, option: str) -> Path:
    if not Path(path).expanduser().is_file():
        raise DataError(f"there is no file {path!r}; check --set {option}")
    return Path(path).expanduser()


def _children(folder: Path) -> Iterator[Path]:
    yield from sorted(child for child in folder.iterdir() if child.is_dir())


def _first(paths: Iterable[Path]) -> Path | None:
    return next((path for path in paths if path.exists()), None)
