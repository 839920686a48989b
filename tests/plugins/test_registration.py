"""Promises of the built-ins' registration: light, complete, and every option says where it is from."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import silmm_plugins
from silmm_plugins.models import registration
from silmm_plugins.models.tiny import options as tiny_options
from silmm_plugins.models.tiny_discrete import options as tiny_discrete

from silmm.contracts.options import NoOptions, describe
from silmm.contracts.registration import Lazy, lazy
from silmm.engine.capabilities import check
from silmm.engine.settings import RunSettings
from silmm.engine.settings_resolution import resolve_settings
from silmm.errors import UsageError
from silmm.registry.registry import KINDS as KINDS_OF_REGISTRY
from silmm.registry.registry import Registry

KINDS = ("prompters", "samplers", "questioners", "scorers", "pair_rules", "trainers")


def registered() -> dict[str, dict[str, Any]]:
    """Return what the registration hooks of the method's components hand to `register`."""
    actual: dict[str, dict[str, Any]] = {}

    def register(name: str, factory: object, **rest: Any) -> None:
        actual[name] = {"factory": factory, **rest}

    for kind in KINDS:
        getattr(silmm_plugins, f"silmm_register_{kind}")(register)
    return actual


def test_the_papers_variants_are_there() -> None:
    """Every name of the method's table, and what newer methods brought, is registered, with help and its source."""
    actual = registered()
    assert set(actual) == {
        *("self", "file", "nucleus", "self-q", "phrase-q", "prompt-q"),
        *("dropdiv", "noisy-dreamemb", "rephrase", "explain"),
        *("diff-of-prob", "ratio-of-yes", "random", "vqascore", "vqascore-dual", "reward-model"),
        *("top-last", "margin"),
        *("dpo", "kc-dpo", "c-dpo", "mc-dpo", "sft", "simpo", "ipo", "grpo"),
    }
    assert all(entry["summary"] and entry["paper"] for entry in actual.values())


def test_every_option_has_help_and_its_place_in_the_paper() -> None:
    """`silmm plugins show` can tell of each option what it does and where its value comes from."""
    for name, entry in registered().items():
        if "options" in entry:
            for option in describe(entry["options"]):
                assert option.description, (name, option.name)
                assert option.paper, (name, option.name)


def test_every_preset_of_a_built_in_model_names_a_registered_components_option() -> None:
    """A renamed component or option cannot leave a preset behind that nobody reads."""
    registry = Registry.load({"SILMM_LOAD_PLUGINS": "silmm"})
    components = [key for model in registry.entries("model") for key in model.defaults if "." in key]
    for key in components:
        component, _, option = key.rpartition(".")
        kind, _, name = component.partition("/")
        assert option in registry.entry(kind, name).options.model_fields, key
    assert components


def test_the_embedded_model_states_the_revision_of_its_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The revision of `tiny-discrete` is the hash of its weights' hashes, and empty without weights."""
    monkeypatch.setattr(tiny_discrete, "WEIGHTS", tmp_path)

    def revision() -> object:
        registered: dict[str, Any] = {}
        registration.register_models(lambda name, factory, **rest: registered.update({name: rest}))
        return registered["tiny-discrete"]["revision"]

    assert revision() == ""
    (tmp_path / "sha256.json").write_text("{}")
    assert revision() == hashlib.sha256(b"{}").hexdigest()


def test_registering_imports_nothing_heavy() -> None:
    """Listing the built-ins needs neither torch nor transformers, peft, accelerate or spaCy."""
    program = (
        "import sys; from tests.plugins.test_registration import registered; registered(); "
        "print([m for m in ('torch', 'transformers', 'peft', 'accelerate', 'spacy') "
        "if m in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert result.stdout.strip() == "[]"


def test_each_factory_builds_from_the_defaults() -> None:
    """Default options build every component but those that need spaCy, which may be missing, or a checkpoint."""
    for name, entry in registered().items():
        if name not in ("phrase-q", "reward-model"):
            assert entry["factory"](entry.get("options", NoOptions)()) is not None


def test_every_lazy_factory_names_something_that_exists() -> None:
    """No plugin of this repository registers a module or an attribute that is not there."""
    registry = Registry.load()
    factories = [f for kind in KINDS_OF_REGISTRY for e in registry.entries(kind) for f in (e.factory, e.probe)]
    targets = [factory for factory in factories if isinstance(factory, Lazy)]
    assert len(targets) > 20
    assert all(callable(factory.resolve()) for factory in targets)


def test_a_lazy_factory_hands_on_arguments_options_and_parts() -> None:
    """Its own arguments come first, then the options, which a component without options does not get."""
    options = tiny_options.TinyOptions()
    assert lazy("builtins:dict", {"a": 1})(NoOptions(), kernel="k") == {"a": 1, "kernel": "k"}
    assert lazy("builtins:tuple.__add__", (1,))((options,)) == (1, options)


def test_sft_takes_a_kernel_with_continuous_models_alone() -> None:
    """One name for both kinds: a kernel beside a discrete model is refused before anything is loaded."""
    registry = Registry.load({"SILMM_LOAD_PLUGINS": "silmm"})

    def attempt(**flags: str) -> RunSettings:
        settings = resolve_settings(registry, flags={"trainer": "sft", "benchmark": "none", **flags})
        check(registry, settings)
        return settings

    assert attempt(model="tiny-discrete").kernel is None
    with pytest.raises(UsageError, match="--kernel avgpool-cos cannot work with --model tiny-discrete"):
        attempt(model="tiny-discrete", kernel="avgpool-cos")
