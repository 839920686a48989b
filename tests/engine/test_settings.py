"""Settings come from four sources in a fixed order, are typed, and make the run's identity."""

from __future__ import annotations

import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from silmm.contracts.options import canonical, split_assignment
from silmm.engine.settings import RunSettings
from silmm.engine.settings_resolution import resolve_settings
from silmm.errors import DataError, UsageError
from silmm.registry.registry import Registry

HOUSE = """
from pydantic import Field, field_validator, model_validator
from silmm import hookimpl
from silmm.contracts.options import Options

class Nucleus(Options):
    temperature: float = Field(1.0, gt=0, description="softmax temperature")
    top_p: float = Field(0.9, gt=0, le=1, description="probability mass kept")
    blocks: tuple[int, int] = Field((14, 24), description="first and last block")
    cap: int | None = None
    words: tuple[str, ...] = ()

    @field_validator("blocks", mode="before")
    @classmethod
    def _range(cls, value):
        return tuple(value.split("-")) if isinstance(value, str) else value

class Dpo(Options):
    nll_weight: float = 0.0
    beta: float = 0.1

class Rule(Options):
    k: int = Field(3, ge=1)
    depth: int = 9
    style: str = ""

    @model_validator(mode="after")
    def _deep_enough(self):
        if self.k > self.depth:
            raise ValueError("k is larger than depth")
        return self

class Lines(Options):
    path: str = Field("", json_schema_extra={"file": True})

def make(options):
    return options

@hookimpl
def silmm_register_models(register):
    register("tiny-discrete", make, summary="M.", kind="discrete", capabilities=["yes_no"],
             defaults={"benchmark": "shapes", "prompts": 384, "trainer/dpo.nll_weight": 0.5,
                       "sampler/nucleus.top_p": 0.8, "pair_rule/top-last.depth": 4, "pair-rule/top-last.style": "own",
                       "sampler/guest/warm.top_p": 0.3})
    register("plain", make, summary="M.", kind="discrete", capabilities=["yes_no"])
    register("odd", make, summary="M.", kind="discrete", defaults={"promts": 3})
    register("vague", make, summary="M.", kind="discrete", defaults={"sampler.top_p": 0.3})
    register("typist", make, summary="M.", kind="discrete", defaults={"sampler/nucleus.topp": 0.3})

@hookimpl
def silmm_register_prompters(register):
    register("self", make, summary="P.")
    register("lines", make, summary="P.", options=Lines)

@hookimpl
def silmm_register_samplers(register):
    register("nucleus", make, summary="S.", options=Nucleus)

@hookimpl
def silmm_register_questioners(register):
    register("self-q", make, summary="Q.")

@hookimpl
def silmm_register_scorers(register):
    register("diff-of-prob", make, summary="S.")
    register("random", make, summary="S.")

@hookimpl
def silmm_register_pair_rules(register):
    register("top-last", make, summary="R.", options=Rule)

@hookimpl
def silmm_register_trainers(register):
    register("dpo", make, summary="T.", options=Dpo)
    register("sft", make, summary="T.")

@hookimpl
def silmm_register_benchmarks(register):
    register("shapes", make, summary="B.")
"""

GUEST = """
from silmm import hookimpl
from silmm.contracts.options import Options, option

class Sampling(Options):
    top_p: float = option(0.9, "probability mass kept")

@hookimpl
def silmm_register_samplers(register):
    for name in ("nucleus", "other", "warm"):
        register(name, lambda options: options, summary="S.", options=Sampling)
"""


@pytest.fixture
def registry(fake_distribution):
    fake_distribution("house", {"house": "house_plugin"}, {"house_plugin": HOUSE})
    return Registry.load({"SILMM_LOAD_PLUGINS": "house", "SILMM_STRICT_PLUGINS": "1"})


def test_no_argument_gives_the_models_defaults_and_complete_options(registry):
    """Without arguments every option has a value, and the model's presets override general defaults."""
    settings = resolve_settings(registry)
    assert settings.prompts == 384
    assert settings.options["trainer"] == {"nll_weight": 0.5, "beta": 0.1}
    assert settings.options["sampler"]["temperature"] == 1.0
    assert set(settings.options) == {
        "model", "prompter", "sampler", "questioner", "scorer", "pair-rule", "trainer", "benchmark",
    }


