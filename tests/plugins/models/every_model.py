"""Every base model that is here, small: the embedded ones, the recorded checkpoints, and what those lack."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from silmm.contracts.models import BaseModel, Latent, Preference, SamplingParams
from silmm.registry.registry import Registry
from tests.plugins.models.seed_llama.tiny_checkpoint import HEADS, write_unclip
from tests.plugins.models.vlm_diffusion.tiny_pipeline import write as write_pipeline

EMBEDDED = ("tiny-discrete", "tiny-continuous")
ADAPTERS = ("janus", "emu3", "seed-llama", "dreamllm", "vlm-diffusion")
PROMPTS = ["a red circle", "a blue square and a green circle"]
QUESTIONS = [["is there a red circle ?"], ["is there a blue square ?", "is there a green circle ?"]]


@dataclass(frozen=True)
class EveryModel:
    """Loads the models by their names, with options as a user gives them."""

    paths: Mapping[str, Mapping[str, Any]]
    """The options with which each is loaded here, on the CPU."""
    registry: Registry = field(default_factory=Registry.load)

    @classmethod
    def find(cls, goldens: Path, folder: Path) -> EveryModel:
        """Take the recorded checkpoints and write the pipeline and the decoder that are not among them."""
        recorded = goldens / "checkpoints"
        write_unclip(folder / "unclip", embedding=32)
        pipeline = write_pipeline(folder / "vlm-diffusion")
        return cls({
            **{name: {} for name in EMBEDDED},
            "janus": {"path": str(recorded / "janus" / "original")},
            "emu3": {"path": str(recorded / "emu3"), "image_area": 1024},
            "seed-llama": {
                "path": str(recorded / "seed-llama"), "unclip": str(folder / "unclip"), "vit_heads": HEADS,
                "steps": 2,
            },
            "dreamllm": {"path": str(recorded / "dreamllm" / "original"), "steps": 2},
            "vlm-diffusion": {
                "path": str(pipeline), "tokens": 250, "side": 32, "steps": 2, "vqa_max_pixels": 112 * 112,
            },
        })  # fmt: skip

    def load(self, name: str, **options: object) -> BaseModel:
        """Load a model anew."""
        model: BaseModel = self.registry.build(
            "model", name, {"device": "cpu", **self.paths[name], **options}
        )
        return model


def preferences(model: BaseModel) -> list[Preference]:
    """Return two candidates for each prompt, of which the first is preferred."""
    if model.kind == "continuous":
        latents = model.represent(PROMPTS, [0, 1], SamplingParams())
        pairs = [[z * np.float32(0.9) - np.float32(0.01), z * np.float32(1.1)] for z in latents]
    else:
        pairs = [_sampled(model, prompt) for prompt in PROMPTS]
    return [
        Preference(prompt, tuple(candidates), ((0, 1),))
        for prompt, candidates in zip(PROMPTS, pairs, strict=True)
    ]


def _sampled(model: BaseModel, prompt: str) -> list[Latent]:
    return model.represent([prompt] * 2, [0, 1], SamplingParams())
