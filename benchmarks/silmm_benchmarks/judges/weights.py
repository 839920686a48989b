"""Where the judges' weights come from: public homes, licences and sizes, and how they are found here."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from silmm.checkpoint.folders import hub_snapshot
from silmm.errors import DataError
from silmm.storage.sha256_cache import file_digests
from silmm.storage.user_folders import DATA_VARIABLE, data_root

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
PULLED = frozenset({"blip-vqa", "clip", "clip-l14", "dpt", "mask2former", "mpnet"})
"""Folders that `silmm data pull` fills."""


@dataclass(frozen=True)
class Home:
    """Where the weights of a judge are published."""

    file: str
    """The file, or the files, that the judge needs."""
    url: str
    licence: str
    size: str
    folder: str
    """Name of the judge's folder under the data root."""
    hub: str = ""
    """Hub id that `hub:ID` may name; empty where the official weights are not on a hub."""


def _hub(hub: str, licence: str, size: str, folder: str, file: str = "model.safetensors") -> Home:
    files = f"{file} with its config, tokenizer and preprocessor files"
    return Home(files, f"https://huggingface.co/{hub}", licence, size, folder, hub)


WEIGHTS: Mapping[str, Home] = MappingProxyType({
    "blip-vqa": Home(
        "model_base_vqa_capfilt_large.pth, and vocab.txt of bert-base-uncased beside it",
        "https://storage.googleapis.com/sfr-vision-language-research/BLIP/models/"
        "model_base_vqa_capfilt_large.pth (vocab.txt: https://huggingface.co/bert-base-uncased)",
        "BSD-3-Clause (vocab.txt: Apache-2.0)", "about 1.5 GB", "blip-vqa",
        "Salesforce/blip-vqa-capfilt-large",
    ),
    "clip-vit-b-32": Home(
        "open_clip_model.safetensors (or open_clip_pytorch_model.bin)",
        "https://huggingface.co/timm/vit_base_patch32_clip_224.openai", "MIT", "about 0.6 GB", "clip",
        "timm/vit_base_patch32_clip_224.openai",
    ),
    "clip-l14": Home(
        "open_clip_model.safetensors (or open_clip_pytorch_model.bin)",
        "https://huggingface.co/timm/vit_large_patch14_clip_224.openai", "MIT", "about 1.7 GB", "clip-l14",
        "timm/vit_large_patch14_clip_224.openai",
    ),
    "mask2former": Home(
        "mask2former_swin-s-p4-w7-224_lsj_8x2_50e_coco_20220504_001756-743b7d99.pth",
        "https://download.openmmlab.com/mmdetection/v2.0/mask2former/"
        "mask2former_swin-s-p4-w7-224_lsj_8x2_50e_coco/"
        "mask2former_swin-s-p4-w7-224_lsj_8x2_50e_coco_20220504_001756-743b7d99.pth",
        "none stated for the weights; mmdet is Apache-2.0, they were trained on COCO", "about 0.28 GB", "mask2former",
    ),
    "dpt-hybrid": _hub("Intel/dpt-hybrid-midas", "Apache-2.0", "about 0.5 GB", "dpt"),
    "mpnet-match": _hub("sentence-transformers/all-mpnet-base-v2", "Apache-2.0", "about 0.4 GB", "mpnet"),
    "blip-vqa-base": _hub("Salesforce/blip-vqa-base", "BSD-3-Clause", "about 1.5 GB", "blip-vqa-base"),
    "blip-vqa-large": _hub(
        "Salesforce/blip-vqa-capfilt-large", "BSD-3-Clause", "about 1.5 GB", "blip-vqa-large"
    ),
    "git-base": _hub("microsoft/git-base-vqav2", "MIT", "about 0.7 GB", "git-base"),
    "git-large": _hub("microsoft/git-large-vqav2", "MIT", "about 1.6 GB", "git-large"),
    "vilt": _hub("dandelin/vilt-b32-finetuned-vqa", "Apache-2.0", "about 0.5 GB", "vilt"),
    "blip2-flant5xl": _hub(
        "Salesforce/blip2-flan-t5-xl", "MIT", "about 16 GB", "blip2-flant5xl",
        "model-0000N-of-0000M.safetensors",
    ),
    "detector": Home(
        "the folder of a Grounding DINO, OWLv2 or (RT-)DETR model with its config and preprocessor files",
        "https://huggingface.co/models?pipeline_tag=object-detection", "of the model that you choose",
        "0.2 to 1 GB", "detector",
    ),
})
"""Judge -> home (docs/spec/benchmarks.md 1.4, 1.5, 1.8, 2.3; sizes are those of 32-bit weights)."""


def locate(judge: str, given: str) -> Path:
    """Return the file or folder with a judge's weights; only `hub:ID` reaches for a network.

    Args:
        judge: a key of :data:`WEIGHTS`.
        given: the option: a path, ``hub:OWNER/NAME[@REVISION]``, or empty for the folder under the data root.

    Raises:
        DataError: nothing is there; the message names the file, its home, licence and size, and the place.
    """
    if given.startswith(HUB):
        return _download(judge, given.removeprefix(HUB))
    home = WEIGHTS[judge]
    place = Path(given).expanduser() if given else data_root() / home.folder
    if place.is_file() or (place.is_dir() and any(place.iterdir())):
        return place
    pull = f"`silmm data pull {home.folder}` fetches them; or put" if home.folder in PULLED else "Put"
    folder = f"{data_root() / home.folder} ({DATA_VARIABLE} moves that folder)"
    hub = f"; {HUB}{home.hub} as the path downloads them" if home.hub else ""
    raise DataError(
        f"The judge {judge!r} finds no weights at {place}. It needs {home.file}. Home: {home.url}. "
        f"Licence: {home.licence}. Size: {home.size}. {pull} them into {folder}, or "
        f"give their path{hub}."
    )


def weight_files(place: Path) -> list[Path]:
    """Return the files of weights at a place: the file itself, or a folder's, safetensors alone if any.

    Raises:
        DataError: the folder has none.
    """
    if place.is_file():
        return [place]
    for kinds in (_KINDS[:1], _KINDS[1:]):
        found = sorted(path for path in place.iterdir() if path.suffix in kinds and path.is_file())
        if found:
            return found
    raise DataError(f"{place} holds no weights ({', '.join(_KINDS)}); name the folder or the file that does.")


def digest(paths: Sequence[Path]) -> str:
    """Return the sha256 of a file, or of the list of names and hashes of several.

    Raises:
        DataError: a file is missing or unreadable.
    """
    hashes = file_digests(paths)
    if len(hashes) == 1:
        return hashes[0]
    listed = (f"{path.name} {one}\n" for path, one in zip(paths, hashes, strict=True))
    return hashlib.sha256("".join(listed).encode()).hexdigest()


def fingerprint(place: Path) -> dict[str, str]:
    """Return what tells weights apart in an identity: hashes of them and of the files that describe them.

    How a folder is called and what else lies in it does not count, so that equal weights are equal anywhere.
    """
    found = {"weights_sha256": digest(weight_files(place))}
    if not place.is_dir():
        return found
    texts = sorted(path for path in place.iterdir() if path.name in _READ and path.is_file())
    return found | ({"files_sha256": digest(texts)} if texts else {})


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
