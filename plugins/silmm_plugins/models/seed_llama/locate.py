"""Where the parts of a SEED-LLaMA lie: language model, tokenizer, image encoder and unCLIP decoder."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
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
_WANTED = ["*.json", "*.bin", "*.safetensors", "*.model", "*.pt", "*.txt"]


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
    """Return the parts that the options name, or that lie in or beside the folder `path`.

    Raises:
        UsageError: `path` is not given, or fits more than one language model.
        DataError: a part is missing, or a hub id cannot be fetched.
    """
    root = checkpoint_folder(
        options.path, _WANTED, owner="seed-llama",
        expected="the folder of the language model, or one that holds it and the other parts",
        revision=options.revision,
    )  # fmt: skip
    from_hub = not Path(options.path).expanduser().is_dir()
    model = _language_model(root)
    places = [root] if model != root else [root, root.parent]
    given = options.tokenizer or (TOKENIZER_ID if from_hub else "")
    tokenizer = checkpoint_folder(given, _WANTED, option="tokenizer") if given else _tokenizer(places)
    for name in (PIECES, QUANTIZER):
        if not (tokenizer / name).is_file():
            raise DataError(
                f"{tokenizer} holds no {name}; the tokenizer of SEED-LLaMA is a folder with {PIECES} and "
                f"{QUANTIZER} ({TOKENIZER_ID}): --set model.tokenizer=DIR"
            )
    vit = _file(options.vit, "model.vit") if options.vit else _first(
        place / sub / VIT for place in [tokenizer, *places] for sub in (".", "companions")
    )
    unclip = checkpoint_folder(options.unclip, _WANTED, option="unclip") if options.unclip else _first(
        child for place in places for child in _children(place) if _is_unclip(child)
    )
    if unclip is not None and not _is_unclip(unclip):
        raise DataError(
            f"{unclip} is no unCLIP pipeline: its model_index.json is missing or of another class; give the "
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
    found = [c for c in _children(root) if (c / "config.json").is_file() and _type(c) == "llama"]
    if len(found) == 1:
        return found[0]
    if found:
        names = ", ".join(folder.name for folder in found)
        raise UsageError(f"{root} holds several language models ({names}); give the folder of one of them")
    raise DataError(
        f"{root} is no SEED-LLaMA: neither it nor a folder in it holds the config.json of a Llama with its "
        "shards"
    )


def _type(folder: Path) -> object:
    return read_json(folder / "config.json").get("model_type")


def _tokenizer(places: Iterable[Path]) -> Path:
    looked = list(places)
    found = _first(f / QUANTIZER for p in looked for f in [p, *_children(p)])
    if found is None:
        where = " and ".join(str(place) for place in looked)
        raise DataError(
            f"no {QUANTIZER} in {where} or a folder there; it comes with {TOKENIZER_ID}: "
            "--set model.tokenizer=DIR"
        )
    return found.parent


def _is_unclip(folder: Path) -> bool:
    index = folder / "model_index.json"
    return index.is_file() and "UnCLIP" in str(read_json(index).get("_class_name"))


def _file(path: str, option: str) -> Path:
    if not Path(path).expanduser().is_file():
        raise DataError(f"no file {path!r}; check --set {option}")
    return Path(path).expanduser()


def _children(folder: Path) -> Iterator[Path]:
    yield from sorted(child for child in folder.iterdir() if child.is_dir())


def _first(paths: Iterable[Path]) -> Path | None:
    return next((path for path in paths if path.exists()), None)
