"""Step 3, questions: each prompt's yes/no questions (QUESTIONS)."""

from __future__ import annotations

import pyarrow as pa

from silmm.contracts.candidates import Question
from silmm.contracts.components import Questioner
from silmm.contracts.models import BaseModel
from silmm.contracts.records import QUESTIONS
from silmm.engine.stages.plugin_calls import REPORT, blaming, one_per_input
from silmm.engine.stages.sample_stage import dropped
from silmm.errors import PluginError

NO_QUESTIONS = "no-questions"


def ask_questions(
    model: BaseModel, questioner: Questioner, prompts: pa.Table, who: str = "The questioner"
) -> tuple[pa.Table, dict[str, int]]:
    """Turn prompts into yes/no questions (PROMPTS -> QUESTIONS).

    Prompts that get none are counted, and so is what the questioner says that it dropped.

    Raises:
        PluginError: the questioner, called `who`, failed or returned something else than it should.
    """
    earlier = dropped(questioner)
    identities = prompts.column("prompt_id").to_pylist()
    with blaming(who, f"it asked about {len(identities)} prompts"):
        results = questioner.ask(model, prompts.column("prompt").to_pylist())
    asked = [tuple(questions) for questions in one_per_input(results, identities, who)]
    if not all(isinstance(question, Question) for questions in asked for question in questions):
        raise PluginError(f"{who} returned something else than tuples of Question. {REPORT}")
    rows = [
        {"prompt_id": identity, "index": index, "statement": question.statement, "question": question.text}
        for identity, questions in zip(identities, asked, strict=True)
        for index, question in enumerate(questions)
    ]
    counts = dropped(questioner) - earlier
    counts[NO_QUESTIONS] += sum(1 for questions in asked if not questions)
    return pa.Table.from_pylist(rows, schema=QUESTIONS), dict(+counts)
