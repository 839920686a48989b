"""`tiny-discrete` as a base model: strings and pictures in, strings, tokens, pictures and answers out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load_file

from silmm.errors import DataError
from silmm.interfaces import BaseModel, ChatRequest, Drawing, Image, Latent
from silmm_plugins.tiny_discrete.image_tokenizer import ImageTokenizer
from silmm_plugins.tiny_discrete.language_model import LanguageModel
from silmm_plugins.tiny_discrete.register import WEIGHTS
from silmm_plugins.tiny_discrete.sampling import draw_codes, write_words
from silmm_plugins.tiny_discrete.vocabulary import Vocabulary

LONGEST_ANSWER = 40
_DRAW_BATCH, _LOOK_BATCH, _TALK_BATCH = 256, 128, 256


class TinyDiscrete(BaseModel):
    """An image-token LMM at toy size: 32x32 pictures as 64 codes, a few dozen words, one transformer."""

    def __init__(self, language_model: LanguageModel, tokenizer: ImageTokenizer) -> None:
        """Wrap the two networks, in eval mode."""
        self.kind = "discrete"
        self.capabilities = frozenset({"chat", "yes_no", "log_likelihood", "nucleus"})
        self.lora_targets = (
            r"model\.layers\.\d+\.(self_attn\.[qkvo]_proj|mlp\.(gate|up|down)_proj)"
        )
        self.language_model = language_model.eval().requires_grad_(False)
        self.tokenizer = tokenizer.eval().requires_grad_(False)
        self.backbone = language_model.backbone
        self.vocabulary = language_model.vocabulary

    @classmethod
    def load(cls, folder: Path = WEIGHTS, device: str = "cpu") -> TinyDiscrete:
        """Load the weights that `training/tiny_discrete` exports.

        Raises:
            DataError: a file is missing, unreadable or does not fit.
        """
        try:
            config = json.loads((folder / "config.json").read_text())
            vocabulary = Vocabulary(config["words"])
            language_model = LanguageModel(vocabulary, **config["language_model"])
            tokenizer = ImageTokenizer(**config["image_tokenizer"])
            weights = load_file(folder / "language_model.safetensors")
            missing, unexpected = language_model.load_state_dict(
                {k: v.float() for k, v in weights.items()}, strict=False
            )
            if set(missing) - {"backbone.lm_head.weight"} or unexpected:  # the head is tied
                raise ValueError(f"missing {missing}, unexpected {unexpected}")
            language_model.backbone.tie_weights()
            tokenizer.load_state_dict(load_file(folder / "image_tokenizer.safetensors"))
        except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
            raise DataError(
                f"tiny-discrete: cannot load the weights in {folder}: {error}; reinstall silmm, or "
                "train them again with `python -m training.tiny_discrete`"
            ) from error
        return cls(language_model.to(device), tokenizer.to(device))

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.language_model.places.device

    # -- text ----------------------------------------------------------------------------------------

    def chat(self, requests: Sequence[ChatRequest]) -> list[str]:
        """Answer by the task's own control token; instructions and examples are not needed.

        A request with words that the model does not know gets an empty answer.
        """
        words = self.vocabulary
        known = [i for i, r in enumerate(requests) if words.knows(r.input)]
        replies = [""] * len(requests)
        for first in range(0, len(known), _TALK_BATCH):
            rows = known[first : first + _TALK_BATCH]
            asked = [requests[i] for i in rows]
            answers = write_words(
                self.language_model,
                [[words.bos, words.task(r.task), *words.encode(r.input)] for r in asked],
                [r.seed for r in asked],
                [r.temperature for r in asked],
                min(LONGEST_ANSWER, max(r.max_words for r in asked)),
            )
            for i, answer in zip(rows, answers, strict=True):
                replies[i] = words.decode(answer[: requests[i].max_words])
        return replies

    # -- drawing -------------------------------------------------------------------------------------

    def prompt_ids(self, prompt: str) -> list[int]:
        """Return the ids that stand before a drawing."""
        return [self.vocabulary.bos, self.vocabulary.draw, *self.vocabulary.encode(prompt)]

    def represent(
        self, prompts: Sequence[str], seeds: Sequence[int], drawing: Drawing
    ) -> list[Latent]:
        """Draw image codes, int32 (64,), one candidate for each prompt and seed."""
        rows: list[Latent] = []
        for first in range(0, len(prompts), _DRAW_BATCH):
            part = slice(first, first + _DRAW_BATCH)
            ids = [self.prompt_ids(p) for p in prompts[part]]
            codes = draw_codes(self.language_model, ids, seeds[part], drawing)
            rows += list(codes.cpu().numpy().astype(np.int32))
        return rows

    @torch.inference_mode()
    def decode(self, latents: Sequence[Latent], seeds: Sequence[int]) -> list[Image]:  # noqa: ARG002
        """Turn codes into pictures (32, 32, 3); the decoder has no noise, so seeds change nothing."""
        codes = torch.from_numpy(np.stack(latents).astype(np.int64)).to(self.device)
        images = (self.tokenizer.decode(codes) * 255).round().to(torch.uint8)
        return list(images.movedim(1, -1).cpu().numpy())

    def log_likelihood(self, prompts: Sequence[str], latents: Sequence[Latent]) -> torch.Tensor:
        """Return log pi(z | x), shape (batch,); the softmax is over the image codes alone."""
        codes = torch.from_numpy(np.stack(latents).astype(np.int64)).to(self.device)
        return self.language_model.log_likelihood([self.prompt_ids(p) for p in prompts], codes)

    # -- understanding -------------------------------------------------------------------------------

    @torch.inference_mode()
    def yes_no(
        self, images: Sequence[Image], questions: Sequence[Sequence[str]]
    ) -> list[npt.NDArray[np.float64]]:
        """Read p(yes) and p(no) at the first answer position; each picture is encoded once.

        Raises:
            ValueError: a question holds a word that the model does not know.
        """
        results: list[npt.NDArray[np.float64]] = []
        for first in range(0, len(images), _LOOK_BATCH):
            part = slice(first, first + _LOOK_BATCH)
            results += self._answers(images[part], questions[part])
        return results

    def _answers(
        self, images: Sequence[Image], questions: Sequence[Sequence[str]]
    ) -> list[npt.NDArray[np.float64]]:
        counts = [len(q) for q in questions]
        words = self.vocabulary
        ids = [[words.ask, *words.encode(text)] for group in questions for text in group]
        if not ids:
            return [np.zeros((0, 2)) for _ in images]
        pixels = torch.from_numpy(np.stack(images)).to(self.device).movedim(-1, 1).float() / 255
        cache, _ = self.language_model.picture_prefix(self.tokenizer.encode(pixels))
        owner = torch.arange(len(images), device=self.device).repeat_interleave(
            torch.tensor(counts, device=self.device)
        )
        out, last = self.language_model.question_outputs(cache, owner, ids)
        states = out.last_hidden_state[torch.arange(len(ids), device=self.device), last]
        p = self.language_model.answer_logits(states).double().softmax(-1)
        answers = p[:, [words.yes, words.no]].cpu().numpy()
        return np.split(answers, np.cumsum(counts)[:-1])
