"""Capability checks refuse combinations that cannot work, and find a model that fits, before any model loads."""

from __future__ import annotations

import pytest

from silmm.engine.capabilities import asks_questions, check
from silmm.engine.settings_resolution import resolve_settings
from silmm.errors import UsageError
from silmm.registry.registry import Registry

HOUSE = """
from silmm import hookimpl
from silmm.contracts.options import Options, option

class Far(Options):
    far: float = 2.0

class Weights(Options):
    checkpoint: str = option("", "folder", checkpoint={"required": True})

def never(options):
    raise AssertionError("a capability check must load nothing")

@hookimpl
def silmm_register_models(register):
    register("tiny-discrete", never, summary="M.", kind="discrete", capabilities=("chat", "nucleus", "yes_no"))
    register("tokens", never, summary="M.", kind="discrete",
             capabilities=("chat", "nucleus", "log_likelihood", "yes_no"))
    register("kernelled", never, summary="M.", kind="continuous",
             capabilities=("chat", "mlp_blocks", "features", "yes_no"),
             defaults={"sampler": "dropdiv", "trainer": "kc-dpo", "kernel": "pool-chamfer",
                       "kernel/pool-chamfer.far": 4.0})
    register("queries", never, summary="M.", kind="continuous", capabilities=("chat", "mlp_blocks", "yes_no"))
    register("blind", never, summary="M.", kind="discrete", capabilities=("nucleus",))

@hookimpl
def silmm_register_samplers(register):
    register("nucleus", never, summary="S.", requires=("nucleus",))
    register("dropdiv", never, summary="S.", requires=("mlp_blocks",), kinds=("continuous",))
    register("greedy", never, summary="S.")
    register("telepath", never, summary="S.", requires=("query_embeddings",))

@hookimpl
def silmm_register_trainers(register):
    register("dpo", never, summary="T.", kinds=("discrete",))
    register("kc-dpo", never, summary="T.", kinds=("continuous",), needs=("kernel",))
    register("c-dpo", never, summary="T.", kinds=("continuous",))
    register("on-policy", never, summary="T.", kinds=("discrete",), needs=("rollout",))
    register("sft", never, summary="T.", requires=("log_likelihood", "features"), needs=("kernel",))

@hookimpl
def silmm_register_aggregations(register):
    register("none", never, summary="A.")
    register("pool", never, summary="A.")

@hookimpl
def silmm_register_distances(register):
    register("chamfer", never, summary="D.", options=Far)
    register("feature-wise", never, summary="D.", requires=("features",), kinds=("continuous",))

@hookimpl
def silmm_register_prompters(register):
    register("self", never, summary="P.")
    register("seer", never, summary="P.", requires=("features",))

@hookimpl
def silmm_register_questioners(register):
    register("self-q", never, summary="Q.", requires=("chat",))

@hookimpl
def silmm_register_scorers(register):
    register("diff-of-prob", never, summary="S.")
    register("curious", never, summary="S.", needs=("images",), requires=("yes_no",))
    register("reward", never, summary="S.", needs=("images",), options=Weights)

@hookimpl
def silmm_register_pair_rules(register):
    register("top-last", never, summary="R.")
    register("by-answers", never, summary="R.", needs=("answers",))
"""


@pytest.fixture
def try_flags(fake_distribution):
    fake_distribution("caps", {"caps": "caps_plugin"}, {"caps_plugin": HOUSE})
    registry = Registry.load({"SILMM_LOAD_PLUGINS": "caps", "SILMM_STRICT_PLUGINS": "1"})

    def attempt(*sets, **flags):
        settings = resolve_settings(registry, flags={"benchmark": "none"} | flags, sets=sets)
        check(registry, settings)
        return settings

    attempt.registry = registry
    return attempt


def test_working_combinations_pass(try_flags):
    """A discrete model with its own components passes, and so does a continuous model with a kernel."""
    try_flags(model="tokens")
    try_flags(model="queries", sampler="dropdiv", trainer="kc-dpo", kernel="chamfer")


def test_a_wrong_kind_of_model_names_what_would_work(try_flags):
    """`--sampler dropdiv` with a discrete model is refused with the samplers and the models that would work."""
    with pytest.raises(
        UsageError,
        match=r"--sampler dropdiv cannot work with --model tokens.*continuous.*discrete"
        r".*work as sampler: greedy, nucleus\..*work as model: kernelled, queries\.",
    ):
        try_flags(model="tokens", sampler="dropdiv")


def test_a_missing_capability_is_named(try_flags):
    """A sampler that needs an undeclared capability is refused with the name of that capability."""
    with pytest.raises(UsageError, match=r"needs nucleus.*'queries' does not declare"):
        try_flags(model="queries", trainer="kc-dpo")


def test_a_kernel_needs_a_trainer_that_takes_one(try_flags):
    """`--kernel` with `dpo` is refused, and the message names only trainers that this model can use."""
    with pytest.raises(UsageError, match=r"--kernel chamfer.*--trainer dpo.*'tiny-discrete': none"):
        try_flags(model="tiny-discrete", kernel="chamfer")


