"""All plugins load in the same way, and a broken one harms no other."""

from __future__ import annotations

from pathlib import Path

import pytest

from silmm.errors import UsageError
from silmm.registry import discovery as plugins
from silmm.registry.observers import Observers, ObserverWarning
from silmm.registry.registry import KINDS, Registry

GOOD = """
from silmm import hookimpl

@hookimpl
def silmm_register_samplers(register):
    register("good", lambda options: "a sampler", summary="A good sampler.")
"""
ONLY = "SILMM_LOAD_PLUGINS"


def names(registry: Registry, kind: str = "sampler") -> list[str]:
    return [entry.name for entry in registry.entries(kind)]


def test_a_foreign_plugin_joins_by_its_entry_point(fake_distribution):
    """A package of somebody else adds a component, and the entry names its distribution."""
    fake_distribution("foreign", {"f": "foreign_good"}, {"foreign_good": GOOD}, version="2.5")
    entry = Registry.load({ONLY: "foreign"}).entry("sampler", "good")
    assert (entry.distribution, entry.version) == ("foreign", "2.5")
    assert entry.factory(entry.options()) == "a sampler"


def test_builtins_have_no_door_of_their_own(fake_distribution):
    """With an empty SILMM_LOAD_PLUGINS no component is registered, not even a built-in one."""
    fake_distribution("foreign", {"f": "foreign_good"}, {"foreign_good": GOOD})
    registry = Registry.load({ONLY: ""})
    assert {kind: registry.entries(kind) for kind in KINDS} == dict.fromkeys(KINDS, ())
    assert registry.loaded == registry.broken == ()


def test_builtins_load_under_any_distribution(fake_distribution):
    """The built-ins work under any distribution's entry point."""
    fake_distribution("stranger", {"theirs": "silmm_plugins"})
    registry = Registry.load({ONLY: "theirs"})
    assert registry.broken == ()
    assert {"nucleus"} <= set(names(registry))
    assert {entry.distribution for entry in registry.entries("sampler")} == {"stranger"}


