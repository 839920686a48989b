"""Options of the judges, apart so that listing them imports nothing heavy."""

from __future__ import annotations

from typing import Literal

from silmm.contracts.options import Options, option

Precision = Literal["float32", "bfloat16", "float16"]


class JudgeOptions(Options):
    """Where a judge's weights are and where it computes."""

    weights: str = option(
        "",
        "file or folder of the weights; empty: the judge's folder under SILMM_DATA; hub:OWNER/NAME[@REVISION] "
        "downloads them",
    )
    device: str = option("auto", "auto, cpu, cuda or cuda:N; auto takes a GPU if any")
    dtype: Precision = option("float32", "float32 gives the official numbers; the others are faster on a GPU")
    batch_size: int = option(16, "images at once", ge=1, unit="images")


class BlipVqaOptions(JudgeOptions):
    """BLIP-VQA of T2I-CompBench++."""

    tokenizer: str = option("", "folder with bert-base-uncased's vocab.txt; empty: beside the weights")


class MatcherOptions(JudgeOptions):
    """MPNet answer matching of TIFA."""

    batch_size: int = option(64, "texts at once", ge=1, unit="texts")


class BaseModelOptions(Options):
    """A base model of silmm as a judge."""

    model: str = option("tiny-discrete", "name of the base model, see `silmm plugins --kind model`")
    settings: str = option("{}", "options of that model as a JSON object, for example {\"folder\": \"DIR\"}")
    adapter: str = option("", "folder of a LoRA adapter; empty: the base model itself")
    size: int = option(0, "images are scaled to this side first; 0: as they are", ge=0, unit="pixels")


class ColourOptions(JudgeOptions):
    """CLIP ViT-L/14 as GenEval's judge of colours."""

    background: str = option("#999", "what is painted around a masked object: a colour of Pillow, or original")
    crop: bool = option(True, "cut the object out of the image, as the official script does by default")


class Mask2FormerOptions(Options):
    """Where Mask2Former's weights are and where it computes; always in float32, as officially."""

    weights: str = option(
        "",
        "the official checkpoint (.pth), or the same as .safetensors, or the folder of either; empty: mask2former in "
        "the data folder (SILMM_DATA)",
    )
    device: str = option("auto", "auto, cpu, cuda or cuda:N; auto takes a GPU if there is one")


class DetectorOptions(JudgeOptions):
    """Any object detector of transformers; not the official one."""

    labels: str = option(
        "",
        "objects to detect, for detectors that read text: a JSON list file of names, or names with commas; empty: "
        "the model's own labels",
    )
    threshold: float = option(0.1, "least score of a detection that is kept", ge=0, le=1)
    most: int = option(300, "most detections per image, the best ones", ge=1, unit="detections")


class UniDetOptions(Options):
    """Where UniDet's files are and how it computes."""

    weights: str = option(
        "",
        "the official checkpoint (.pth), or the same as .safetensors, or the folder of the former; empty = the "
        "folder of the judge's name in the data folder (SILMM_DATA)",
    )
    labels: str = option(
        "", "the 722 names: the official detection_features.pt, or a JSON list; empty = the former beside the weights"
    )
    device: str = option("auto", "auto, cpu, cuda or cuda:N; auto takes a GPU if there is one")
    precision: Literal["float32", "bfloat16", "float16"] = option(
        "float32",
        "of the networks; boxes and pooling are always float32. Official numbers were made in float16; scores of "
        "the others differ by about 0.001",
    )
    colours: Literal["official", "corrected"] = option(
        "official",
        "official: BGR for both networks, as the benchmark feeds them; corrected: RGB for unidet-rs200, which was "
        "trained on it",
    )
    nms: Literal["official", "exact"] = option(
        "official", "official: classes are shifted apart in float32, which rounds boxes; exact: they are not"
    )
    repair_variances: bool = option(
        False, "raise variances that are not above 0 to 1e-12 instead of refusing the checkpoint"
    )


class MPlugOptions(Options):
    """Where mPLUG's files are and how it computes."""

    weights: str = option(
        "",
        "folder of config.yaml, config_bert.json, vocab.txt and pytorch_model.bin; empty = mplug in the data "
        "folder (SILMM_DATA)",
    )
    device: str = option("auto", "auto, cpu, cuda or cuda:N; auto takes a GPU if there is one")
    dtype: Literal["float32", "bfloat16"] = option(
        "float32", "float32 gives the official answers; bfloat16 may give others"
    )
    batch_size: int = option(16, "questions of one image that are asked at once", ge=1, unit="questions")
