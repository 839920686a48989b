"""`tiny-discrete` as a base model: strings and pictures in, strings, tokens, pictures and answers out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from silmm.errors import DataError, UsageError
from silmm.interfaces import BaseModel, ChatRequest, Drawing, Image, Latent
from silmm_plugins.tiny_discrete.image_tokenizer import PATCH, ImageTokenizer
from silmm_plugins.tiny_discrete.language_model import SPLIT, LanguageModel
from silmm_plugins.tiny_discrete.register import WEIGHTS
from silmm_plugins.tiny_discrete.sampling import draw_codes, write_words
from silmm_plugins.tiny_discrete.vocabulary import Vocabulary

LONGEST_ANSWER = 40
TAUGHT = ("list", "write", "decompose", "question")
"""The chat tasks that it was trained on."""
_DRAW_BATCH, _LOOK_BATCH, _TALK_BATCH = 256, 128, 256


class TinyDiscrete(BaseModel):
    """An image-token LMM at toy size: 32x32 pictures as 64 codes, a few dozen words, one transformer."""

    def __init__(self, language_model: LanguageModel, tokenizer: ImageTokenizer) -> None:
        """Wrap the two networks, in eval mode."""
        self.kind = "discrete"
        self.capabilities = frozenset({"chat", "yes_no", "log_likelihood", "nucleus"})
        # The lower half reads pictures: over iterations, adapters there cost answers and the gain itself.
        layers = language_model.backbone.config.num_hidden_layers
        upper = "|".join(str(layer) for layer in range(layers // 2, layers))
        self.lora_targets = (
            rf"model\.layers\.({upper})\.(self_attn\.[qkvo]_proj|mlp\.(gate|up|down)_proj)"
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
            UsageError: torch cannot use the device.
        """
        _check_device(device)
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
        except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
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

        An empty answer is given to a task that it was not taught (rephrase, explain), and to words
        that it does not know or that are too many.
        """
        words = self.vocabulary
        known = [i for i, r in enumerate(requests) if r.task in TAUGHT and self.reads(r.input)]
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

    def reads(self, prompt: str) -> bool:
        """Say whether every word is known and there is room for all of them."""
        return self.vocabulary.knows(prompt) and len(self._ids(prompt)) <= SPLIT

    def prompt_ids(self, prompt: str) -> list[int]:
        """Return the ids that stand before a drawing.

        Raises:
            DataError: a word is not known, or there are too many of them.
        """
        ids = self._ids(prompt)
        if len(ids) > SPLIT:
            raise DataError(
                f"the prompt {prompt!r} has {len(ids) - 2} words and signs; tiny-discrete reads at most "
                f"{SPLIT - 2}. Make it shorter or leave it out."
            )
        return ids

    def _ids(self, prompt: str) -> list[int]:
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
        """Turn codes into pictures (32, 32, 3); the decoder has no noise, so seeds change nothing.

        Raises:
            DataError: a representation does not have the shape or the range of this model's codes.
        """
        codes = self._codes(latents, [f"picture {i}" for i in range(len(latents))])
        images = (self.tokenizer.decode(codes) * 255).round().to(torch.uint8)
        return list(images.movedim(1, -1).cpu().numpy())

    def log_likelihood(self, prompts: Sequence[str], latents: Sequence[Latent]) -> torch.Tensor:
        """Return log pi(z | x), shape (batch,); the softmax is over the image codes alone.

        Raises:
            DataError: the model cannot read a prompt, or a representation is not one of its own.
        """
        codes = self._codes(latents, [f"prompt {p!r}" for p in prompts])
        return self.language_model.log_likelihood([self.prompt_ids(p) for p in prompts], codes)

    def _codes(self, latents: Sequence[Latent], names: Sequence[str]) -> torch.Tensor:
        """Return the representations as int64 (batch, image_length), checked; `names` are for the error."""
        length, codes = self.language_model.image_length, self.language_model.codes
        for latent, name in zip(latents, names, strict=True):
            if latent.shape != (length,):
                raise DataError(
                    f"the image tokens of {name} have the shape {latent.shape}; tiny-discrete takes "
                    f"{length} of them, as it draws them itself"
                )
            tokens = latent.astype(np.int64)
            wrong = tokens[(tokens < 0) | (tokens >= codes)]
            if len(wrong):
                raise DataError(
                    f"{wrong[0]} is among the image tokens of {name}; those of tiny-discrete are 0 to "
                    f"{codes - 1}"
                )
        return torch.from_numpy(np.stack(latents).astype(np.int64)).to(self.device)

    # -- understanding -------------------------------------------------------------------------------

    @torch.inference_mode()
    def yes_no(
        self, images: Sequence[Image], questions: Sequence[Sequence[str]]
    ) -> list[npt.NDArray[np.float64]]:
        """Read p(yes) and p(no) at the first answer position; each picture is encoded once.

        Raises:
            DataError: a question holds a word that the model does not know, or a picture has
                another size than its own.
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
        side = round(self.language_model.image_length**0.5) * PATCH
        odd = {image.shape for image in images} - {(side, side, 3)}
        if odd:
            raise DataError(
                f"tiny-discrete looks at pictures of the shape {(side, side, 3)}, not {min(odd)}; scale "
                "them first"
            )
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


def _check_device(device: str) -> None:
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # unknown name; torch built without CUDA, no driver
        reason = str(error).splitlines()[0]
        raise UsageError(
            f"tiny-discrete cannot use the device {device!r}: {reason}. Give another one with "
            "--set model.device=cpu; `silmm doctor` lists what is there."
        ) from error