BROKEN = {
    "import": ("raise ImportError('no such library')", "ImportError: no such library"),
    "exit": ("import sys; sys.exit(3)", "SystemExit: 3"),
    "syntax": ("def (:", "SyntaxError"),
    "version": ("SILMM_PLUGIN_API = 99", "written for plugin API 99"),
    "unknown hook": (
        "from silmm import hookimpl\n@hookimpl\ndef silmm_register_smaplers(register): ...",
        "did you mean 'silmm_register_samplers'",
    ),
    "unmarked hook": ("def silmm_register_samplers(register): ...", "put @silmm.hookimpl above"),
    "wrong argument": (
        "from silmm import hookimpl\n@hookimpl\ndef silmm_register_samplers(registrar): ...",
        "PluginValidationError",
    ),
    "raises": (
        "from silmm import hookimpl\n@hookimpl\ndef silmm_register_models(register):\n"
        "    raise RuntimeError('half-way')",
        "RuntimeError: half-way",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_plugin_stops_nobody(fake_distribution, case):
    """However a plugin breaks, other plugins work, and its traceback is kept."""
    source, reason = BROKEN[case]
    fake_distribution("aa-bad", {"bad": "bad_one"}, {"bad_one": source})
    fake_distribution("zz-good", {"good": "good_one"}, {"good_one": GOOD})
    registry = Registry.load({ONLY: "bad,good"})
    assert names(registry) == ["good"]
    [broken] = registry.broken
    assert broken.origin.distribution == "aa-bad"
    assert reason in broken.reason
    assert "Traceback" in broken.traceback or "Error" in broken.traceback


def test_a_plugin_that_fails_half_way_leaves_nothing(fake_distribution):
    """A plugin that fails while it registers leaves no component and no observer."""
    source = GOOD + """
@hookimpl
def silmm_run_finished(run):
    raise AssertionError("must never be called")

@hookimpl
def silmm_register_trainers(register):
    register("fine", print, summary="Fine.")
    raise ValueError("too late")
"""
    fake_distribution("half", {"half": "half_one"}, {"half_one": source})
    registry = Registry.load({ONLY: "half"})
    assert names(registry) == names(registry, "trainer") == []
    registry.observers().run_finished(Path("anywhere"))


def test_strict_mode_raises_the_plugins_own_error(fake_distribution):
    """SILMM_STRICT_PLUGINS=1 shows the plugin's author the original exception."""
    fake_distribution("bad", {"bad": "bad_two"}, {"bad_two": "raise KeyError('mine')"})
    with pytest.raises(KeyError, match="mine"):
        Registry.load({ONLY: "bad", "SILMM_STRICT_PLUGINS": "1"})


def test_a_selection_that_is_not_installed_is_an_error(fake_distribution):
    """An unknown distribution in SILMM_LOAD_PLUGINS is an error."""
    fake_distribution("foreign", {"f": "foreign_three"}, {"foreign_three": GOOD})
    with pytest.raises(UsageError, match=r"'foregn'.*did you mean 'foreign'"):
        Registry.load({ONLY: "foregn"})


def test_one_module_behind_two_entry_points_registers_once(fake_distribution):
    """The second entry point of the same module is reported instead of doubling every name."""
    fake_distribution("twice", {"a": "twice_one", "b": "twice_one"}, {"twice_one": GOOD})
    registry = Registry.load({ONLY: "twice"})
    assert names(registry) == ["good"]
    assert "already loaded" in registry.broken[0].reason


def test_distribution_names_match_as_package_indexes_do(fake_distribution):
    """`My_Plugin` in SILMM_LOAD_PLUGINS picks the distribution my-plugin."""
    fake_distribution("my-plugin", {"mine": "mine_one"}, {"mine_one": GOOD})
    assert names(Registry.load({ONLY: "My_Plugin"})) == ["good"]


def test_hook_names_are_those_of_the_specification():
    """The loader's list of hooks is the one that pluggy knows."""
    relay = plugins.new_manager().hook
    assert set(plugins.HOOKS) == {name for name in vars(relay) if not name.startswith("_")}


class Careless:
    """An observer that fails at every step."""

    def __init__(self) -> None:
        self.calls = 0

    def silmm_train_step(self, step, metrics):
        self.calls += 1
        raise ZeroDivisionError("by zero")


class Careful:
    """An observer that keeps the steps it receives."""

    def __init__(self) -> None:
        self.steps: list[tuple[object, ...]] = []

    def silmm_train_step(self, run, iteration, step, metrics):
        self.steps.append((run, iteration, step, metrics))


def test_an_observer_that_raises_is_reported_once_and_stops_nothing():
    """A failing observer gives one warning, and other observers receive every step."""
    careless, careful = Careless(), Careful()
    observers = Observers(extra=[careless, careful])
    with pytest.warns(ObserverWarning, match=r"Careless.*by zero") as caught:
        for step in (1, 2, 3):
            observers.train_step(Path("r"), 1, step, {"loss": 0.5})
    assert len(caught) == 1
    assert careless.calls == 3
    assert careful.steps == [(Path("r"), 1, step, {"loss": 0.5}) for step in (1, 2, 3)]


def test_an_observing_plugin_hears_the_run(fake_distribution):
    """A plugin's marked observation hook is called with just the arguments it names."""
    source = """
from silmm import hookimpl
HEARD = []

@hookimpl
def silmm_stage_finished(stage, iteration):
    HEARD.append((iteration, stage))
"""
    fake_distribution("ears", {"ears": "ears_one"}, {"ears_one": source})
    Registry.load({ONLY: "ears"}).observers().stage_finished(Path("r"), 2, "pairs", None)
    import ears_one

    assert ears_one.HEARD == [(2, "pairs")]
