"""`vlm-diffusion` as a base model: strings and images in, strings, features, images and answers out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from silmm.checkpoint.devices import dtype_of
from silmm.contracts.models import BaseModel, ChatRequest, Image, Latent, SamplingParams
from silmm.errors import DataError, UsageError
from silmm_plugins.models._shared.generation import reply
from silmm_plugins.models._shared.placement import Placement
from silmm_plugins.models._shared.representations import checked_features, features_by_prompt
from silmm_plugins.models._shared.spreading import Spread, check_devices
from silmm_plugins.models._shared.vqa import ImagePrefix
from silmm_plugins.models.vlm_diffusion import checkpoint
from silmm_plugins.models.vlm_diffusion.language_model import QwenLM
from silmm_plugins.models.vlm_diffusion.options import CAPABILITIES, VlmDiffusionOptions
from silmm_plugins.models.vlm_diffusion.prompts import QwenPrompts

try:
    from transformers import Qwen2VLImageProcessorPil as _Processor
except ImportError:  # before transformers 5 the name without a suffix is the one that works with PIL
    from transformers import Qwen2VLImageProcessor as _Processor


class VlmDiffusion(BaseModel):
    """Qwen2.5-VL and the diffusion transformer that its hidden states condition.

    H is what the pipeline calls prompt embeddings: the last hidden states behind the template's fixed start
    (docs/spec/base-models.md 5.2). Prompts have different numbers of them; so that H has one shape, zeros stand in
    front, and they are taken away before decoding.
    """

    def __init__(self, backbone: torch.nn.Module, decoder: Any, options: VlmDiffusionOptions) -> None:
        """Wrap the two halves and put them on their devices; the backbone is the whole vision-language model.

        Raises:
            UsageError: torch cannot use a device.
        """
        self.kind = "continuous"
        self.capabilities = frozenset(CAPABILITIES)
        self.lora_targets = (
            r"model\.language_model\.layers\.\d+\.(self_attn\.[qkvo]_proj|mlp\.(gate|up|down)_proj)"
        )
        self.backbone = backbone
        self.language_model = QwenLM(backbone)
        self.decoder = decoder
        self.words = QwenPrompts(
            decoder.tokenizer, decoder.prompt_template_encode, decoder.prompt_template_encode_start_idx
        )
        self._options = options
        inside: Any = backbone.model
        devices = check_devices("vlm-diffusion", options.device)
        Spread(backbone, inside.language_model, devices).to(devices[0])
        self.placement = Placement(options.offload)
        self.placement.add("vision", inside.visual, device=devices[0], present=True)
        self.placement.add("decoder", decoder.transformer, decoder.vae, device=devices[0])
        config: Any = backbone.config
        self._width = int(config.get_text_config().hidden_size)
        vision = config.vision_config
        self._merge = int(vision.spatial_merge_size)
        self._processor = _Processor(
            patch_size=vision.patch_size, temporal_patch_size=vision.temporal_patch_size,
            merge_size=self._merge, size={"shortest_edge": 56 * 56, "longest_edge": options.vqa_max_pixels},
        )  # fmt: skip

    @classmethod
    def load(cls, options: VlmDiffusionOptions) -> VlmDiffusion:
        """Load a pipeline's folder.

        Raises:
            UsageError: no path, or a device that torch cannot use.
            DataError: a file is missing, damaged, or of another model; the message says which.
        """
        check_devices("vlm-diffusion", options.device)
        folder = checkpoint.locate(options.path, options.revision)
        dtype = dtype_of(options.dtype, *checkpoint.stored_dtype(folder))
        model = cls(checkpoint.load_vlm(folder, dtype), checkpoint.load_decoder(folder, dtype), options)
        model._check_side()
        return model

    def _check_side(self) -> None:
        multiple = 2 * self.decoder.vae_scale_factor
        if self._options.side % multiple:
            raise UsageError(
                f"model.side={self._options.side} is not a multiple of {multiple}, the patch of the pipeline"
            )

    @property
    def shape(self) -> tuple[int, int]:
        """The shape of H, (tokens, D)."""
        return (self._options.tokens, self._width)

    def probe(self) -> dict[str, Any]:
        """Return what the checkpoint says, JSON-able, for `silmm probe` and for bug reports."""
        return {
            "yes": {self.words.decode([token]): token for token in self.words.yes},
            "no": {self.words.decode([token]): token for token in self.words.no},
            "sampling template": self.decoder.prompt_template_encode,
            "question template": self.words.before_question_text("IMAGE") + self.words.question_text("QUESTION"),
            "end of a turn": self.words.end,
            "template tokens left out": self.words.start,
            "H": list(self.shape),
            "dtype": str(next(self.backbone.parameters()).dtype).removeprefix("torch."),
            "scheduler": type(self.decoder.scheduler).__name__,
        }

    # -- text ----------------------------------------------------------------------------------------

    @torch.inference_mode()
    def chat(self, requests: Sequence[ChatRequest]) -> list[str]:
        """Answer each request; examples are earlier turns of the conversation."""
        self.placement.need()
        return reply(
            self.language_model, requests, self.words.conversation, self.words.decode, owner="vlm-diffusion",
            batch_size=self._options.chat_batch_size, stop=self.words.end, tokens_per_word=3,
        )  # fmt: skip

    def reads(self, prompt: str) -> bool:
        """Say whether the prompt fits into the positions of H."""
        return self._length(self.words.prompt(prompt)) <= self._options.tokens

    def _length(self, ids: Sequence[int]) -> int:
        return len(ids) - self.words.start

    # -- understanding -------------------------------------------------------------------------------

    @torch.inference_mode()
    def yes_no(
        self, images: Sequence[Image], questions: Sequence[Sequence[str]]
    ) -> list[npt.NDArray[np.float64]]:
        """Sum the probabilities of the ways to begin with yes and with no, over the whole vocabulary.

        An image is read once for all its questions.
        """
        self.placement.need("vision")
        results = [np.zeros((0, 2)) for _ in questions]
        for row, (image, texts) in enumerate(zip(images, questions, strict=True)):
            if texts:
                asked = [self.words.question(text) for text in texts]
                (results[row],) = self.image_prefix(image).answers([asked], self.words.yes, self.words.no)
        return results

    def image_prefix(self, image: Image) -> ImagePrefix:
        """Read an image behind the template's beginning; its keys and values serve all questions.

        Raises:
            DataError: Qwen's preprocessing refuses the image: it is 200 times as long as wide, or more.
        """
        try:
            inputs = self._processor(image, input_data_format="channels_last", return_tensors="pt")
        except ValueError as error:
            height, width = image.shape[:2]
            raise DataError(
                f"vlm-diffusion cannot read an image of {width}x{height} pixels ({error}); cut it or pad it"
            ) from error
        grid = inputs.image_grid_thw
        before = self.words.before_question(int(grid.prod()) // self._merge**2)
        return self.language_model.image_prefix(before, self.words.image, inputs.pixel_values, grid)

    # -- sampling -------------------------------------------------------------------------------------

    @torch.inference_mode()
    def represent(
        self, prompts: Sequence[str], seeds: Sequence[int], sampling: SamplingParams  # noqa: ARG002
    ) -> list[Latent]:
        """Return H(x), float32 (tokens, D), of each prompt; it has no chance in it."""
        return features_by_prompt(self.features, prompts, self._options.sampling_batch_size)

    def features(self, prompts: Sequence[str], query_offsets: torch.Tensor | None = None) -> torch.Tensor:
        """Return H of shape (batch, tokens, D), zeros in front of a short prompt's.

        While gradients are asked for, image tower and decoder wait in main memory.

        Raises:
            DataError: a prompt has too many tokens, or there are offsets: the model has no queries.
        """
        if query_offsets is not None:
            raise DataError("vlm-diffusion has no query embeddings to add offsets to; take --sampler dropdiv")
        self.placement.need(training=torch.is_grad_enabled())
        return self._features(prompts)

    def _features(self, prompts: Sequence[str]) -> torch.Tensor:
        rows = [self.words.prompt(prompt) for prompt in prompts]
        for prompt, ids in zip(prompts, rows, strict=True):
            if self._length(ids) > self._options.tokens:
                raise DataError(
                    f"the prompt {prompt[:60]!r} takes {self._length(ids)} positions, H has "
                    f"{self._options.tokens}; make it shorter or raise model.tokens"
                )
        return self.language_model.states(rows, self.words.start, self._options.tokens)

    def mlp_blocks(self) -> Sequence[torch.nn.Module]:
        """Return the MLP block of each decoder layer of the text half, first to last."""
        base: Any = self.backbone
        return [layer.mlp for layer in base.model.language_model.layers]

    @torch.inference_mode()
    def decode(self, latents: Sequence[Latent], seeds: Sequence[int]) -> list[Image]:
        """Decode each H (tokens, D) under the noise of its seed, one image at a time.

        Guidance leads away from H of the negative prompt under the backbone as it stands.

        Raises:
            DataError: a representation has another shape than this model's H, is not finite, or is empty.
        """
        features = [self._checked(latent) for latent in latents]
        if not features:
            return []
        self.placement.need("decoder")
        without = self._inputs("negative_", self._features([self._options.negative_prompt])[0])
        return [
            self._decoded(self._inputs("", torch.from_numpy(h)) | without, seed)
            for h, seed in zip(features, seeds, strict=True)
        ]

    def _checked(self, latent: Latent) -> Latent:
        features = checked_features("vlm-diffusion", latent, self.shape)
        if not features.any():
            raise DataError(
                f"vlm-diffusion decodes finite features of the shape {self.shape} that are not all 0; give features "
                "that it sampled itself"
            )
        return features

    def _inputs(self, which: str, h: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the pipeline's arguments for H without the zeros in front."""
        transformer = self.decoder.transformer
        kept = h[int((h != 0).any(-1).float().argmax()) :][None].to(transformer.device, transformer.dtype)
        mask = torch.ones(kept.shape[:2], dtype=torch.long, device=kept.device)
        return {f"{which}prompt_embeds": kept, f"{which}prompt_embeds_mask": mask}

    def _decoded(self, conditions: dict[str, torch.Tensor], seed: int) -> Image:
        if self._options.guidance <= 1:
            conditions = {name: h for name, h in conditions.items() if not name.startswith("negative_")}
        (images,) = self.decoder(
            **conditions,
            true_cfg_scale=self._options.guidance,
            height=self._options.side,
            width=self._options.side,
            num_inference_steps=self._options.steps,
            max_sequence_length=1024,
            generator=[torch.Generator().manual_seed(seed)],
            output_type="pt",
            return_dict=False,
        )
        levels = (images[0].float() * 255).round().to(torch.uint8)
        image: Image = levels.movedim(0, -1).cpu().numpy()
        return image
