"""The beam search follows its rule, checked against the rule written for one question in plain numbers."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from silmm_benchmarks.judges.mplug.beam import END, START, beam_search

from silmm.errors import DataError

VOCABULARY = 106


class Table:
    """Writes by a fixed random table: a prefix of a question decides the logits of what follows."""

    def __init__(self, seeds, lean):
        self.seeds, self.lean = seeds, lean
        self.prefixes = [[()] for _ in seeds]
        self.device = torch.device("cpu")

    @property
    def questions(self):
        return len(self.seeds)

    def row(self, seed, prefix):
        generator = torch.Generator().manual_seed(hash((seed, prefix)) % 2**63)
        logits = 2 * torch.randn(VOCABULARY, generator=generator)
        logits[END] += self.lean
        return logits

    def logits(self, tokens):
        self.prefixes = [
            [(*prefix, token) for prefix, token in zip(beams, row, strict=True)]
            for beams, row in zip(self.prefixes, tokens.tolist(), strict=True)
        ]
        return torch.stack([
            torch.stack([self.row(seed, prefix) for prefix in beams])
            for seed, beams in zip(self.seeds, self.prefixes, strict=True)
        ])

    def keep(self, questions, parents):
        self.seeds = [self.seeds[row] for row in questions.tolist()]
        self.prefixes = [
            [self.prefixes[row][parent] for parent in chosen]
            for row, chosen in zip(questions.tolist(), parents.tolist(), strict=True)
        ]


def by_the_rule(table, seed, beams, max_length, min_length):
    """Search for one question, with Python numbers."""
    alive, recorded = [(0.0, (START,))], []
    for step in range(max_length):
        penalty = ((6 + step) / 6) ** 0.6
        grown = []
        for total, tokens in alive:
            log_p = table.row(seed, tokens).double().log_softmax(0).tolist()
            if step < min_length:
                log_p[END] = -1e20
            grown += [(total + value, (*tokens, word)) for word, value in enumerate(log_p)]
        alive = sorted(grown, key=lambda beam: -beam[0])[:beams]
        last = alive[0][1][-1] == END or step + 1 == max_length
        recorded += [(total / penalty, tokens) for total, tokens in alive if last or tokens[-1] == END]
        if last:
            break
    return sorted(recorded, key=lambda beam: -beam[0])[:beams]


@settings(max_examples=30, deadline=None)
@given(
    seeds=st.lists(st.integers(0, 10**6), min_size=1, max_size=4), lean=st.sampled_from([-2.0, 2.0, 5.0]),
    beams=st.integers(1, 5), max_length=st.integers(1, 6), min_length=st.integers(0, 2),
)
def test_a_batch_searches_as_each_question_alone_by_the_rule(seeds, lean, beams, max_length, min_length):
    """Sequences are equal and scores to 1e-4, for questions that end at different steps."""
    actual = beam_search(Table(seeds, lean), beams, max_length, min_length)
    for seed, ranked in zip(seeds, actual, strict=True):
        expected = by_the_rule(Table([], lean), seed, beams, max_length, min_length)
        assert [beam.tokens for beam in ranked] == [tokens for _, tokens in expected]
        assert [beam.score for beam in ranked] == pytest.approx([score for score, _ in expected], abs=1e-4)


def scripted(likely):
    """Give a table in which, after a prefix, some tokens have given probabilities."""

    class Scripted(Table):
        def row(self, seed, prefix):
            arguments = likely.get(prefix, {END: 0.9})
            rest = (1 - sum(arguments.values())) / (VOCABULARY - len(arguments))
            return torch.tensor([math.log(arguments.get(token, rest)) for token in range(VOCABULARY)])

    return Scripted([0], 0)


def test_a_finished_beam_lives_on_and_may_grow():
    """A beam that wrote [SEP] second best is recorded, and a sequence that goes on after it is too."""
    table = scripted({
        (START,): {5: 0.9, 6: 0.09},
        (START, 5): {7: 0.4, END: 0.35},
        (START, 5, 7): {8: 0.2},
        (START, 5, END): {9: 0.95},
    })
    (ranked,) = beam_search(table, beams=3, max_length=3, min_length=1)
    tokens = [beam.tokens for beam in ranked]
    assert (START, 5, END) in tokens
    assert (START, 5, END, 9) in tokens


def test_the_search_ends_with_its_best_beam():
    """As soon as the best beam writes [SEP], all beams are recorded, finished or not."""
    table = scripted({(START,): {5: 0.6, 6: 0.3}, (START, 5): {END: 0.9}, (START, 6): {7: 0.9}})
    (ranked,) = beam_search(table, beams=2, max_length=10, min_length=1)
    assert [beam.tokens for beam in ranked] == [(START, 5, END), (START, 6, 7)]
    assert ranked[0].score == pytest.approx(math.log(0.6 * 0.9) / (7 / 6) ** 0.6, abs=1e-5)


def test_no_empty_answer_before_the_least_length():
    """[SEP] cannot come first, however likely, unless the least length is 0."""
    table = {(START,): {END: 0.99}}
    assert beam_search(scripted(table), 2, 5, 0)[0][0].tokens == (START, END)
    assert beam_search(scripted(table), 2, 5, 1)[0][0].tokens[1] != END


def test_logits_that_are_not_finite_are_an_error():
    """NaN has no ranking."""

    class Broken(Table):
        def row(self, seed, prefix):
            return torch.full((VOCABULARY,), float("nan"))

    with pytest.raises(DataError, match="not finite"):
        beam_search(Broken([0], 0), 5, 10, 1)
