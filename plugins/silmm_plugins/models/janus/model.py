"""`janus` as a base model: strings and images in, strings, codes, images and answers out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from silmm.contracts.models import BaseModel, ChatRequest, Image, Latent, SamplingParams
from silmm.errors import DataError
from silmm_plugins.models._shared.generation import reply
from silmm_plugins.models._shared.placement import Placement
from silmm_plugins.models._shared.representations import checked_codes
from silmm_plugins.models._shared.sequences import slices
from silmm_plugins.models._shared.spreading import Spread, check_devices
from silmm_plugins.models._shared.vqa import ImagePrefix
from silmm_plugins.models.janus.checkpoint import Checkpoint, open_checkpoint
from silmm_plugins.models.janus.image_sampling import log_likelihoods, sample
from silmm_plugins.models.janus.language_model import JanusNetwork
from silmm_plugins.models.janus.options import CAPABILITIES, JanusOptions
from silmm_plugins.models.janus.probing import facts


class Janus(BaseModel):
    """Janus and Janus-Pro: 576 image codes of a vocabulary of their own, sampled by the language model.

    The backbone is the whole `JanusForConditionalGeneration`, so that an adapter that was trained here loads
    into the stock class with plain peft; LoRA goes into the language model's layers alone.
    """

    def __init__(self, checkpoint: Checkpoint, options: JanusOptions) -> None:
        """Wrap a loaded checkpoint and put it on its devices.

        Raises:
            UsageError: torch cannot use a device.
        """
        self.kind = "discrete"
        self.capabilities = frozenset(CAPABILITIES)
        self.checkpoint = checkpoint
        self.backbone = checkpoint.network
        self.lora_targets = (
            r"model\.language_model\.layers\.\d+\.(self_attn\.[qkvo]_proj|mlp\.(gate|up|down)_proj)"
        )
        self.network = JanusNetwork(checkpoint.network)
        self.prompts = checkpoint.prompts
        self.processor = checkpoint.processor
        self.options = options
        parts: Any = checkpoint.network.model
        devices = check_devices("janus", options.device)
        Spread(checkpoint.network, parts.language_model, devices).to(devices[0])
        self.placement = Placement(options.offload)
        self.placement.add("vision", parts.vision_model, parts.aligner, device=devices[0], present=True)
        self.placement.add("image tokenizer", parts.vqmodel, device=devices[0], present=True)

    @classmethod
    def load(cls, options: JanusOptions) -> Janus:
        """Load the checkpoint that the options name.

        Raises:
            UsageError: no path, or a device that torch cannot use.
            DataError: a file is missing, damaged or of another model.
        """
        check_devices("janus", options.device)
        return cls(open_checkpoint(options.path, dtype=options.dtype, revision=options.revision), options)

    def probe(self) -> dict[str, Any]:
        """Return what the checkpoint says, JSON-able, for `silmm probe` and for bug reports."""
        return facts(self.checkpoint)

    # -- text ----------------------------------------------------------------------------------------

    def chat(self, requests: Sequence[ChatRequest]) -> list[str]:
        """Answer by the model's own conversation template; each example is a turn of its own."""
        self.placement.need()
        return reply(
            self.network, requests, self.prompts.chat, self.prompts.text, owner="janus",
            batch_size=self.options.chat_batch_size, stop=self.prompts.eos,
        )  # fmt: skip

    def reads(self, prompt: str) -> bool:
        """Say whether the prompt and the codes after it fit into the language model's positions."""
        return len(self.prompts.sampling(prompt)) + self.network.image_length <= self.network.longest

    # -- sampling -------------------------------------------------------------------------------------

    def represent(self, prompts: Sequence[str], seeds: Sequence[int], sampling: SamplingParams) -> list[Latent]:
        """Sample image codes, int32 (image_length,), one candidate for each prompt and seed, with guidance."""
        self.placement.need()
        rows: list[Latent] = []
        for part in slices(len(prompts), self.options.sampling_batch_size):
            codes = sample(self.network, self.prompts, prompts[part], seeds[part], sampling, self.options.guidance)
            rows += list(codes.cpu().numpy().astype(np.int32))
        return rows

    @torch.inference_mode()
    def decode(self, latents: Sequence[Latent], seeds: Sequence[int]) -> list[Image]:  # noqa: ARG002
        """Decode codes as images (side, side, 3); the decoder has no noise, so seeds change nothing.

        Raises:
            DataError: a representation has not the shape or the range of this model's codes.
        """
        self.placement.need("image tokenizer")
        images: list[Image] = []
        for part in slices(len(latents), self.options.decode_batch_size):
            names = [f"image {i}" for i in range(len(latents))[part]]
            pixels = self.network.decode(self._codes(latents[part], names))
            levels = ((pixels + 1) / 2 * 255).clamp(0, 255).to(torch.uint8)  # truncated, as in the original
            images += list(levels.movedim(1, -1).cpu().numpy())
        return images

    def token_log_likelihood(self, prompts: Sequence[str], latents: Sequence[Latent]) -> torch.Tensor:
        """Return log pi of each code, (batch, tokens), float32: the softmax over the image codes, no guidance.

        While gradients are asked for, vision tower and image tokenizer wait in main memory.

        Raises:
            DataError: the codes are not those of this model.
        """
        codes = self._codes(latents, [f"prompt {prompt!r}" for prompt in prompts])
        self.placement.need(training=torch.is_grad_enabled())
        return log_likelihoods(self.network, self.prompts, prompts, codes)

    def _codes(self, latents: Sequence[Latent], names: Sequence[str]) -> torch.Tensor:
        network = self.network
        return checked_codes("this janus", latents, names, network.image_length, network.codes).to(network.device)

    # -- understanding -------------------------------------------------------------------------------

    @torch.inference_mode()
    def yes_no(
        self, images: Sequence[Image], questions: Sequence[Sequence[str]]
    ) -> list[npt.NDArray[np.float64]]:
        """Read p(yes) and p(no) at the first answer position; each image is encoded once.

        Images of any size are scaled and padded as in the release.

        Raises:
            DataError: an image is not uint8 RGB.
        """
        for number, image in enumerate(images):
            if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
                raise DataError(
                    f"image {number} is {image.dtype} of the shape {image.shape}; janus reads uint8 RGB "
                    "images (height, width, 3)"
                )
        self.placement.need("vision")
        results: list[npt.NDArray[np.float64]] = []
        for part in slices(len(images), self.options.vqa_batch_size):
            asked = [[self.prompts.question(text) for text in group] for group in questions[part]]
            prefix = self.image_prefix(self.processor.pixels(images[part]))
            results += prefix.answers(asked, self.prompts.yes, self.prompts.no)
        return results

    def image_prefix(self, pixels: torch.Tensor) -> ImagePrefix:
        """Read images, (N, 3, side, side) as the vision tower takes them, behind the template's beginning."""
        start = self.network.embed(torch.tensor([self.prompts.before_image()], device=self.network.device))
        images = self.network.encode_images(pixels)
        return ImagePrefix(self.network, torch.cat([start.expand(len(images), -1, -1), images], 1))
