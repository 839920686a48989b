"""The published files of the judges beside UniDet, for `silmm data pull` (docs/spec/benchmarks.md 1.4-2.3, 4.2).

No home has published a SHA-256 that was seen here, so each is recorded when the file first comes.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from silmm_benchmarks.data.data_file import DataFile

_HUB = "https://huggingface.co"
_BLIP = (
    "https://storage.googleapis.com/sfr-vision-language-research/BLIP/models/"
    "model_base_vqa_capfilt_large.pth"
)
_MASK2FORMER = (
    "https://download.openmmlab.com/mmdetection/v2.0/mask2former/mask2former_swin-s-p4-w7-224_lsj_8x2_50e_coco/"
    "mask2former_swin-s-p4-w7-224_lsj_8x2_50e_coco_20220504_001756-743b7d99.pth"
)
_MPLUG = "https://modelscope.cn/models/iic/mplug_visual-question-answering_coco_large_en/resolve/master"
_MPLUG_LICENCE = "Apache-2.0 as far as known; the model card at its home decides"


def _file(name: str, url: str, licence: str) -> DataFile:
    return DataFile(name, url, sha256=None, size=None, licence=licence)


def _hub(repo: str, licence: str, *names: str, revision: str = "main") -> tuple[DataFile, ...]:
    return tuple(_file(name, f"{_HUB}/{repo}/resolve/{revision}/{name}", licence) for name in names)


FILES: Mapping[str, tuple[DataFile, ...]] = MappingProxyType({
    "mplug": tuple(
        _file(name, f"{_MPLUG}/{name}", _MPLUG_LICENCE)
        for name in ("config.yaml", "config_bert.json", "vocab.txt", "pytorch_model.bin")
    ),
    "blip-vqa": (
        _file(_BLIP.rpartition("/")[2], _BLIP, "BSD-3-Clause"),
        *_hub("google-bert/bert-base-uncased", "Apache-2.0", "vocab.txt"),
    ),
    "clip": _hub(
        "timm/vit_base_patch32_clip_224.openai", "MIT", "open_clip_model.safetensors",
        revision="a6f597a30f7b82c51704746581f9a4e41421e878",
    ),
    "clip-l14": _hub("timm/vit_large_patch14_clip_224.openai", "MIT", "open_clip_model.safetensors"),
    "mask2former": (
        _file(
            _MASK2FORMER.rpartition("/")[2], _MASK2FORMER,
            "none is stated for the weights; mmdet is Apache-2.0, and they were trained on COCO",
        ),
    ),
    "dpt": _hub(
        "Intel/dpt-hybrid-midas", "Apache-2.0", "config.json", "preprocessor_config.json", "model.safetensors"
    ),
    "mpnet": _hub(
        "sentence-transformers/all-mpnet-base-v2", "Apache-2.0", "config.json", "tokenizer.json",
        "tokenizer_config.json", "special_tokens_map.json", "vocab.txt", "model.safetensors",
    ),
})
"""Name of the data set, which is the judge's folder under the data root -> its files."""
