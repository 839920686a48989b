"""`dreamllm` as a base model: strings and images in, strings, features, images and answers out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from silmm.checkpoint.devices import dtype_of
from silmm.checkpoint.folders import checkpoint_folder
from silmm.contracts.models import BaseModel, ChatRequest, Image, Latent, SamplingParams
from silmm.errors import DataError
from silmm_plugins.models._shared.generation import reply
from silmm_plugins.models._shared.placement import Placement
from silmm_plugins.models._shared.representations import checked_features, features_by_prompt
from silmm_plugins.models._shared.sequences import slices
from silmm_plugins.models._shared.spreading import check_devices
from silmm_plugins.models._shared.vqa import ImagePrefix
from silmm_plugins.models.dreamllm import checkpoint, companions, prompts
from silmm_plugins.models.dreamllm.decoder import DreamDecoder
from silmm_plugins.models.dreamllm.image_encoder import DreamImageEncoder
from silmm_plugins.models.dreamllm.language_model import DreamLM
from silmm_plugins.models.dreamllm.options import CAPABILITIES, DreamLlmOptions
from silmm_plugins.models.dreamllm.tokenizer import DreamTokenizer


class DreamLlm(BaseModel):
    """Vicuna with dream queries, whose hidden states H (64, 4096) condition Stable Diffusion 2.1."""

    def __init__(
        self,
        tokenizer: DreamTokenizer,
        language_model: DreamLM,
        vision: DreamImageEncoder,
        decoder: DreamDecoder,
        options: DreamLlmOptions,
    ) -> None:
        """Wrap the parts, which are frozen and in eval mode."""
        self.kind = "continuous"
        self.capabilities = frozenset(CAPABILITIES)
        self.lora_targets = r"model\.layers\.\d+\.(self_attn\.[qkvo]_proj|mlp\.(gate|up|down)_proj)"
        self.backbone = language_model.backbone
        self.tokenizer, self.language_model = tokenizer, language_model
        self.vision, self.decoder = vision, decoder
        self.placement = Placement(options.offload)
        self.placement.add("vision", vision, device=language_model.device)
        self.placement.add("decoder", decoder, device=language_model.device)
        self._options = options
        self._sources: Mapping[str, str] = {}

    @classmethod
    def load(cls, options: DreamLlmOptions) -> DreamLlm:
        """Load a checkpoint folder as the original code writes it.

        Raises:
            UsageError: no path, a device that torch cannot use, or sentencepiece is missing.
            DataError: a file is missing, damaged, or of another model; the message says which.
        """
        devices = check_devices("dreamllm", options.device)
        folder = checkpoint_folder(
            options.path, checkpoint.FILES, owner="dreamllm", expected="the folder of the checkpoint",
            revision=options.revision,
        )  # fmt: skip
        config = checkpoint.read_config(folder)
        stored = config.get("torch_dtype") or config.get("dtype")
        dtype = dtype_of(options.dtype, stored, folder / "config.json")
        tokenizer = DreamTokenizer(folder, config)
        found = companions.find(folder, config, options.companions)
        language_model = DreamLM.load(folder, config, devices, dtype)
        rows = len(language_model.backbone.get_input_embeddings().weight)  # type: ignore[operator]
        if tokenizer.size > rows:
            raise DataError(
                f"{folder}: the tokenizer has {tokenizer.size} tokens, but the language model embeds {rows}; "
                "tokenizer.model, config.json and the weights are of different checkpoints"
            )
        vision = DreamImageEncoder.load(folder, config, found.clip, dtype)
        decoder = DreamDecoder.load(folder, found, dtype)
        model = cls(tokenizer, language_model, vision, decoder, options)
        model._sources = {"checkpoint": str(folder), **found.sources}
        return model

    def probe(self) -> dict[str, Any]:
        """Return what the checkpoint says, JSON-able, for `silmm probe` and for bug reports."""
        words, config = self.tokenizer, self.backbone.config
        return {
            "sources": dict(self._sources),
            "special tokens": dict(sorted(words.special.items())),
            "yes": {words.piece(one): one for one in words.yes},
            "no": {words.piece(one): one for one in words.no},
            "tokenizer legacy": words.legacy,
            "vocabulary": config.vocab_size,  # type: ignore[union-attr]
            "H": list(self.language_model.queries.shape),
            "tokens of a seen image": self.vision.tokens,
            "latents": list(self.decoder.latent_shape),
            "dtype": str(self.language_model.queries.dtype).removeprefix("torch."),
            "schedule": self.decoder.schedule,
            "system text": prompts.SYSTEM,
        }

    # -- text ----------------------------------------------------------------------------------------

    @torch.inference_mode()
    def chat(self, requests: Sequence[ChatRequest]) -> list[str]:
        """Answer each request; examples are earlier turns of the conversation.

        Raises:
            DataError: a request is longer than the model reads.
        """
        self.placement.need()
        return reply(
            self.language_model, requests, self._conversation, self.tokenizer.decode, owner="dreamllm",
            batch_size=self._options.chat_batch_size, stop=self.tokenizer.eos, tokens_per_word=3,
        )  # fmt: skip

    def _conversation(self, request: ChatRequest) -> list[int]:
        ids = [self.tokenizer.bos]
        texts = prompts.turns(request)
        for number, text in enumerate(texts):
            ids += self.tokenizer.encode(text, after_special=number > 0)
            ids += [self.tokenizer.eos] if number < len(texts) - 1 else []
        return ids

    def reads(self, prompt: str) -> bool:
        """Say whether there is room for the prompt and the queries."""
        return self._fits(self._prompt_ids(prompt))

    # -- understanding -------------------------------------------------------------------------------

    @torch.inference_mode()
    def yes_no(
        self, images: Sequence[Image], questions: Sequence[Sequence[str]]
    ) -> list[npt.NDArray[np.float64]]:
        """Sum the probabilities of the ways to begin with yes and with no, after `ASSISTANT:`.

        The softmax is over the whole vocabulary (docs/spec/base-models.md 1.5). An image is read once for all
        its questions.
        """
        self.placement.need("vision")
        results = [np.zeros((0, 2)) for _ in questions]
        rows = [row for row, asked in enumerate(questions) if asked]
        for part in slices(len(rows), self._options.vqa_batch_size):
            pixels = self.vision.pixels([images[row] for row in rows[part]])
            asked = [self.question_ids(questions[row]) for row in rows[part]]
            answers = self.image_prefix(pixels).answers(asked, self.tokenizer.yes, self.tokenizer.no)
            for row, answer in zip(rows[part], answers, strict=True):
                results[row] = answer
        return results

    def image_prefix(self, pixels: torch.Tensor) -> ImagePrefix:
        """Read images, (N, 3, side, side) as CLIP takes them, behind the template's beginning."""
        words, model = self.tokenizer, self.language_model
        opening = words.encode(prompts.SYSTEM + prompts.USER, after_special=False)
        before, after = [words.bos, *opening, words.special["<im_start>"]], [words.special["<im_end>"]]
        start, end = (model.embed(torch.tensor([ids])).expand(len(pixels), -1, -1) for ids in (before, after))
        return ImagePrefix(model, torch.cat([start, self.vision.vectors(pixels).to(start), end], 1))

    def question_ids(self, questions: Sequence[str]) -> list[list[int]]:
        """Return the ids of questions about one image, up to where each answer begins."""
        return [self.tokenizer.encode(prompts.question(text)) for text in questions]

    # -- sampling -------------------------------------------------------------------------------------

    def _prompt_ids(self, prompt: str) -> list[int]:
        words = self.tokenizer
        text = words.encode(self._options.prompt_prefix + prompt, after_special=False)
        return [words.bos, *text, words.special["<dream_start>"]]

    def _fits(self, ids: Sequence[int]) -> bool:
        return len(ids) + len(self.language_model.queries) < self.language_model.longest

    @torch.inference_mode()
    def represent(
        self, prompts: Sequence[str], seeds: Sequence[int], sampling: SamplingParams  # noqa: ARG002
    ) -> list[Latent]:
        """Return H(x), float32 (L, D), of each prompt; it is deterministic, so seeds change nothing."""
        return features_by_prompt(self.features, prompts, self._options.sampling_batch_size)

    def features(self, prompts: Sequence[str], query_offsets: torch.Tensor | None = None) -> torch.Tensor:
        """Return H of shape (batch, L, D), after the final norm, before the condition projector.

        While gradients are asked for, image tower and decoder wait in main memory.

        Raises:
            DataError: a prompt is longer than the model reads.
        """
        rows = [self._prompt_ids(prompt) for prompt in prompts]
        for prompt, ids in zip(prompts, rows, strict=True):
            if not self._fits(ids):
                raise DataError(
                    f"the prompt {prompt[:60]!r} has {len(ids)} tokens; dreamllm has room for "
                    f"{self.language_model.longest - len(self.language_model.queries) - 1}. Make it shorter"
                )
        self.placement.need(training=torch.is_grad_enabled())
        return self.language_model.features(rows, query_offsets)

    def mlp_blocks(self) -> Sequence[torch.nn.Module]:
        """Return the MLP block of each decoder layer, first to last."""
        base: Any = self.backbone
        return [layer.mlp for layer in base.model.layers]

    def query_embeddings(self) -> torch.Tensor:
        """Return the dream queries, (L, D)."""
        return self.language_model.queries

    @torch.inference_mode()
    def decode(self, latents: Sequence[Latent], seeds: Sequence[int]) -> list[Image]:
        """Decode each H (L, D) under the noise of its seed; real checkpoints give (512, 512, 3).

        Guidance leads away from H of the negative prompt under the backbone as it stands, as the original
        pipeline does.

        Raises:
            DataError: a representation has another shape than this model's H, or is not finite.
        """
        shape = tuple(self.language_model.queries.shape)
        features = [checked_features("dreamllm", latent, shape) for latent in latents]
        if not features:
            return []
        self.placement.need("decoder")
        unconditional = self._unconditional()
        images: list[Image] = []
        for part in slices(len(features), self._options.decode_batch_size):
            decoded = self.decoder.decode(
                torch.from_numpy(np.stack(features[part])),
                unconditional,
                seeds[part],
                steps=self._options.steps,
                guidance=self._options.guidance,
            )
            images += list((decoded * 255).round().to(torch.uint8).movedim(1, -1).numpy())
        return images

    def _unconditional(self) -> torch.Tensor:
        words = self.tokenizer
        text = words.encode(self._options.negative_prompt, after_special=False)
        return self.language_model.features([[words.bos, *text, words.special["<dream_start>"]]])
