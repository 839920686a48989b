"""`dreamllm` beside the embedded models: never chosen unasked, and its settings when it is asked for."""

from __future__ import annotations

import pytest

from silmm.engine.settings_resolution import resolve_settings
from silmm.errors import UsageError
from silmm.registry.registry import Registry
from tests.plugins.models.dreamllm.conftest import load


def test_a_model_that_needs_a_checkpoint_is_not_chosen_unasked():
    """With a sampler of continuous models named, the embedded one runs, not the first by name."""
    registry = Registry.load()
    assert resolve_settings(registry, flags={"sampler": "dropdiv"}).model == "tiny-continuous"


def test_named_it_runs_with_the_papers_choices(written):
    """DropDiv candidates, KC-DPO and the kernel avgpool-cos are what `--model dreamllm` means."""
    sets = [f"model.path={written}"]
    settings = resolve_settings(Registry.load(), flags={"model": "dreamllm"}, sets=sets)
    assert (settings.sampler, settings.trainer, settings.kernel) == ("dropdiv", "kc-dpo", "avgpool-cos")
    assert settings.options["trainer"]["max_steps"] == 2000
    assert settings.options["model"]["path"] == str(written)


def test_without_a_path_it_says_what_to_give():
    """No path is a wrong option, not a missing file."""
    with pytest.raises(UsageError, match=r"model\.path=DIR"):
        load("")  # type: ignore[arg-type]


def test_a_device_that_is_not_there_is_refused(written):
    """An unknown device is named before any weight is read."""
    with pytest.raises(UsageError, match="dreamllm cannot use the device 'nonsense'"):
        load(written, device="nonsense")
