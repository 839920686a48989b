"""Where the judges' weights are published: homes, licences, sizes, and the files that `silmm data pull` fetches.

No home has published a SHA-256 that was available here, so each is recorded when the file first arrives
(docs/spec/benchmarks.md 1.4-2.3, 4.2; docs/spec/unidet.md 14).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from silmm_benchmarks.data.data_file import DataFile

PULLED = frozenset({"blip-vqa", "clip", "clip-l14", "dpt", "mask2former", "mpnet"})
"""Folders that `silmm data pull` fills."""


_MASK2FORMER = (
    "https://download.openmmlab.com/mmdetection/v2.0/mask2former/mask2former_swin-s-p4-w7-224_lsj_8x2_50e_coco/"
    "mask2former_swin-s-p4-w7-224_lsj_8x2_50e_coco_20220504_001756-743b7d99.pth"
)


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
        _MASK2FORMER.rpartition("/")[2], _MASK2FORMER,
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

_UNIDET_LICENCE = (
    "none is stated for these weights. UniDet's code is Apache-2.0; they were trained on COCO, Objects365, "
    "OpenImages and Mapillary, whose own terms apply, so take them as non-commercial until you have checked"
)

UNIDET_LABELS = DataFile(
    name="detection_features.pt",
    url="https://raw.githubusercontent.com/Karine-Huang/T2I-CompBench/"
    "1b70949/UniDet_eval/dataset/detection_features.pt",
    sha256=None,
    size=None,
    licence="T2I-CompBench is MIT as a whole; the file comes with parts of Prismer under the NVIDIA Source "
    "Code License-NC, which is non-commercial.",
)

UNIDET_FILES: Mapping[str, tuple[DataFile, DataFile]] = {
    "unidet-r50": (
        DataFile(
            name="Unified_learned_OCIM_R50_6x+2x.pth",
            url="https://drive.usercontent.google.com/download?"
            "id=1C4sgkirmgMumKXXiLOPmCKNTZAc3oVbq&export=download&confirm=t",
            sha256=None,
            size=None,
            licence=f"{_UNIDET_LICENCE}.",
        ),
        UNIDET_LABELS,
    ),
    "unidet-rs200": (
        DataFile(
            name="Unified_learned_OCIM_RS200_6x+2x.pth",
            url="https://huggingface.co/shikunl/prismer/resolve/main/expert_weights/"
            "Unified_learned_OCIM_RS200_6x%2B2x.pth",
            sha256=None,
            size=None,
            licence=f"{_UNIDET_LICENCE}; this copy is Prismer's, whose licence (NVIDIA Source Code "
            "License-NC) is non-commercial.",
        ),
        UNIDET_LABELS,
    ),
}
"""Of each judge: its weights, then the names of its classes. Nobody has published their hashes."""

UNIDET_SIZES = {
    "Unified_learned_OCIM_R50_6x+2x.pth": "72.0 million numbers, about 0.29 GB",
    "Unified_learned_OCIM_RS200_6x+2x.pth": "120.7 million numbers, about 0.48 GB",
    UNIDET_LABELS.name: "a list of 722 names with what belongs to them",
}

_HUB = "https://huggingface.co"
_BLIP = (
    "https://storage.googleapis.com/sfr-vision-language-research/BLIP/models/"
    "model_base_vqa_capfilt_large.pth"
)
_MPLUG = "https://modelscope.cn/models/iic/mplug_visual-question-answering_coco_large_en/resolve/master"
_MPLUG_LICENCE = "Apache-2.0 as far as known; the model card at its home decides"


def _file(name: str, url: str, licence: str) -> DataFile:
    return DataFile(name, url, sha256=None, size=None, licence=licence)


def _hub_files(repo: str, licence: str, *names: str, revision: str = "main") -> tuple[DataFile, ...]:
    return tuple(_file(name, f"{_HUB}/{repo}/resolve/{revision}/{name}", licence) for name in names)


FILES: Mapping[str, tuple[DataFile, ...]] = MappingProxyType({
    "mplug": tuple(
        _file(name, f"{_MPLUG}/{name}", _MPLUG_LICENCE)
        for name in ("config.yaml", "config_bert.json", "vocab.txt", "pytorch_model.bin")
    ),
    "blip-vqa": (
        _file(_BLIP.rpartition("/")[2], _BLIP, "BSD-3-Clause"),
        *_hub_files("google-bert/bert-base-uncased", "Apache-2.0", "vocab.txt"),
    ),
    "clip": _hub_files(
        "timm/vit_base_patch32_clip_224.openai", "MIT", "open_clip_model.safetensors",
        revision="a6f597a30f7b82c51704746581f9a4e41421e878",
    ),
    "clip-l14": _hub_files("timm/vit_large_patch14_clip_224.openai", "MIT", "open_clip_model.safetensors"),
    "mask2former": (
        _file(
            _MASK2FORMER.rpartition("/")[2], _MASK2FORMER,
            "none is stated for the weights; mmdet is Apache-2.0, and they were trained on COCO",
        ),
    ),
    "dpt": _hub_files(
        "Intel/dpt-hybrid-midas", "Apache-2.0", "config.json", "preprocessor_config.json", "model.safetensors"
    ),
    "mpnet": _hub_files(
        "sentence-transformers/all-mpnet-base-v2", "Apache-2.0", "config.json", "tokenizer.json",
        "tokenizer_config.json", "special_tokens_map.json", "vocab.txt", "model.safetensors",
    ),
    **UNIDET_FILES,
})
"""Name of the data set, which is the judge's folder under the data root -> its files."""
