"""The judge: yes/no questions about an image that is read once, and chat in text."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from silmm.contracts.models import SamplingParams
from silmm.errors import DataError
from silmm_plugins.models._shared.token_sampling import pick, streams
from silmm_plugins.models.emu3 import grammar
from silmm_plugins.models.emu3.language_model import Decoding, LanguageModel, runs

if TYPE_CHECKING:
    from torch import Tensor

    from silmm.contracts.models import ChatRequest
    from silmm_plugins.models.emu3.grammar import Codes
    from silmm_plugins.models.emu3.tokens import TextTokenizer

BEFORE = "You are a helpful assistant. USER: "
AFTER = ". ASSISTANT:"
"""The original template closes every turn with a full stop, after a question mark too (3.4)."""
YES = ("yes", " yes", "Yes", " Yes")
NO = ("no", " no", "No", " No")


class Judge:
    """A language model that reads codes and answers."""

    def __init__(self, model: LanguageModel, tokenizer: TextTokenizer, vqa_batch_size: int) -> None:
        """Wrap Emu3-Chat, or the policy itself.

        Raises:
            DataError: the vocabulary has no single token for "yes" or for "no".
        """
        self.model = model
        self.tokenizer = tokenizer
        self.vqa_batch_size = vqa_batch_size
        self.yes, self.no = tokenizer.single(YES), tokenizer.single(NO)
        if not (self.yes and self.no):
            raise DataError("the judge's tokenizer has no single token for yes or for no; is it Emu3's?")

    # -- images ------------------------------------------------------------------------------------

    def image_ids(self, codes: Codes) -> list[int]:
        """Return the ids up to the end of the image, which all of its questions share."""
        tokens = self.tokenizer.tokens
        opening = grammar.opening(self.tokenizer, *codes.shape)
        rows = grammar.body(tokens, codes)
        return [tokens.bos, *self.tokenizer.encode(BEFORE), *opening, *rows, *grammar.closing(tokens)]

    def question_ids(self, question: str) -> list[int]:
        """Return the ids from the question to where the answer begins."""
        return self.tokenizer.encode(question + AFTER)

    def answers(self, codes: Codes, questions: Sequence[str]) -> npt.NDArray[np.float64]:
        """Return p(yes), p(no) of each question about an image, (n, 2).

        The probability of an answer is the sum over its spellings, under the whole vocabulary.
        """
        found = [np.zeros((0, 2))]
        for logits in self.first_logits(codes, questions):
            p = logits.double().softmax(-1)
            both = torch.stack([p[:, self.yes].sum(-1), p[:, self.no].sum(-1)], -1)
            found.append(both.cpu().numpy())
        return np.concatenate(found)

    @torch.inference_mode()
    def first_logits(self, codes: Codes, questions: Sequence[str]) -> Iterator[Tensor]:
        """Yield logits (some, vocabulary) of the first answer token, for all questions in order.

        The image goes through the model once; its keys and values serve every question.
        """
        if not questions:
            return
        prefix = self.model.padded([self.image_ids(codes)])
        cache = self.model.text(input_ids=prefix, use_cache=True).past_key_values
        ids = [self.question_ids(question) for question in questions]
        for part in runs(len(ids), self.vqa_batch_size):
            yield self._follow(cache, ids[part])

    def _follow(self, cache: Any, ids: Sequence[Sequence[int]]) -> Tensor:
        """Run questions after an image's cache, which is left as it is; padded on the right."""
        from transformers import DynamicCache

        text = self.model.text
        own = DynamicCache(config=text.config)
        for index, layer in enumerate(cache.layers):
            spread = (len(ids), *layer.keys.shape[1:])
            own.update(layer.keys.expand(spread), layer.values.expand(spread), index)
        out = text(input_ids=self.model.padded(ids), past_key_values=own, use_cache=True)
        last = torch.tensor([len(one) - 1 for one in ids], device=self.model.device)
        return self.model.logits(out.last_hidden_state[torch.arange(len(ids), device=last.device), last])

    # -- text ----------------------------------------------------------------------------------------

    @torch.inference_mode()
    def chat(self, requests: Sequence[ChatRequest]) -> list[str]:
        """Answer with text, each request from its own seed; image and control tokens cannot come."""
        answers: list[str] = []
        for part in runs(len(requests), self.vqa_batch_size):
            answers += self._chat(requests[part])
        return answers

    def chat_ids(self, request: ChatRequest) -> list[int]:
        """Return the ids of a request: instruction, examples and input as one turn."""
        parts = [request.instruction] if request.instruction else []
        parts += [f"Input: {given}\nOutput: {answer}" for given, answer in request.examples]
        parts.append(f"Input: {request.input}\nOutput" if request.examples else request.input)
        turn = BEFORE + "\n".join(parts) + AFTER
        return [self.tokenizer.tokens.bos, *self.tokenizer.encode(turn)]

    def _chat(self, requests: Sequence[ChatRequest]) -> list[str]:
        tokens = self.tokenizer.tokens
        prefixes = [self.chat_ids(request) for request in requests]
        rooms = [self.model.positions - len(prefix) for prefix in prefixes]
        if min(rooms) < 1:
            raise DataError(
                f"a chat request has {max(map(len, prefixes))} tokens; the judge reads {self.model.positions}"
            )
        # A word of plain English is seldom more than two pieces.
        limits = [min(room, 2 * one.max_words) for room, one in zip(rooms, requests, strict=True)]
        steps = max(limits)
        uniform = streams([request.seed for request in requests], steps).to(self.model.device)
        decoding = Decoding(self.model, prefixes, steps)
        written: list[list[int]] = [[] for _ in requests]
        going = set(range(len(requests)))
        for step in range(steps):
            chosen = self._pick(decoding.states, uniform[:, step], [one.temperature for one in requests])
            for row in sorted(going):
                if chosen[row] != tokens.eos:
                    written[row].append(chosen[row])
                if chosen[row] == tokens.eos or len(written[row]) == limits[row]:
                    going.discard(row)
            if not going:
                break
            decoding.step(torch.tensor(chosen, device=self.model.device))
        return [
            _first_words(self.tokenizer.decode(ids), request.max_words)
            for ids, request in zip(written, requests, strict=True)
        ]

    def _pick(self, states: Tensor, uniform: Tensor, temperatures: Sequence[float]) -> list[int]:
        """Return a piece of text or the end of the answer for each row."""
        tokens = self.tokenizer.tokens
        logits = self.model.logits(states)
        scores = torch.cat([logits[:, : tokens.texts], logits[:, tokens.eos : tokens.eos + 1]], 1)
        heat = torch.tensor(temperatures, device=scores.device)[:, None]
        warm = pick(scores / heat.clamp(min=1e-6), uniform, SamplingParams())
        chosen = torch.where(heat[:, 0] == 0, scores.argmax(-1), warm)
        return [tokens.eos if one == tokens.texts else one for one in chosen.tolist()]


def _first_words(text: str, count: int) -> str:
    """Return the first words of a text, with the spaces and lines between them."""
    found = re.match(rf"\s*(?:\S+\s*){{0,{count}}}", text)
    return found[0].strip() if found else ""