def test_a_trainer_of_both_kinds_needs_what_the_models_kind_can_have(try_flags):
    """A trainer that lists `log_likelihood` and `features` requires of each kind of model only its own capability."""
    try_flags(model="tokens", trainer="sft")
    try_flags(model="kernelled", trainer="sft")
    with pytest.raises(UsageError, match=r"--trainer sft.*needs log_likelihood, which 'tiny-discrete'"):
        try_flags(model="tiny-discrete", trainer="sft")
    with pytest.raises(UsageError, match=r"--trainer sft.*needs features, which 'queries'"):
        try_flags(model="queries", sampler="dropdiv", trainer="sft")


def test_own_pairs_skip_the_checks_of_stages_that_do_not_run(try_flags, tmp_path):
    """With `--pairs FILE` the trainer must fit the model, and the sampler need not."""
    pairs = tmp_path / "pairs.parquet"
    pairs.write_bytes(b"content is read later")
    try_flags(model="tokens", sampler="dropdiv", pairs=str(pairs))
    with pytest.raises(UsageError, match="--trainer kc-dpo"):
        try_flags(model="tokens", trainer="kc-dpo", pairs=str(pairs))


def test_own_prompts_need_no_prompter(try_flags, tmp_path):
    """The prompter must fit the model if `--prompts` is a number, and need not if it is a file."""
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("a red circle\n")
    try_flags(model="tokens", prompter="seer", prompts=str(prompts))
    with pytest.raises(UsageError, match=r"--prompter seer.*needs features"):
        try_flags(model="tokens", prompter="seer")


def test_without_a_name_the_model_is_the_default_where_it_can_be(try_flags):
    """If nothing is named, or only components that fit it, the default model is used with its own settings."""
    assert try_flags().model == "tiny-discrete"
    assert try_flags(sampler="greedy", trainer="dpo", questioner="self-q").model == "tiny-discrete"


@pytest.mark.parametrize(
    "flags",
    [
        {"sampler": "dropdiv"}, {"trainer": "kc-dpo"}, {"kernel": "pool-feature-wise"},
        {"sampler": "dropdiv", "kernel": "feature-wise"}, {"prompter": "seer"},
    ],
)
def test_without_a_name_the_model_is_the_first_that_fits_what_is_named(try_flags, flags):
    """If the default model does not fit the named components, the first model that fits all of them is used."""
    settings = try_flags(**flags)
    assert settings.model == "kernelled"
    assert settings.model_dump().items() >= flags.items()
    named = {"sampler": "dropdiv", "trainer": "kc-dpo", "kernel": "pool-chamfer"}
    assert settings.model_dump().items() >= (named | flags).items()


def test_a_toml_file_and_sets_name_components_too(try_flags, tmp_path):
    """A sampler named by `--set` or a file selects a model as a flag does, and a named model is never replaced."""
    assert try_flags("sampler=dropdiv").model == "kernelled"
    with pytest.raises(UsageError, match="--sampler dropdiv cannot work with --model tiny-discrete"):
        try_flags("sampler=dropdiv", "model=tiny-discrete")


def test_embedded_models_come_before_others(try_flags, fake_distribution):
    """A model of another distribution is chosen only if no model that comes with silmm fits."""
    source = """
from silmm import hookimpl

@hookimpl
def silmm_register_models(register):
    register("aa", print, summary="M.", kind="continuous",
             capabilities=("chat", "mlp_blocks", "features", "yes_no"))
    register("ab", print, summary="M.", kind="continuous",
             capabilities=("query_embeddings", "chat", "yes_no"))
"""
    fake_distribution("aaa", {"aaa": "caps_first"}, {"caps_first": source})
    registry = Registry.load({"SILMM_LOAD_PLUGINS": "caps,aaa", "SILMM_STRICT_PLUGINS": "1"})
    assert resolve_settings(registry, flags={"sampler": "dropdiv"}).model == "kernelled"
    assert resolve_settings(registry, flags={"sampler": "telepath"}).model == "ab"


def test_components_that_share_no_model_are_told_apart(try_flags):
    """If no model fits all named components, the error says what each needs and which models provide it."""
    with pytest.raises(
        UsageError,
        match=r"no installed model.*together\. --sampler dropdiv needs a continuous model with mlp_blocks "
        r"\(installed: kernelled, queries\)\. --trainer dpo needs a discrete model "
        r"\(installed: blind, tiny-discrete, tokens\)\.",
    ):
        try_flags(sampler="dropdiv", trainer="dpo")
    with pytest.raises(UsageError, match=r"no installed model works with this\. --sampler telepath.*: none"):
        try_flags(sampler="telepath")


