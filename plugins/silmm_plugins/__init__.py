"""The built-in plugins: the paper's variants and the embedded models, through the public hooks.

Nothing heavy is imported here; each factory imports what it needs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from silmm import hookimpl

if TYPE_CHECKING:
    from silmm.contracts.components import Prompter, Questioner, Sampler
    from silmm.contracts.options import NoOptions
    from silmm.contracts.registration import Register
    from silmm_plugins.prompting.file_prompter import FileOptions
    from silmm_plugins.prompting.self_prompter import SelfOptions
    from silmm_plugins.sampling.continuous import DropDivOptions, NoisyDreamEmbOptions
    from silmm_plugins.sampling.nucleus import NucleusOptions
    from silmm_plugins.sampling.rewriting import RewriteOptions

SILMM_PLUGIN_API = 2


@hookimpl
def silmm_register_models(register: Register) -> None:
    """Register the embedded models and the real ones."""
    from silmm_plugins.models.dreamllm.registration import register_models as register_dreamllm
    from silmm_plugins.models.emu3.registration import register_models as register_emu3
    from silmm_plugins.models.janus.registration import register_models as register_janus
    from silmm_plugins.models.seed_llama.registration import register_models as register_seed_llama
    from silmm_plugins.models.tiny_continuous.registration import (
        register_models as register_tiny_continuous,
    )
    from silmm_plugins.models.tiny_discrete.registration import register_models as register_tiny_discrete
    from silmm_plugins.models.vlm_diffusion.registration import register_models as register_vlm_diffusion

    register_tiny_discrete(register)
    register_tiny_continuous(register)
    register_dreamllm(register)
    register_vlm_diffusion(register)
    register_emu3(register)
    register_janus(register)
    register_seed_llama(register)


@hookimpl
def silmm_register_prompters(register: Register) -> None:
    """Register `self` and `file`."""
    from silmm_plugins.prompting.file_prompter import FileOptions
    from silmm_plugins.prompting.self_prompter import SelfOptions

    register(
        "self",
        _self_prompter,
        options=SelfOptions,
        requires=["chat"],
        paper="Sec. 3.1 step 1, App. 6",
        summary="The model lists concepts for templates and writes whole prompts by example.",
    )
    register(
        "file",
        _file_prompter,
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
        _nucleus,
        options=NucleusOptions,
        requires=["nucleus"],
        kinds=["discrete"],
        paper="Sec. 3.1 step 2",
        summary="Image tokens by nucleus sampling, each candidate from its own seed.",
    )
    register(
        "dropdiv",
        _dropdiv,
        options=DropDivOptions,
        requires=["features", "mlp_blocks"],
        kinds=["continuous"],
        paper="Sec. 3.1 step 2, Figs. 6, 9-11",
        summary="Features under dropout in MLP blocks, each candidate with masks of its own seed.",
    )
    register(
        "noisy-dreamemb",
        _noisy_dreamemb,
        options=NoisyDreamEmbOptions,
        requires=["features", "query_embeddings"],
        kinds=["continuous"],
        paper="Sec. 4.3, Fig. 5",
        summary="Features of query embeddings with Gaussian noise.",
    )
    register(
        "rephrase",
        _rephrase,
        options=RewriteOptions,
        requires=["chat", "rewrite"],
        paper="Sec. 4.3, Fig. 5",
        summary="The model says the prompt in other words and samples that.",
    )
    register(
        "explain",
        _explain,
        options=RewriteOptions,
        requires=["chat", "rewrite"],
        paper="Sec. 4.3, Fig. 5",
        summary="The model adds imagined details to the prompt and samples that.",
    )


@hookimpl
def silmm_register_questioners(register: Register) -> None:
    """Register `self-q`, `phrase-q` and `prompt-q`."""
    register(
        "self-q",
        _self_q,
        requires=["chat"],
        paper="Sec. 3.1 step 3, App. 7",
        summary="The model splits the prompt into statements and asks about each.",
    )
    register(
        "phrase-q",
        _phrase_q,
        paper="Table 2",
        summary="Each noun phrase (spaCy) with a question mark.",
    )
    register(
        "prompt-q",
        _prompt_q,
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
    """Register `dpo`, `kc-dpo`, `c-dpo`, `mc-dpo` and `sft`."""
    from silmm_plugins.training.registration import register_trainers

    register_trainers(register)


def _self_prompter(options: SelfOptions) -> Prompter:
    from silmm_plugins.prompting.self_prompter import SelfPrompter

    return SelfPrompter(options)


def _file_prompter(options: FileOptions) -> Prompter:
    from silmm_plugins.prompting.file_prompter import FilePrompter

    return FilePrompter(options)


def _nucleus(options: NucleusOptions) -> Sampler:
    from silmm_plugins.sampling.nucleus import Nucleus

    return Nucleus(options)


def _dropdiv(options: DropDivOptions) -> Sampler:
    from silmm_plugins.sampling.continuous import DropDiv

    return DropDiv(options)


def _noisy_dreamemb(options: NoisyDreamEmbOptions) -> Sampler:
    from silmm_plugins.sampling.continuous import NoisyDreamEmb

    return NoisyDreamEmb(options)


def _rephrase(options: RewriteOptions) -> Sampler:
    from silmm_plugins.sampling.rewriting import Rewrite

    return Rewrite("rephrase", options)


def _explain(options: RewriteOptions) -> Sampler:
    from silmm_plugins.sampling.rewriting import Rewrite

    return Rewrite("explain", options)


def _self_q(options: NoOptions) -> Questioner:  # noqa: ARG001 - the factory contract
    from silmm_plugins.questioning.questioners import SelfQuestioner

    return SelfQuestioner()


def _phrase_q(options: NoOptions) -> Questioner:  # noqa: ARG001 - the factory contract
    from silmm_plugins.questioning.questioners import PhraseQuestioner

    return PhraseQuestioner()


def _prompt_q(options: NoOptions) -> Questioner:  # noqa: ARG001 - the factory contract
    from silmm_plugins.questioning.questioners import PromptQuestioner

    return PromptQuestioner()
