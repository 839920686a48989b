"""The registry: names, duplicates, broken owners, and what a registration must hold."""

from __future__ import annotations

import pytest
from pydantic import Field

from silmm.contracts.options import Options
from silmm.errors import PluginError, UsageError
from silmm.registry.registry import COMPOSED, KIND_OF_HOOK, KINDS, Registry

ONLY = "SILMM_LOAD_PLUGINS"


def plugin(kind: str, *registrations: str) -> str:
    """Write a plugin module that makes the registrations by one hook."""
    lines = [f"    register({registration})" for registration in registrations]
    head = (
        "from silmm import hookimpl\nfrom silmm.contracts.options import Options\n"
        "class Opt(Options):\n    top_p: float = 0.9\n"
        "@hookimpl\n"
    )
    return f"{head}def silmm_register_{kind}(register):\n" + "\n".join(lines)


def test_an_unknown_name_gets_a_suggestion_and_the_list(fake_distribution):
    """A misspelt sampler is answered with the nearest name and with all names."""
    source = plugin("samplers", "'nucleus', print, summary='N.'", "'dropdiv', print, summary='D.'")
    fake_distribution("one", {"one": "reg_one"}, {"reg_one": source})
    registry = Registry.load({ONLY: "one"})
    with pytest.raises(UsageError, match=r"did you mean 'nucleus'\?.*dropdiv, nucleus"):
        registry.entry("sampler", "nuclues")


def test_a_name_that_a_broken_plugin_may_hold_shows_its_traceback(fake_distribution):
    """An unknown name that a broken plugin may hold is answered with that plugin's traceback."""
    fake_distribution("ill", {"ill": "reg_ill"}, {"reg_ill": "import not_installed_anywhere"})
    with pytest.raises(PluginError, match=r"(?s)ill 1.0.*Traceback.*not_installed_anywhere"):
        Registry.load({ONLY: "ill"}).entry("sampler", "mine")


def test_a_plugins_traceback_is_about_the_plugin(fake_distribution):
    """The shown traceback starts in the plugin's file; the import machinery is left out."""
    fake_distribution("ill", {"ill": "reg_trace"}, {"reg_trace": "x = 1\nimport not_there\n"})
    [broken] = Registry.load({ONLY: "ill"}).broken
    assert "reg_trace.py\", line 2" in broken.traceback
    assert "importlib" not in broken.traceback


def test_duplicate_names_are_refused_only_when_asked_for(fake_distribution):
    """Two distributions may share a name: both are listed, the bare name fails, dist/name works."""
    source = plugin("samplers", "'same', lambda o: __name__, summary='S.'")
    fake_distribution("one", {"one": "dup_one"}, {"dup_one": source})
    fake_distribution("two", {"two": "dup_two"}, {"dup_two": source})
    registry = Registry.load({ONLY: "one,two"})
    assert [entry.qualified for entry in registry.entries("sampler")] == ["one/same", "two/same"]
    with pytest.raises(PluginError, match=r"one 1\.0 and two 1\.0.*'one/same' or 'two/same'"):
        registry.entry("sampler", "same")
    assert registry.build("sampler", "two/same", {}) == "dup_two"


def test_factories_get_validated_options(fake_distribution):
    """Build hands the factory an instance of its own option class, made from plain data."""
    source = plugin("samplers", "'n', lambda o: o, summary='N.', options=Opt")
    fake_distribution("one", {"one": "reg_opt"}, {"reg_opt": source})
    built = Registry.load({ONLY: "one"}).build("sampler", "n", {"top_p": 0.5})
    assert (type(built).__name__, built.top_p) == ("Opt", 0.5)


def test_parts_reach_only_the_factories_that_need_them(fake_distribution):
    """A kernel goes to a trainer that needs one and is refused for any other."""
    source = plugin(
        "trainers",
        "'kc', lambda o, kernel: kernel, summary='K.', needs=('kernel',)",
        "'dpo', lambda o: 'plain', summary='D.'",
    )
    fake_distribution("one", {"one": "reg_parts"}, {"reg_parts": source})
    registry = Registry.load({ONLY: "one"})
    assert registry.build("trainer", "kc", {}, kernel="chamfer") == "chamfer"
    with pytest.raises(UsageError, match="'dpo' takes no kernel"):
        registry.build("trainer", "dpo", {}, kernel="chamfer")


INVALID = {
    "Bad Name": ("samplers", "'Bad Name', print, summary='S.'", "lower-case"),
    "twice": (
        "samplers",
        "'a', print, summary='S.')\n    register('a', print, summary='S.'",
        "registers the name twice",
    ),
    "factory": ("samplers", "'a', 3, summary='S.'", "cannot be called"),
    "summary": ("samplers", "'a', print, summary=''", "summary"),
    "capability": ("samplers", "'a', print, summary='S.', requires=('telepathy',)", "telepathy"),
    "kinds": ("samplers", "'a', print, summary='S.', kinds=('wavy',)", "'discrete' and"),
    "model without kind": ("models", "'a', print, summary='S.'", "states kind"),
    "defaults": ("samplers", "'a', print, summary='S.', defaults={'k': 1}", "only models"),
    "needs of a sampler": ("samplers", "'a', print, summary='S.', needs=('answers',)", "it may need nothing"),
    "needs of a scorer": (
        "scorers", "'a', print, summary='S.', needs=('kernel',)",
        "cannot need kernel; it may need answers, images, latents",
    ),
    "not options": ("samplers", "'a', print, summary='S.', options=dict", "not a pydantic"),
}


@pytest.mark.parametrize("case", INVALID)
def test_an_invalid_registration_breaks_its_plugin(fake_distribution, case):
    """A registration that could only fail later is refused at once, saying what is wrong."""
    hook, registration, reason = INVALID[case]
    fake_distribution("bad", {"bad": "reg_bad"}, {"reg_bad": plugin(hook, registration)})
    [broken] = Registry.load({ONLY: "bad"}).broken
    assert reason in broken.reason


def test_a_scorer_needs_answers_unless_it_says_otherwise(fake_distribution):
    """A scorer needs answers and a model that gives them, unless it is registered with `needs=()`."""
    source = plugin(
        "scorers", "'plain', print, summary='S.'", "'free', print, summary='S.', needs=()",
        "'seeing', print, summary='S.', needs=['images'], requires=['yes_no']",
    )
    fake_distribution("one", {"one": "reg_needs"}, {"reg_needs": source})
    registry = Registry.load({ONLY: "one"})
    needs = {entry.name: (set(entry.needs), set(entry.requires)) for entry in registry.entries("scorer")}
    assert needs == {
        "plain": ({"answers"}, {"yes_no"}), "free": (set(), set()), "seeing": ({"images"}, {"yes_no"}),
    }


def test_every_option_needs_a_default_and_none_is_called_name():
    """An option without default, or one that hides the TOML key `name`, cannot be registered."""
    from silmm.registry.registration import _options_problem

    class Bare(Options):
        size: int = Field(description="no default")

    class Named(Options):
        name: str = "x"

    assert _options_problem(Bare) == "options without a default: size"
    assert "'name'" in _options_problem(Named)


def test_kinds_have_one_spelling_and_a_suggestion():
    """Each hook has its kind, "pairs" in any spelling, and an unknown kind gets a suggestion."""
    registry = Registry()
    assert {*KIND_OF_HOOK.values(), COMPOSED} == {*KINDS}
    assert registry.entries("pair_rule") == registry.entries("pair-rule") == ()
    with pytest.raises(UsageError, match="did you mean 'sampler'"):
        registry.entries("samplr")
