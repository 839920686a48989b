"""Any text-to-image pipeline of diffusers as a generator: SD-1.5, SD-2, SD-2.1, SDXL, PixArt-α and the like.

Each image has a random generator of its own, so that it does not depend on what it is sampled with. Prompts
reach the pipeline as they are: captions are not cleaned, sizes not rounded to trained shapes. Weights are
read from safetensors alone.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import torch
from numpy.typing import NDArray

from silmm.contracts.generators import GenerationFailure
from silmm.errors import DataError, UsageError
from silmm.storage.sha256_cache import file_digests
from silmm_benchmarks.generators.options import DiffusersOptions

AS_IT_IS: Mapping[str, Any] = {"clean_caption": False, "use_resolution_binning": False}
"""Switches of some pipelines (PixArt) that would change the prompt or the size behind the card's back."""
BATCH = 4
"""Prompts sampled together by default."""
_HUB = re.compile(r"[\w.-]+/[\w.-]+")


@dataclass
class DiffusersGenerator:
    """A loaded pipeline and the arguments of its calls."""

    pipeline: Any
    identity: Mapping[str, Any]
    arguments: Mapping[str, Any]
    negative_prompt: str
    batch_size: int
    noise: torch.device = field(default_factory=lambda: torch.device("cpu"))
    """Where the noise is sampled."""

    def announce(self, images: int) -> str:
        """Say nothing: the images are free."""
        del images
        return ""

    def generate(
        self, prompts: Sequence[str], seeds: Sequence[int]
    ) -> list[PIL.Image.Image | GenerationFailure]:
        """Sample one image for each (prompt, seed)."""
        arguments = dict(self.arguments)
        if self.negative_prompt:
            arguments["negative_prompt"] = [self.negative_prompt] * len(prompts)
        generators = [torch.Generator(self.noise).manual_seed(seed) for seed in seeds]
        with torch.no_grad():
            sampled = self.pipeline(
                prompt=list(prompts), generator=generators, output_type="np", return_dict=True, **arguments
            )
        flags = getattr(sampled, "nsfw_content_detected", None) or [False] * len(prompts)
        return [self._image(image, bool(flag)) for image, flag in zip(sampled.images, flags, strict=True)]

    def _image(self, pixels: NDArray[np.float32], flagged: bool) -> PIL.Image.Image | GenerationFailure:
        if flagged:
            return GenerationFailure("nsfw", "the pipeline's safety checker blacked the image out")
        if not np.isfinite(pixels).all() or not pixels.any():
            way = "try float32 or bfloat16" if self.identity["dtype"] == "float16" else "try another seed"
            return GenerationFailure("failed", f"the image is black or not a number; {way}")
        return PIL.Image.fromarray((pixels * 255).round().astype(np.uint8))


def open_pipeline(options: DiffusersOptions) -> DiffusersGenerator:
    """Load the pipeline of a folder, or of a repository on the hub.

    Raises:
        UsageError: the folder or repository does not exist or is no text-to-image pipeline, or an option does not fit.
        DataError: its files cannot be loaded.
    """
    model = options.model
    if not model:
        raise UsageError("--model diffusers names no model; write diffusers:OWNER/NAME or diffusers:DIR")
    folder = _folder(model, options.revision)
    pipeline = _load(folder, model, options)
    parameters = inspect.signature(pipeline.__call__).parameters
    if "prompt" not in parameters or "generator" not in parameters or "image" in parameters:
        raise UsageError(f"diffusers:{model} is a {type(pipeline).__name__}, not a text-to-image pipeline.")
    arguments = _arguments(model, parameters, options)
    if options.scheduler:
        pipeline.scheduler = _scheduler(options.scheduler, pipeline)
    device = options.device or ("cuda" if torch.cuda.is_available() else "cpu")
    pipeline.to(device)
    if pipeline.dtype != getattr(torch, options.dtype):  # releases of diffusers that call it torch_dtype
        pipeline.to(dtype=getattr(torch, options.dtype))
    pipeline.set_progress_bar_config(disable=True)
    noise = torch.device("cuda" if device.startswith("cuda") else "cpu")
    identity = {
        "generator": "diffusers",
        "model": model if not Path(model).is_dir() else Path(model).resolve().name,
        "pipeline": type(pipeline).__name__,
        **_weights(folder, local=Path(model).is_dir()),
        "scheduler": type(pipeline.scheduler).__name__,
        "steps": _value(parameters, arguments, "num_inference_steps"),
        "guidance": _value(parameters, arguments, "guidance_scale"),
        "size": _size(pipeline, arguments),
        "negative_prompt": options.negative_prompt,
        "dtype": options.dtype,
        "noise": noise.type,
        "safety_checker": getattr(pipeline, "safety_checker", None) is not None,
        "text_tokens": _value(parameters, {}, "max_sequence_length") or _text_tokens(pipeline),
        "prompt_rewriting": "none",
    }
    return DiffusersGenerator(
        pipeline, identity, arguments, options.negative_prompt, options.batch_size or BATCH, noise
    )