def test_sources_win_in_the_documented_order(registry, tmp_path):
    """`--set` overrides TOML, which overrides the model's presets, which override option defaults."""
    toml = tmp_path / "run.toml"
    toml.write_text('seed = 7\n[sampler]\ntop_p = 0.7\n[trainer]\nnll_weight = 0.25\n[pair-rule]\nk = 2\n')
    only_toml = resolve_settings(registry, toml)
    both = resolve_settings(registry, toml, {"seed": 9, "limit": None}, ["sampler.top_p=0.6"])
    assert (only_toml.seed, only_toml.options["sampler"]["top_p"]) == (7, 0.7)
    assert (both.seed, both.options["sampler"]["top_p"]) == (9, 0.6)
    assert (both.options["trainer"]["nll_weight"], both.options["pair-rule"]["k"]) == (0.25, 2)
    assert resolve_settings(registry, flags={"model": "plain"}).prompts == 16000


def test_a_models_preset_is_for_the_component_that_it_names(registry):
    """A preset of trainer `dpo` does nothing to trainer `sft`."""
    assert resolve_settings(registry, flags={"trainer": "sft"}).options["trainer"] == {}


def test_a_third_partys_component_gets_no_preset_by_an_accident_of_names(fake_distribution):
    """Neither an equal option name nor an equal component name brings another's preset; the full name does."""
    fake_distribution("house", {"house": "house_plugin"}, {"house_plugin": HOUSE})
    fake_distribution("guest", {"guest": "guest_plugin"}, {"guest_plugin": GUEST})
    registry = Registry.load({"SILMM_LOAD_PLUGINS": "house,guest", "SILMM_STRICT_PLUGINS": "1"})
    samplers = {"house/nucleus": 0.8, "guest/nucleus": 0.9, "other": 0.9, "warm": 0.3}
    for name, top_p in samplers.items():
        settings = resolve_settings(registry, flags={"model": "tiny-discrete", "sampler": name})
        assert settings.options["sampler"]["top_p"] == top_p, name


@pytest.mark.parametrize(("model", "message"), [
    ("odd", r"'promts'.*model 'odd'.*did you mean 'prompts'"),
    ("vague", r"model 'vague' hold 'sampler.top_p'.*sampler/NAME.top_p"),
    ("typist", r"sampler 'nucleus' has no option 'topp'.*model 'typist'.*did you mean 'top_p'"),
])
def test_a_models_misspelt_preset_is_an_error(registry, model, message):
    """A preset for an unknown setting, option or component is an error that the model's author sees."""
    with pytest.raises(UsageError, match=message):
        resolve_settings(registry, flags={"model": model})


def test_command_line_text_becomes_typed_values(registry):
    """`--set` parses numbers, none, lists and ranges as the type of the option."""
    sets = ["temperature=2", "blocks=3-5", "cap=none", 'words=["a", "b"]']
    sets = [f"sampler.{text}" for text in sets]
    options = resolve_settings(registry, sets=sets).options["sampler"]
    assert options["temperature"] == 2.0
    assert isinstance(options["temperature"], float)
    assert (options["blocks"], options["cap"], options["words"]) == ([3, 5], None, ["a", "b"])


def test_a_toml_table_can_pick_its_component(registry, tmp_path):
    """`name` in a TOML table chooses the component."""
    toml = tmp_path / "run.toml"
    toml.write_text('[scorer]\nname = "random"\n[pair-rule]\nname = "top-last"\nk = 1\n')
    settings = resolve_settings(registry, toml)
    assert (settings.scorer, settings.pair_rule) == ("random", "top-last")
    assert settings.options["pair-rule"]["k"] == 1


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        (["sampler.topp=0.9"], r"no option 'topp'.*--set sampler.topp=0.9.*did you mean 'top_p'"),
        (["sampler.top_p=2"], r"'top_p': '2' \(from --set.*less than or equal to 1.*le=1"),
        (["sampler.top_p=nan"], r"'top_p'.*finite|'top_p'.*less than"),
        (["sampler.blocks=a-b"], r"'blocks': 'a-b'"),
        (["smapler.top_p=0.9"], r"kind of component 'smapler'.*did you mean 'sampler'"),
        (["promts=3"], r"no setting 'promts'.*did you mean 'prompts'"),
        (["options=3"], r"no setting 'options'"),
        (["sampler.top_p"], r"not KIND.OPTION=VALUE"),
        (["=3"], r"not KIND.OPTION=VALUE"),
        (["kernel.size=3"], r"no --kernel is chosen"),
        (["prompts=0"], r"'prompts': '0'.*at least 1"),
        (["iterations=0"], r"'iterations'"),
    ],
)
def test_wrong_assignments_say_which_key_and_what_is_allowed(registry, sets, message):
    """A refused `--set` names the key, the value and what is allowed."""
    with pytest.raises(UsageError, match=message):
        resolve_settings(registry, sets=sets)


