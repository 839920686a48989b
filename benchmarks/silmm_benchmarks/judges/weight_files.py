"""Finds the judges' weights, and identifies them by their content."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from silmm.checkpoint.folders import hub_snapshot
from silmm.errors import DataError
from silmm.storage.sha256_cache import file_digests
from silmm.storage.user_folders import DATA_VARIABLE, data_root
from silmm_benchmarks.judges.weights_catalogue import PULLED, WEIGHTS


class WithWeights(Protocol):
    """Options of a judge that has weights."""

    weights: str


HUB = "hub:"
_KINDS = (".safetensors", ".pth", ".bin", ".pt")
"""Suffixes of weights."""
_TEXTS = (".json", ".txt", ".model")
"""Suffixes of what belongs to them: sizes, vocabularies."""
_READ = frozenset({
    "config.json", "generation_config.json", "preprocessor_config.json", "processor_config.json",
    "video_preprocessor_config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json",
    "added_tokens.json", "vocab.json", "vocab.txt", "merges.txt", "spiece.model", "tokenizer.model",
    "med_config.json",
})
"""Those of them that a loader reads; others, as a home's notes, change no answer."""


def locate(judge: str, weights: str) -> Path:
    """Return the file or folder with a judge's weights; only `hub:ID` uses the network.

    Args:
        judge: a key of :data:`silmm_benchmarks.judges.weights_catalogue.WEIGHTS`.
        weights: the option: a path, ``hub:OWNER/NAME[@REVISION]``, or empty for the folder under the data root.

    Raises:
        DataError: nothing is there; the message names the file, its home, licence and size, and the path.
    """
    return _download(judge, weights.removeprefix(HUB)) if weights.startswith(HUB) else _local(judge, weights)


def require_weights(judge: str, options: WithWeights) -> None:
    """Refuse weights that are not there, as :func:`locate` does, without downloading any.

    Raises:
        DataError: nothing is there.
    """
    if not options.weights.startswith(HUB):
        _local(judge, options.weights)


def _local(judge: str, weights: str) -> Path:
    home = WEIGHTS[judge]
    path = Path(weights).expanduser() if weights else data_root() / home.folder
    if path.is_file() or (path.is_dir() and any(path.iterdir())):
        return path
    pull = f"`silmm data pull {home.folder}` fetches them; or put" if home.folder in PULLED else "Put"
    folder = f"{data_root() / home.folder} ({DATA_VARIABLE} moves that folder)"
    hub = f"; {HUB}{home.hub} as the path downloads them" if home.hub else ""
    raise DataError(
        f"The judge {judge!r} finds no weights at {path}. It needs {home.file}. Home: {home.url}. "
        f"Licence: {home.licence}. Size: {home.size}. {pull} them into {folder}, or "
        f"give their path{hub}."
    )


def weight_files(path: Path) -> list[Path]:
    """Return the files of weights at a path: the file itself, or those of a folder, safetensors alone if any.

    Raises:
        DataError: the folder has none.
    """
    if path.is_file():
        return [path]
    for kinds in (_KINDS[:1], _KINDS[1:]):
        files = sorted(file for file in path.iterdir() if file.suffix in kinds and file.is_file())
        if files:
            return files
    raise DataError(f"{path} holds no weights ({', '.join(_KINDS)}); name the folder or the file that does.")


def digest(paths: Sequence[Path]) -> str:
    """Return the sha256 of a file, or of the list of names and hashes of several.

    Raises:
        DataError: a file is missing or unreadable.
    """
    hashes = file_digests(paths)
    if len(hashes) == 1:
        return hashes[0]
    listed = (f"{path.name} {sha256}\n" for path, sha256 in zip(paths, hashes, strict=True))
    return hashlib.sha256("".join(listed).encode()).hexdigest()


def fingerprint(path: Path) -> dict[str, str]:
    """Return what identifies weights: hashes of them and of the files that describe them.

    The folder's name and its other files do not count, so that equal weights are equal anywhere.
    """
    hashes = {"weights_sha256": digest(weight_files(path))}
    if not path.is_dir():
        return hashes
    texts = sorted(file for file in path.iterdir() if file.name in _READ and file.is_file())
    return hashes | ({"files_sha256": digest(texts)} if texts else {})


def _download(judge: str, name: str) -> Path:
    repo, _, revision = name.partition("@")
    texts = [f"*{suffix}" for suffix in _TEXTS]
    try:
        for kinds in (_KINDS[:1], _KINDS[1:]):
            patterns = [*texts, *(f"*{kind}" for kind in kinds)]
            folder = hub_snapshot(repo, patterns, revision or None)
            if any(path.suffix in kinds for path in folder.iterdir()):
                return folder
    except DataError as error:
        raise DataError(
            f"The weights of the judge {judge!r} cannot be downloaded: {error}, or give the path of a local folder."
        ) from error
    raise DataError(f"{repo!r} holds no weights ({', '.join(_KINDS)}); give {judge!r} another id.")