def _folder(model: str, revision: str | None) -> Path:
    """Return the local folder of a pipeline, fetched into the hub's own cache if need be."""
    from diffusers import DiffusionPipeline

    if Path(model).is_dir():
        if not (Path(model) / "model_index.json").is_file():
            raise UsageError(f"{model} has no model_index.json: it is not a folder of a diffusers pipeline.")
        return Path(model)
    if not _HUB.fullmatch(model):
        raise UsageError(f"diffusers:{model}: there is no such folder, and OWNER/NAME names one on the hub.")
    try:
        return Path(DiffusionPipeline.download(model, revision=revision, use_safetensors=True))
    except Exception as error:  # hub, network and cache raise many kinds
        raise UsageError(
            f"diffusers:{model} cannot be fetched ({error}). Check the name, the network and, for a gated "
            "repository, your login; or give the folder of a copy."
        ) from error


def _load(folder: Path, model: str, options: DiffusersOptions) -> Any:
    from diffusers import AutoPipelineForText2Image, DiffusionPipeline
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    diffusers_logging.disable_progress_bar()  # bars of single components would run through the command's own
    transformers_logging.disable_progress_bar()
    dtype = getattr(torch, options.dtype)
    arguments: dict[str, Any] = {"use_safetensors": True, "local_files_only": True, "dtype": dtype}
    if not options.safety_checker and _has(folder, "safety_checker"):
        arguments |= {"safety_checker": None, "requires_safety_checker": False}
    try:
        try:
            return AutoPipelineForText2Image.from_pretrained(folder, **arguments)
        except ValueError:  # a family that the automatic door does not list
            return DiffusionPipeline.from_pretrained(folder, **arguments)
    except Exception as error:  # loaders of a dozen libraries raise many kinds
        raise DataError(
            f"diffusers:{model} cannot be loaded ({error}). Weights are read from safetensors alone; copy "
            "the files again if one is broken."
        ) from error


def _has(folder: Path, component: str) -> bool:
    from diffusers import DiffusionPipeline

    return bool((DiffusionPipeline.load_config(folder).get(component) or [None])[0])


def _scheduler(name: str, pipeline: Any) -> Any:
    import diffusers

    kind: Any = getattr(diffusers, name, None)
    mixin: Any = diffusers.SchedulerMixin
    if not (inspect.isclass(kind) and issubclass(kind, mixin)):
        fitting = sorted(scheduler.__name__ for scheduler in getattr(pipeline.scheduler, "compatibles", []))
        raise UsageError(f"{name!r} is no scheduler of diffusers; for example: {', '.join(fitting)}.")
    scheduler_class: Any = kind
    return scheduler_class.from_config(pipeline.scheduler.config)


def _arguments(model: str, parameters: Mapping[str, Any], options: DiffusersOptions) -> dict[str, Any]:
    """Return the arguments of every call: the options that are set, by the pipeline's own names."""
    requested = {
        "num_inference_steps": options.steps,
        "guidance_scale": options.guidance,
        "width": options.width,
        "height": options.height,
        "negative_prompt": options.negative_prompt or None,
    }
    for name, value in requested.items():
        if value is not None and name not in parameters:
            raise UsageError(f"the pipeline of diffusers:{model} has no {name}; leave that option out.")
    arguments = {name: value for name, value in requested.items() if value is not None and name != "negative_prompt"}
    return arguments | {name: value for name, value in AS_IT_IS.items() if name in parameters}


def _value(parameters: Mapping[str, inspect.Parameter], arguments: Mapping[str, Any], name: str) -> Any:
    if name in arguments or name not in parameters:
        return arguments.get(name)
    default = parameters[name].default
    return default if isinstance(default, int | float) else None


def _size(pipeline: Any, arguments: Mapping[str, Any]) -> list[int] | None:
    """Return [width, height], None where only the pipeline knows."""
    body = getattr(pipeline, "unet", None) or getattr(pipeline, "transformer", None)
    sample = getattr(getattr(body, "config", None), "sample_size", None)
    scale = getattr(pipeline, "vae_scale_factor", None)
    own = sample * scale if isinstance(sample, int) and isinstance(scale, int) else None
    size = [arguments.get(side, own) for side in ("width", "height")]
    return None if None in size else size


def _text_tokens(pipeline: Any) -> int | None:
    """Return how many tokens of a prompt reach the model at most; what is longer is cut by the pipeline."""
    length = getattr(getattr(pipeline, "tokenizer", None), "model_max_length", None)
    return length if isinstance(length, int) and length < 1 << 20 else None


def _weights(folder: Path, *, local: bool) -> dict[str, Any]:
    """Return what pins the weights: the hub's commit, or the hashes of a local folder's files."""
    if not local:
        return {"revision": folder.name}
    files = sorted([*folder.rglob("*.safetensors"), *folder.rglob("*.json")])
    names = [path.relative_to(folder).as_posix() for path in files]
    return {"files": dict(zip(names, file_digests(files), strict=True))}
