"""mPLUG's beam search (docs/spec/benchmarks.md 4.2), which differs from the usual one.

A beam that writes [SEP] is recorded and goes on living; the search of a question ends when its best beam
has just written [SEP], and then all its beams are recorded. Recorded hypotheses are ranked by the sum of
log-probabilities divided by ((5 + length) / 6) ** 0.6.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from silmm.errors import DataError

START, END = 101, 102
"""[CLS] and [SEP]: the numbers are fixed in the official code."""


class Writer(Protocol):
    """What the search asks: a :class:`silmm_benchmarks.judges.mplug.decoder.Decoding`."""

    @property
    def questions(self) -> int:
        """How many questions are still being answered."""
        ...

    @property
    def device(self) -> torch.device:
        """Where it works."""
        ...

    @property
    def logits(self) -> Callable[[Tensor], Tensor]:
        """Map next tokens (questions, beams) to logits (questions, beams, vocabulary)."""
        ...

    @property
    def keep(self) -> Callable[[Tensor, Tensor], None]:
        """Continue with some questions, whose beams continue the parents."""
        ...


@dataclass(frozen=True)
class Hypothesis:
    """One recorded answer."""

    score: float
    """Log-probability over the length penalty."""
    tokens: tuple[int, ...]
    """From [CLS] on; [SEP] may stand anywhere after it, or be missing."""


def beam_search(writer: Writer, beams: int, max_length: int, min_length: int) -> list[list[Hypothesis]]:
    """Return up to `beams` hypotheses of each question, best first.

    Raises:
        DataError: logits are not finite.
    """
    device, owners = writer.device, list(range(writer.questions))
    hypotheses: list[list[Hypothesis]] = [[] for _ in owners]
    sequences = torch.full((len(owners), 1, 1), START, device=device)
    # All beams are equal at first, so one of them stands for all.
    sums = torch.zeros((len(owners), 1), device=device)
    for step in range(max_length):
        logits = writer.logits(sequences[..., -1])
        _check(logits)
        # Two steps as in the original: a probability that underflows has log-probability -inf.
        log_p = logits.softmax(dim=-1).log()
        if step < min_length:
            log_p[..., END] = -1e20
        penalty = ((5.0 + (step + 1)) / 6.0) ** 0.6
        scores, flat_indices = ((log_p + sums[..., None]) / penalty).flatten(1).topk(beams)
        sums = scores * penalty
        parents, words = flat_indices // logits.shape[-1], flat_indices % logits.shape[-1]
        sequences = torch.cat([_of_parents(sequences, parents), words[..., None]], dim=-1)

        ended = words == END if step + 1 < max_length else torch.ones_like(words, dtype=torch.bool)
        over = ended[:, 0]
        _record(hypotheses, owners, ended | over[:, None], scores, sequences)
        going = (~over).nonzero()[:, 0]
        if not len(going):
            break
        owners = [owners[row] for row in going.tolist()]
        sums, sequences = sums[going], sequences[going]
        writer.keep(going, parents[going])
    return [sorted(ranked, key=lambda hypothesis: hypothesis.score, reverse=True)[:beams] for ranked in hypotheses]


def _of_parents(sequences: Tensor, parents: Tensor) -> Tensor:
    return sequences[torch.arange(len(sequences), device=sequences.device)[:, None], parents]


def _record(
    hypotheses: list[list[Hypothesis]], owners: list[int], chosen: Tensor, scores: Tensor, sequences: Tensor
) -> None:
    for row, beam in chosen.nonzero().tolist():
        tokens = tuple(sequences[row, beam].tolist())
        hypotheses[owners[row]].append(Hypothesis(float(scores[row, beam]), tokens))


def _check(logits: Tensor) -> None:
    if not torch.isfinite(logits).all():
        raise DataError(
            "mPLUG gave logits that are not finite, so it has no answer: the weights are damaged or the "
            "precision is too low. Check pytorch_model.bin's sha256 and use dtype=float32."
        )
