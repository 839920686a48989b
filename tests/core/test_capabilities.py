"""Capability checks: what cannot work together is refused before any model loads."""

from __future__ import annotations

import pytest

from silmm.capabilities import check
from silmm.errors import UsageError
from silmm.registry import Registry
from silmm.settings import RunSettings

HOUSE = """
from silmm import hookimpl

def never(options):
    raise AssertionError("a capability check must load nothing")

@hookimpl
def silmm_register_models(register):
    register("tokens", never, summary="M.", kind="discrete", capabilities=("chat", "nucleus"))
    register("queries", never, summary="M.", kind="continuous", capabilities=("chat", "mlp_blocks"))

@hookimpl
def silmm_register_samplers(register):
    register("nucleus", never, summary="S.", requires=("nucleus",))
    register("dropdiv", never, summary="S.", requires=("mlp_blocks",), kinds=("continuous",))
    register("greedy", never, summary="S.")

@hookimpl
def silmm_register_trainers(register):
    register("dpo", never, summary="T.", kinds=("discrete",))
    register("kc-dpo", never, summary="T.", kinds=("continuous",), accepts=("kernel",))

@hookimpl
def silmm_register_aggregations(register):
    register("none", never, summary="A.")

@hookimpl
def silmm_register_distances(register):
    register("chamfer", never, summary="D.")

@hookimpl
def silmm_register_prompters(register):
    register("self", never, summary="P.")
    register("seer", never, summary="P.", requires=("features",))

@hookimpl
def silmm_register_questioners(register):
    register("self-q", never, summary="Q.")

@hookimpl
def silmm_register_scorers(register):
    register("diff-of-prob", never, summary="S.")

@hookimpl
def silmm_register_pair_rules(register):
    register("top-last", never, summary="R.")
"""


@pytest.fixture
def try_flags(fake_distribution):
    fake_distribution("caps", {"caps": "caps_plugin"}, {"caps_plugin": HOUSE})
    registry = Registry.load({"SILMM_LOAD_PLUGINS": "caps", "SILMM_STRICT_PLUGINS": "1"})

    def attempt(**flags):
        settings = RunSettings.resolve(registry, flags={"benchmark": "none"} | flags)
        check(registry, settings)

    return attempt


def test_working_combinations_pass(try_flags):
    """A discrete model with its own parts passes, and so does a continuous one with a kernel."""
    try_flags(model="tokens")
    try_flags(model="queries", sampler="dropdiv", trainer="kc-dpo", kernel="chamfer")


def test_a_wrong_kind_of_model_names_what_would_work(try_flags):
    """--sampler dropdiv on a discrete model lists the samplers and the models that would do."""
    with pytest.raises(
        UsageError,
        match=r"--sampler dropdiv cannot work with --model tokens.*continuous.*discrete"
        r".*work as sampler: greedy, nucleus\..*work as model: queries\.",
    ):
        try_flags(model="tokens", sampler="dropdiv")


def test_a_missing_capability_is_named(try_flags):
    """A sampler whose capability the model does not declare says which one."""
    with pytest.raises(UsageError, match=r"needs nucleus.*'queries' does not declare"):
        try_flags(model="queries", trainer="kc-dpo")


def test_a_kernel_needs_a_trainer_that_takes_one(try_flags):
    """--kernel with dpo fails, and names no trainer that this model cannot use."""
    with pytest.raises(UsageError, match=r"--kernel chamfer.*--trainer dpo.*'tokens': none"):
        try_flags(model="tokens", kernel="chamfer")


def test_own_pairs_skip_the_checks_of_stages_that_do_not_run(try_flags, tmp_path):
    """With --pairs FILE the sampler is not asked to fit, the trainer still is."""
    pairs = tmp_path / "pairs.parquet"
    pairs.write_bytes(b"content is read later")
    try_flags(model="tokens", sampler="dropdiv", pairs=str(pairs))
    with pytest.raises(UsageError, match="--trainer kc-dpo"):
        try_flags(model="tokens", trainer="kc-dpo", pairs=str(pairs))


def test_own_prompts_need_no_prompter(try_flags, tmp_path):
    """With a file of prompts the prompter is not asked to fit; with a number it is."""
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("a red circle\n")
    try_flags(model="tokens", prompter="seer", prompts=str(prompts))
    with pytest.raises(UsageError, match=r"--prompter seer.*needs features"):
        try_flags(model="tokens", prompter="seer")