def test_wrong_toml_says_which_file_and_line(registry, tmp_path):
    """An error in a TOML file names file and line, table and key, or the flag of a missing file."""
    toml = tmp_path / "run.toml"
    toml.write_text("seed = 1\nprompts = = 2\n")
    with pytest.raises(UsageError, match=r"run\.toml is not valid TOML: .*line 2"):
        resolve_settings(registry, toml)
    toml.write_text("[sampler]\ntemprature = 1\n")
    with pytest.raises(UsageError, match=r"'temprature'.*\[sampler\].*'temperature'"):
        resolve_settings(registry, toml)
    with pytest.raises(DataError, match="--config"):
        resolve_settings(registry, tmp_path / "missing.toml")


def test_evaluation_can_be_switched_off(registry):
    """`--benchmark none`, and a model without a benchmark, switch the evaluation off."""
    assert resolve_settings(registry, flags={"model": "plain"}).component("benchmark") is None
    settings = resolve_settings(registry, flags={"benchmark": "none"})
    assert settings.component("benchmark") is None
    assert "benchmark" not in settings.options


def test_identity_is_json_and_survives_storage(registry):
    """Settings that are stored as JSON and read back have the same digest."""
    settings = resolve_settings(registry, sets=["sampler.blocks=3-5"])
    again = RunSettings.model_validate(json.loads(json.dumps(settings.identity())))
    assert again == settings
    text = canonical(settings.identity())
    assert settings.digest == again.digest == hashlib.sha256(text.encode()).hexdigest()


def test_every_option_is_part_of_the_identity(registry):
    """Any changed option or setting changes the digest."""
    changes = ["seed=1", "sampler.top_p=0.5", "pair-rule.k=2", "threads=2", "limit=3"]
    digests = {resolve_settings(registry, sets=[change]).digest for change in changes}
    digests.add(resolve_settings(registry).digest)
    assert len(digests) == len(changes) + 1


def test_input_files_count_by_content(registry, tmp_path):
    """The bytes of the prompts file are part of the identity, its path is not; a missing file is a DataError."""
    first, second = tmp_path / "a.txt", tmp_path / "b.txt"
    first.write_text("a red circle\n")
    second.write_text("a red circle\n")
    left, right = (resolve_settings(registry, flags={"prompts": str(f)}) for f in (first, second))
    assert left.digest == right.digest
    second.write_text("a blue circle\n")
    assert left.digest != right.digest
    with pytest.raises(DataError, match="--prompts"):
        resolve_settings(registry, flags={"prompts": str(tmp_path / "none.txt")})


def test_files_named_by_options_count_by_content(registry, tmp_path):
    """The bytes of a file that an option names are part of the identity; a missing file is refused."""
    first, second = tmp_path / "a.txt", tmp_path / "b.txt"
    for path in (first, second):
        path.write_text("a red circle\n")

    def settings(path):
        return resolve_settings(registry, flags={"prompter": "lines"}, sets=[f"prompter.path={path}"])

    left, right = settings(first), settings(second)
    assert left.digest == right.digest != settings("").digest
    assert left.options["prompter"]["path"] == str(first)
    second.write_text("a blue circle\n")
    assert left.digest != right.digest
    with pytest.raises(DataError, match=r"--set prompter\.path"):
        settings(tmp_path / "none.txt")


def test_a_refused_combination_names_the_values_that_clash(registry):
    """A refused combination names the clashing values and where they came from."""
    with pytest.raises(UsageError) as error:
        resolve_settings(registry, sets=["pair-rule.k=6"])
    message = str(error.value)
    assert "k='6' (from --set pair-rule.k=6)" in message
    assert "depth=4 (from defaults of model 'tiny-discrete')" in message
    assert "style" not in message


def test_settings_are_frozen(registry):
    """Settings cannot be changed after they are resolved."""
    with pytest.raises(ValidationError):
        resolve_settings(registry).seed = 3


@given(st.text(max_size=20))
def test_any_assignment_is_split_or_refused(text):
    """Any text of `--set` is split into kind, option and value, or is a UsageError."""
    try:
        kind, field, _ = split_assignment(text)
    except UsageError:
        return
    assert field
    assert "." not in field
    assert "=" not in kind + field
