"""A world of coloured shapes: its pictures, its language and its exact judge."""

from silmm_benchmarks.shapes.facts import (
    Fact,
    atomic_facts,
    holds,
    matches,
    matching,
    parse_question,
    question,
    question_objects,
    statement,
)
from silmm_benchmarks.shapes.holdout import is_fact_held_out, is_held_out
from silmm_benchmarks.shapes.judge import Judge
from silmm_benchmarks.shapes.language import (
    CATEGORIES,
    VOCABULARY,
    Mention,
    Spec,
    caption,
    detokenize,
    parse_caption,
    template_count,
    tokenize,
)
from silmm_benchmarks.shapes.questions import sample_questions
from silmm_benchmarks.shapes.sampling import random_scene, sample_scene, sample_spec
from silmm_benchmarks.shapes.splits import (
    EvalPrompt,
    contaminated,
    report_prompts,
    training_spec,
    tune_prompts,
)
from silmm_benchmarks.shapes.world import (
    COLORS,
    RELATIONS,
    SHAPES,
    TEXTURES,
    Object,
    Scene,
    relates,
    render,
)

__all__ = [
    "CATEGORIES",
    "COLORS",
    "RELATIONS",
    "SHAPES",
    "TEXTURES",
    "VOCABULARY",
    "EvalPrompt",
    "Fact",
    "Judge",
    "Mention",
    "Object",
    "Scene",
    "Spec",
    "atomic_facts",
    "caption",
    "contaminated",
    "detokenize",
    "holds",
    "is_fact_held_out",
    "is_held_out",
    "matches",
    "matching",
    "parse_caption",
    "parse_question",
    "question",
    "question_objects",
    "random_scene",
    "relates",
    "render",
    "report_prompts",
    "sample_questions",
    "sample_scene",
    "sample_spec",
    "statement",
    "template_count",
    "tokenize",
    "training_spec",
    "tune_prompts",
]
