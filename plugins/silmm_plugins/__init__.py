"""The built-in plugins: the paper's variants and the embedded models, through the public hooks.

Nothing heavy is imported here; each component's module is imported when the component is built.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from silmm import hookimpl
from silmm.contracts.registration import lazy

if TYPE_CHECKING:
    from silmm.contracts.registration import Register

SILMM_PLUGIN_API = 2


@hookimpl
def silmm_register_models(register: Register) -> None:
    """Register the embedded models and the real ones."""
    from silmm_plugins.models.registration import register_models

    register_models(register)


@hookimpl
def silmm_register_prompters(register: Register) -> None:
    """Register `self` and `file`."""
    from silmm_plugins.prompting.file_prompter import FileOptions
    from silmm_plugins.prompting.self_prompter import SelfOptions

    register(
        "self",
        lazy("silmm_plugins.prompting.self_prompter:SelfPrompter"),
        options=SelfOptions,
        requires=["chat"],
        paper="Sec. 3.1 step 1, App. 6",
        summary="The model lists concepts for templates and writes whole prompts by example.",
    )
    register(
        "file",
        lazy("silmm_plugins.prompting.file_prompter:FilePrompter"),
        options=FileOptions,
        paper="ours",
        summary="Prompts from your own .txt, .jsonl or .parquet file.",
    )


@hookimpl
def silmm_register_samplers(register: Register) -> None:
    """Register `nucleus`, `dropdiv`, `noisy-dreamemb`, `rephrase` and `explain`."""
    from silmm_plugins.sampling.continuous import DropDivOptions, NoisyDreamEmbOptions
    from silmm_plugins.sampling.nucleus import NucleusOptions
    from silmm_plugins.sampling.rewriting import RewriteOptions

    register(
        "nucleus",
        lazy("silmm_plugins.sampling.nucleus:Nucleus"),
        options=NucleusOptions,
        requires=["nucleus"],
        kinds=["discrete"],
        paper="Sec. 3.1 step 2",
        summary="Image tokens by nucleus sampling, each candidate from its own seed.",
    )
    register(
        "dropdiv",
        lazy("silmm_plugins.sampling.continuous:DropDiv"),
        options=DropDivOptions,
        requires=["features", "mlp_blocks"],
        kinds=["continuous"],
        paper="Sec. 3.1 step 2, Figs. 6, 9-11",
        summary="Features under dropout in MLP blocks, each candidate with masks of its own seed.",
    )
    register(
        "noisy-dreamemb",
        lazy("silmm_plugins.sampling.continuous:NoisyDreamEmb"),
        options=NoisyDreamEmbOptions,
        requires=["features", "query_embeddings"],
        kinds=["continuous"],
        paper="Sec. 4.3, Fig. 5",
        summary="Features of query embeddings with Gaussian noise.",
    )
    for task, summary in (
        ("rephrase", "The model says the prompt in other words and samples that."),
        ("explain", "The model adds imagined details to the prompt and samples that."),
    ):
        register(
            task,
            lazy("silmm_plugins.sampling.rewriting:Rewrite", task),
            options=RewriteOptions,
            requires=["chat", "rewrite"],
            paper="Sec. 4.3, Fig. 5",
            summary=summary,
        )


@hookimpl
def silmm_register_questioners(register: Register) -> None:
    """Register `self-q`, `phrase-q` and `prompt-q`."""
    register(
        "self-q",
        lazy("silmm_plugins.questioning.questioners:SelfQuestioner"),
        requires=["chat"],
        paper="Sec. 3.1 step 3, App. 7",
        summary="The model splits the prompt into statements and asks about each.",
    )
    register(
        "phrase-q",
        lazy("silmm_plugins.questioning.questioners:PhraseQuestioner"),
        paper="Table 2",
        summary="Each noun phrase (spaCy) with a question mark.",
    )
    register(
        "prompt-q",
        lazy("silmm_plugins.questioning.questioners:PromptQuestioner"),
        paper="Table 2",
        summary="The prompt itself with a question mark.",
    )


@hookimpl
def silmm_register_scorers(register: Register) -> None:
    """Register `diff-of-prob`, `ratio-of-yes`, `random`, `vqascore`, `vqascore-dual` and `reward-model`."""
    from silmm_plugins.scoring.registration import register_scorers

    register_scorers(register)


@hookimpl
def silmm_register_pair_rules(register: Register) -> None:
    """Register `top-last` and `margin`."""
    from silmm_plugins.pairing.pair_rules import Margin, MarginOptions, TopLast, TopLastOptions

    register(
        "top-last",
        TopLast,
        options=TopLastOptions,
        paper="Sec. 3.1 step 5, App. 10, Table 7",
        summary="The best k candidates against the worst k, or against a range of ranks.",
    )
    register(
        "margin",
        Margin,
        options=MarginOptions,
        paper="ours; hard negatives as in OSPO (arXiv 2506.02015)",
        summary="The best k candidates, each against the nearest that are worse by a gap.",
    )


@hookimpl
def silmm_register_executors(register: Register) -> None:
    """Register `local`."""
    from silmm_plugins.executors.registration import register_executors

    register_executors(register)


@hookimpl
def silmm_register_aggregations(register: Register) -> None:
    """Register `none`, `maxpool` and `avgpool`."""
    from silmm_plugins.kernels.kernels import register_aggregations

    register_aggregations(register)


@hookimpl
def silmm_register_distances(register: Register) -> None:
    """Register `eucl` and `cos`."""
    from silmm_plugins.kernels.kernels import register_distances

    register_distances(register)


@hookimpl
def silmm_register_trainers(register: Register) -> None:
    """Register the trainers."""
    from silmm_plugins.training.registration import register_trainers

    register_trainers(register)
