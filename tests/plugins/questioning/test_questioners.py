"""Promises of step 3: each prompt becomes yes/no questions, and what is lost is counted."""

from __future__ import annotations

import pytest
from silmm_plugins.questioning.questioners import (
    PhraseQuestioner,
    PromptQuestioner,
    SelfQuestioner,
    load_pipeline,
)
from silmm_plugins.text import reply_parsing as answers

from silmm.contracts.candidates import Question
from silmm.contracts.models import ChatRequest
from silmm.errors import UsageError
from tests.toy.talker import Talker


class Scripted(Talker):
    """Speaks given lines for decompositions and questions."""

    def __init__(self, parts: str, worded: str = "is there {}?") -> None:
        super().__init__()
        self.parts = parts
        self.worded = worded

    def _decompose(self, request: ChatRequest) -> str:
        return self.parts

    def _question(self, request: ChatRequest) -> str:
        return self.worded.format(request.input)


def test_a_prompt_becomes_a_question_for_each_statement() -> None:
    """Two concepts, two questions, each beside its statement, spacing mended."""
    actual = SelfQuestioner().ask(Talker(), ["a red circle and a blue square", "an orange cross"])
    assert actual == [
        (
            Question("is there a red circle?", "a red circle"),
            Question("is there a blue square?", "a blue square"),
        ),
        (Question("is there an orange cross?", "an orange cross"),),
    ]


def test_a_statement_is_asked_about_once_for_all_prompts() -> None:
    """Prompts that share a statement share its chat turn."""
    model = Talker()
    SelfQuestioner().ask(model, ["a red circle", "a red circle and a cross"])
    asked = [request.input for request in model.requests if request.task == "question"]
    assert asked == ["a red circle", "a cross"]


def test_self_questioning_is_greedy() -> None:
    """The same prompt always gets the same questions: no turn is sampled."""
    model = Talker()
    SelfQuestioner().ask(model, ["a red circle"])
    assert all(request.temperature == 0 for request in model.requests)


def test_malformed_questions_and_foreign_statements_are_dropped_and_counted() -> None:
    """A foreign statement, an answer that is no question, a repetition: each is counted."""
    questioner = SelfQuestioner()
    model = Scripted("a red circle ; a green dog\n A RED circle ;; ", "is there {} ?")
    assert [q.text for q in questioner.ask(model, ["a red circle"])[0]] == ["is there a red circle?"]
    assert questioner.ask(Scripted("a red circle", "{}"), ["a red circle"]) == [()]
    assert dict(questioner.dropped) == {
        "foreign statement": 1,
        "duplicate question": 1,
        "malformed question": 1,
    }


def test_a_prompt_without_statements_has_no_questions() -> None:
    """An empty decomposition gives an empty tuple, which the run counts and leaves out."""
    assert SelfQuestioner().ask(Scripted("  "), ["a red circle"]) == [()]


def test_relations_are_asked_about_too() -> None:
    """ "the circle is on the left of the square" is a statement of its own."""
    model = Scripted("a circle ; a square ; the circle is on the left of the square", "is {} ?")
    actual = SelfQuestioner().ask(model, ["a circle on the left of a square"])[0]
    assert actual[-1].statement == "the circle is on the left of the square"


def test_prompt_q_replaces_the_period_or_appends() -> None:
    """Table 2's Prompt-Q by example."""
    actual = PromptQuestioner().ask(Talker(), ["A red bench.", "a red bench", " "])
    assert [tuple(q.text for q in group) for group in actual] == [
        ("A red bench?",),
        ("a red bench?",),
        (),
    ]


def test_phrase_q_asks_for_each_noun_phrase() -> None:
    """Table 2's Phrase-Q with the real parser: noun phrases, each with a question mark."""
    actual = PhraseQuestioner().ask(Talker(), ["a red bench and a wooden table", "a dog chases a dog"])
    assert [q.text for q in actual[0]] == ["a red bench?", "a wooden table?"]
    assert len(actual[1]) == len({q.text for q in actual[1]})


def test_a_missing_pipeline_says_what_to_install() -> None:
    """Without an English pipeline the error holds the pip command."""
    with pytest.raises(UsageError, match="pip install"):
        load_pipeline(["no_such_pipeline"])


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ("1. Red, 2) the blue\n- A green; green", ["red", "blue", "green"]),
        ("circle , square , a very long phrase of words", ["circle", "square"]),
        ("<pad>, ???, ", []),
    ],
)
def test_lists_are_read_from_free_text(reply: str, expected: list[str]) -> None:
    """Bullets, numbers, articles and case go; what is no word or too long is left out."""
    assert answers.items(reply, 3) == expected


@pytest.mark.parametrize(
    "reply", ["what color is the bench?", "How many cups are there?", "which one is red?", "a bench?"]
)
def test_only_yes_no_questions_are_questions(reply: str) -> None:
    """What cannot be answered by yes or no would be noise in the mean of Eq. 1."""
    assert answers.question(reply) is None
    assert answers.question("Is the bench red") == "Is the bench red?"


@pytest.mark.parametrize("reply", ["", "circle", "a a circle", "a b\nc d", "is it <eos> red", "what is it?"])
def test_malformed_prompts_are_recognised(reply: str) -> None:
    """Nothing, one word, a stutter, two lines, special tokens, a question: none is a prompt."""
    assert answers.prompt(reply, 20) is None


def test_a_well_formed_prompt_is_tidied() -> None:
    """Quotes and double spaces go, punctuation closes up."""
    assert answers.prompt(' "a  red circle , and a cross" ', 20) == "a red circle, and a cross"
    assert answers.prompt("a red circle and a cross", 3) is None