def test_a_named_kernel_needs_a_named_trainer_that_takes_one(try_flags):
    """`--kernel` with a trainer without a kernel is refused for that reason, whichever model is chosen."""
    for trainer in ("dpo", "c-dpo"):
        with pytest.raises(UsageError, match=rf"--kernel chamfer.*--trainer {trainer}, which takes no"):
            try_flags(kernel="chamfer", trainer=trainer)
    with pytest.raises(UsageError, match=r"which takes no.*work with 'kernelled': kc-dpo"):
        try_flags(model="kernelled", kernel="chamfer", trainer="c-dpo")


def test_components_without_work_choose_no_model(try_flags, tmp_path):
    """Components that `--pairs FILE` or `--prompts FILE` skips have no influence on the choice of the model."""
    path = tmp_path / "given.txt"
    path.write_text("a red circle")
    assert try_flags(sampler="dropdiv", pairs=str(path)).model == "tiny-discrete"
    assert try_flags(prompter="seer", prompts=str(path)).model == "tiny-discrete"
    assert try_flags(trainer="kc-dpo", pairs=str(path)).model == "kernelled"


def test_a_models_own_kernel_falls_away_with_a_trainer_that_takes_none(try_flags):
    """A model's default kernel does not exclude a trainer without a kernel."""
    settings = try_flags(model="kernelled", trainer="c-dpo")
    assert settings.kernel is None
    assert "kernel" not in settings.options
    with pytest.raises(UsageError, match=r"--set kernel\.far=3 sets a kernel option, but no --kernel"):
        try_flags("kernel.far=3", model="kernelled", trainer="c-dpo")


def test_a_named_kernel_wins_over_the_models_own(try_flags):
    """The user's kernel and options override the model's, whose other options remain."""
    settings = try_flags(model="kernelled")
    assert (settings.kernel, settings.options["kernel"]) == ("pool-chamfer", {"far": 4.0})
    settings = try_flags("kernel.far=3", model="kernelled", kernel="chamfer")
    assert (settings.kernel, settings.options["kernel"]) == ("chamfer", {"far": 3.0})
    assert try_flags(model="kernelled", kernel="feature-wise").options["kernel"] == {}


@pytest.fixture
def weights(tmp_path):
    """Return a folder with a file, as a checkpoint."""
    folder = tmp_path / "weights"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"weights")
    return folder


def test_who_needs_answers_needs_somebody_who_answers(try_flags):
    """A model that cannot answer is refused, with models that can, unless a judge model answers."""
    with pytest.raises(UsageError, match=r"--questioner self-q.*needs chat"):
        try_flags(model="blind", prompter="self")
    with pytest.raises(UsageError, match=r"--scorer curious.*needs yes_no.*work as model: kernelled, queries, t"):
        try_flags(model="blind", scorer="curious")
    try_flags(model="blind", scorer="curious", judge_model="tokens")


def test_without_need_for_answers_nobody_is_asked_and_no_questioner_has_to_fit(try_flags, weights):
    """A scorer that needs images alone works with a model that neither answers nor writes questions."""
    set_weights = f"scorer.checkpoint={weights}"
    registry = try_flags.registry
    settings = try_flags(set_weights, model="blind", scorer="reward")
    assert not asks_questions(registry, settings)
    assert not asks_questions(registry, try_flags(model="tokens", scorer="curious"))
    assert asks_questions(registry, try_flags(model="tokens"))
    assert asks_questions(registry, try_flags(set_weights, model="tokens", scorer="reward", pair_rule="by-answers"))
    with pytest.raises(UsageError, match=r"--questioner self-q cannot work with --model blind"):
        try_flags(set_weights, model="blind", scorer="reward", pair_rule="by-answers")


def test_a_judge_model_that_nobody_asks_is_refused(try_flags, weights):
    """A judge model whose answers no component reads is refused, with the scorers that would read them."""
    with pytest.raises(UsageError, match=r"--judge-model tokens has no work.*asks: curious, diff-of-prob"):
        try_flags(f"scorer.checkpoint={weights}", model="tokens", scorer="reward", judge_model="tokens")


def test_a_scorer_that_needs_a_checkpoint_is_refused_without_one(try_flags):
    """A scorer without its checkpoint is refused before the run starts, with the option to set."""
    with pytest.raises(UsageError, match=r"the scorer 'reward' needs a checkpoint.*--set scorer\.checkpoint"):
        try_flags(model="tokens", scorer="reward")


def test_a_trainer_that_needs_rollouts_is_refused_with_own_pairs(try_flags, tmp_path):
    """A trainer that needs rollouts is refused with `--pairs FILE`, naming trainers that learn from pairs."""
    pairs = tmp_path / "pairs.parquet"
    pairs.write_bytes(b"content is read later")
    try_flags(model="tokens", trainer="on-policy")
    with pytest.raises(UsageError, match=r"--trainer on-policy cannot work with --pairs.*c-dpo, dpo, kc-dpo, sft"):
        try_flags(model="tokens", trainer="on-policy", pairs=str(pairs))
