"""`emu3` as a base model: Gen is the policy, which samples and is trained, Chat the judge, which answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from silmm.checkpoint.folders import read_json
from silmm.contracts.models import BaseModel, ChatRequest, Image, Latent, SamplingParams
from silmm.errors import DataError, UsageError
from silmm_plugins.models._shared.placement import Placement
from silmm_plugins.models._shared.representations import checked_codes
from silmm_plugins.models._shared.sequences import slices
from silmm_plugins.models._shared.spreading import Spread, check_devices
from silmm_plugins.models.emu3 import grammar
from silmm_plugins.models.emu3.checkpoint import load_language_model
from silmm_plugins.models.emu3.image_sampling import Canvas, sample
from silmm_plugins.models.emu3.image_tokenizer import Emu3ImageTokenizer, load_vision
from silmm_plugins.models.emu3.language_model import Emu3LM
from silmm_plugins.models.emu3.locate import locate
from silmm_plugins.models.emu3.options import CAPABILITIES, Emu3Options
from silmm_plugins.models.emu3.tokenizer import Emu3Tokenizer, load_tokenizer
from silmm_plugins.models.emu3.vqa import AFTER, BEFORE, Emu3Judge

_AREA = 720 * 720
"""Pixels of an image where the checkpoint states none (-hf)."""


class Emu3(BaseModel):
    """Emu3-Gen with Emu3-Chat and the vision tokenizer; z holds the codes of an image, row by row."""

    def __init__(
        self,
        policy: Emu3LM,
        tokenizer: Emu3Tokenizer,
        judge: Emu3Judge,
        vision: Emu3ImageTokenizer,
        area: int,
        options: Emu3Options,
    ) -> None:
        """Join the parts and move them to their devices.

        Args:
            policy: of Emu3-Gen.
            tokenizer: of the policy.
            judge: of Emu3-Chat, or of the policy itself.
            vision: the tokenizer of both.
            area: of sampled images, in pixels.
            options: see :class:`Emu3Options`.

        Raises:
            UsageError: an image has more tokens than the policy has positions, or torch cannot use a device.
        """
        self.kind = "discrete"
        self.capabilities = frozenset(CAPABILITIES)
        self.backbone = policy.backbone
        inner = r"model\.text_model" if hasattr(policy.backbone.model, "text_model") else "model"
        self.lora_targets = inner + r"\.layers\.\d+\.(self_attn\.[qkvo]_proj|mlp\.(gate|up|down)_proj)"
        self.policy, self.tokenizer, self.judge, self.vision = policy, tokenizer, judge, vision
        self.options = options
        self.grid = grammar.grid(options.ratio, area)
        if len(self._ids("")) + grammar.length(*self.grid) > policy.longest:
            raise UsageError(
                f"images of {self.grid[0]}x{self.grid[1]} codes take {grammar.length(*self.grid)} tokens; "
                f"this checkpoint has {policy.longest} positions. Lower model.image_area"
            )
        self.placement = _on_device(policy, judge, vision, options)
        self._reader = "judge" if "judge" in self.placement.parts else "policy"

    @classmethod
    def load(cls, options: Emu3Options) -> Emu3:
        """Load the checkpoint that the options name; see :func:`silmm_plugins.models.emu3.locate.locate`.

        Raises:
            DataError: a file is missing, damaged or of another model.
            UsageError: a part is missing, or torch cannot use a device.
        """
        for devices in (options.device, options.judge_device or options.device):
            check_devices("emu3", devices)
        parts = locate(options.path, options.judge, options.vision, options.revision)
        vision = load_vision(parts.vision, options.vqa_max_pixels)

        def language_model(folder: Path) -> tuple[Emu3LM, Emu3Tokenizer]:
            backbone = load_language_model(folder, options.dtype)
            text = load_tokenizer(folder, vision.codes, backbone.config.get_text_config().vocab_size)
            return Emu3LM(backbone, text.tokens, head_chunk=options.head_chunk), text

        policy, tokenizer = language_model(parts.policy)
        judge = Emu3Judge(*(language_model(parts.judge) if parts.judge else (policy, tokenizer)))
        area = options.image_area or int(read_json(parts.policy / "config.json").get("image_area", _AREA))
        return cls(policy, tokenizer, judge, vision, area, options)

    def probe(self) -> dict[str, Any]:
        """Return what the checkpoint says, JSON-able, for `silmm probe` and for bug reports."""
        judge, tokens = self.judge, self.tokenizer.tokens
        judge_tokens = judge.tokenizer.tokens
        problems = []
        if judge_tokens != tokens:
            problems.append(f"policy and judge differ in their ids: {tokens} and {judge_tokens}")
        return {
            "layout": type(self.backbone).__name__,
            "judge": type(judge.model.backbone).__name__,
            "the policy judges itself": judge.model is self.policy,
            "token ids": asdict(tokens),
            "yes ids": {judge.tokenizer.decode([token]): token for token in judge.yes},
            "no ids": {judge.tokenizer.decode([token]): token for token in judge.no},
            "sampling template": f"BOS + prompt{self.options.positive_suffix} + BOI + rows*columns + IMG",
            "question template": f"BOS + {BEFORE}image + question{AFTER}",
            "rows and columns": list(self.grid),
            "tokens per image": grammar.length(*self.grid),
            "positions": self.policy.longest,
            "codes": self.vision.codes,
            "pixels per code": self.vision.side,
            "pixels of an image in a question": list(self.vision.limits),
            "problems": problems,
        }

    # -- prompts -------------------------------------------------------------------------------------

    def prompt_ids(self, prompt: str) -> list[int]:
        """Return the ids before the codes (docs/spec/base-models.md 3.4).

        Raises:
            DataError: the prompt leaves no room for the image.
        """
        ids = self._ids(prompt)
        room = self.policy.longest - grammar.length(*self.grid)
        if len(ids) > room:
            raise DataError(
                f"the prompt {prompt[:60]!r} has {len(ids)} tokens with its template; an image leaves room "
                f"for {room}. Make it shorter or leave it out."
            )
        return ids

    def reads(self, prompt: str) -> bool:
        """Say whether the prompt leaves room for the image."""
        return len(self._ids(prompt)) + grammar.length(*self.grid) <= self.policy.longest

    def _ids(self, prompt: str) -> list[int]:
        return self.image_ids(prompt + self.options.positive_suffix, self.grid)

    def image_ids(self, text: str, shape: tuple[int, int]) -> list[int]:
        """Return the ids of a text, without a suffix, before an image of that shape."""
        opening = grammar.opening(self.tokenizer, *shape)
        return [self.tokenizer.tokens.bos, *self.tokenizer.encode(text), *opening]

    # -- sampling -------------------------------------------------------------------------------------

    def represent(
        self, prompts: Sequence[str], seeds: Sequence[int], sampling: SamplingParams
    ) -> list[Latent]:
        """Sample codes, int32 (rows * columns,), one candidate for each prompt and seed.

        The distribution is the guided one unless `model.guidance` is 1.

        Raises:
            DataError: a prompt leaves no room for the image.
        """
        self.placement.need("policy")
        negative = self.image_ids(self.options.negative_prompt, self.grid)
        canvases = [
            Canvas(self.prompt_ids(prompt), negative, self.grid, seed)
            for prompt, seed in zip(prompts, seeds, strict=True)
        ]
        sampled = [
            sample(self.policy, canvases[part], sampling, self.options.guidance)
            for part in slices(len(canvases), self.options.sampling_batch_size)
        ]
        return [codes.reshape(-1) for codes in chain.from_iterable(sampled)]

    def decode(self, latents: Sequence[Latent], seeds: Sequence[int]) -> list[Image]:  # noqa: ARG002
        """Decode codes as images; the decoder has no noise, so seeds change nothing.

        Raises:
            DataError: a representation does not have the shape or the range of this model's codes.
        """
        grids = self._grids(latents, [f"image {i}" for i in range(len(latents))])
        self.placement.need("policy", "vision")
        return [self.vision.decode(codes) for codes in grids]

    def token_log_likelihood(self, prompts: Sequence[str], latents: Sequence[Latent]) -> torch.Tensor:
        """Return log pi of each code, (batch, tokens), float32, unguided (docs/spec/base-models.md 3.7).

        While gradients are asked for, judge and vision tokenizer wait in main memory.

        Raises:
            DataError: a prompt is too long, or a representation is not one of this model's.
        """
        grids = self._grids(latents, [f"prompt {prompt!r}" for prompt in prompts])
        self.placement.need("policy", training=torch.is_grad_enabled())
        values = self.policy.code_log_probabilities([self.prompt_ids(p) for p in prompts], grids)
        return torch.stack(values)

    def _grids(self, latents: Sequence[Latent], names: Sequence[str]) -> list[grammar.Codes]:
        """Return the representations as (rows, columns), checked; `names` are for the error."""
        rows, columns = self.grid
        remedy = f" ({rows}x{columns}): model.ratio and model.image_area must be those of the sampling"
        checked_codes("emu3", latents, names, rows * columns, self.vision.codes, remedy)
        return [latent.astype(np.int32).reshape(rows, columns) for latent in latents]

    # -- answering -----------------------------------------------------------------------------------

    def chat(self, requests: Sequence[ChatRequest]) -> list[str]:
        """Answer each request with text, by the judge."""
        with self._answering():
            return self.judge.chat(requests, self.options.chat_batch_size)

    def yes_no(
        self, images: Sequence[Image], questions: Sequence[Sequence[str]]
    ) -> list[npt.NDArray[np.float64]]:
        """Read p(yes) and p(no) at the judge's first answer token; each image is read once."""
        with self._answering("vision"):
            return [
                self.judge.answers(self.vision.encode(image), asked) if asked else np.zeros((0, 2))
                for image, asked in zip(images, questions, strict=True)
            ]

    @contextmanager
    def _answering(self, *parts: str) -> Iterator[None]:
        """Move the judge to its device; a policy that is being trained returns to its own afterwards."""
        self.placement.need(self._reader, *parts)
        try:
            yield
        finally:
            if any(weight.requires_grad for weight in self.backbone.parameters()):
                self.placement.need("policy")


def _on_device(
    policy: Emu3LM, judge: Emu3Judge, vision: Emu3ImageTokenizer, options: Emu3Options
) -> Placement:
    """Place the parts that share the policy's devices, the policy first; a judge elsewhere stays there."""
    devices = check_devices("emu3", options.device)
    placement = Placement(options.offload)
    placement.add("policy", Spread(policy.backbone, policy.transformer, devices), device=devices[0])
    placement.add("vision", vision, device=devices[0])
    if judge.model is not policy:
        judge_devices = check_devices("emu3", options.judge_device or options.device)
        spread = Spread(judge.model.backbone, judge.model.transformer, judge_devices)
        if set(judge_devices) & set(devices):
            placement.add("judge", spread, device=judge_devices[0])
        else:
            spread.to(judge_devices[0])
    placement.need("policy")
    return placement
