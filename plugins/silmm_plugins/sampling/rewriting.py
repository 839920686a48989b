"""Step 2, both kinds of model: diversity by rewriting the prompt before sampling (Fig. 5)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Literal

from silmm.contracts.candidates import Sampled
from silmm.contracts.models import BaseModel, ChatRequest, SamplingParams
from silmm.contracts.options import option
from silmm.seeds import derive
from silmm_plugins.sampling.nucleus import NucleusOptions
from silmm_plugins.text import instructions
from silmm_plugins.text import reply_parsing as answers

_INSTRUCTIONS = {
    "rephrase": (instructions.REPHRASE, instructions.REPHRASE_EXAMPLES),
    "explain": (instructions.EXPLAIN, instructions.EXPLAIN_EXAMPLES),
}


class RewriteOptions(NucleusOptions):
    """Options of `rephrase` and `explain`; the last three are for discrete models, as in `nucleus`."""

    rewrite_temperature: float = option(
        1.0,
        "divides the logits of the words of a rewriting; 1 is the model's own distribution",
        gt=0.0, paper="Sec. 4.3, Fig. 5 (no value given)",
    )
    max_words: int = option(64, "a longer rewriting is dropped", ge=2, unit="words")


class Rewrite:
    """Let the model rewrite the prompt for each candidate, and sample from the rewriting."""

    def __init__(self, task: Literal["rephrase", "explain"], options: RewriteOptions) -> None:
        """Choose the task; see :class:`RewriteOptions`."""
        self._task = task
        self._options = options
        self._sampling = SamplingParams(options.temperature, options.top_p, options.top_k)
        self.dropped: Counter[str] = Counter()
        """Reason -> candidates that were sampled from the original prompt: malformed, unreadable."""

    def sample(self, model: BaseModel, prompts: Sequence[str], seeds: Sequence[int]) -> list[Sampled]:
        """Return one z or H per (prompt, seed) pair, in order; meta: the prompt that it was sampled from.

        All rewritings are asked for in one batch. One that is no line of words, is too long or that the model
        cannot read leaves its candidate with the prompt as it stands, and is counted.
        """
        replies = model.chat([self._request(p, s) for p, s in zip(prompts, seeds, strict=True)])
        texts = [self._usable(model, p, reply) for p, reply in zip(prompts, replies, strict=True)]
        if model.kind == "discrete":
            latents = model.represent(texts, seeds, self._sampling)
        else:
            distinct = list(dict.fromkeys(texts))  # H is a function of the text alone
            features = model.represent(distinct, [0] * len(distinct), SamplingParams())
            by_text = dict(zip(distinct, features, strict=True))
            latents = [by_text[text] for text in texts]
        return [
            Sampled(latent, {"task": self._task, "sampled_prompt": text})
            for latent, text in zip(latents, texts, strict=True)
        ]

    def _request(self, prompt: str, seed: int) -> ChatRequest:
        instruction, examples = _INSTRUCTIONS[self._task]
        return ChatRequest(
            task=self._task,
            input=prompt,
            instruction=instruction,
            examples=examples,
            temperature=self._options.rewrite_temperature,
            seed=derive(seed, self._task),
            max_words=self._options.max_words,
        )

    def _usable(self, model: BaseModel, prompt: str, reply: str) -> str:
        text = answers.prompt(reply, self._options.max_words)
        if text is not None and model.reads(text):
            return text
        self.dropped[f"{'malformed' if text is None else 'unreadable'} rewriting"] += 1
        return prompt
