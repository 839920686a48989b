"""`silmm doctor`: what it finds, and its exit code."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from silmm_cli import doctor as module
from silmm_cli import main

PLUGIN = """
from silmm import hookimpl

def sound():
    return "weights verified"

def torn():
    raise ValueError("sha256 differs")

@hookimpl
def silmm_register_models(register):
    register("toy", print, summary="A toy.", kind="discrete", check={check})
"""


@pytest.fixture
def doctor(fake_distribution, monkeypatch):
    def run(check="sound", *arguments):
        source = PLUGIN.replace("{check}", check)
        fake_distribution("ward", {"ward": "ward_plugin"}, {"ward_plugin": source})
        monkeypatch.setenv("SILMM_LOAD_PLUGINS", "ward")
        return CliRunner().invoke(main, ["doctor", *arguments])

    return run


def test_a_sound_installation_passes(doctor):
    """With all packages, plugins and weights in order the exit code is 0 and JSON says ok."""
    result = doctor("sound", "--json")
    data = json.loads(result.stdout)
    assert (result.exit_code, data["ok"]) == (0, True)
    actual = {check["name"]: check for check in data["checks"]}
    assert actual["model toy"]["detail"] == "weights verified"
    assert {"python", "torch", "transformers", "peft", "cpu", "gpu", "disk"} <= set(actual)


def test_weights_that_do_not_verify_fail(doctor):
    """A model whose files are damaged is named, and the exit code is 1."""
    result = doctor("torn")
    assert result.exit_code == 1
    line = next(line for line in result.stdout.splitlines() if "model toy" in line)
    assert line.startswith("fail")
    assert "sha256 differs" in line


def test_a_broken_plugin_fails_with_its_reason(fake_distribution, monkeypatch):
    """A broken plugin is a finding of its own with what to do about it."""
    fake_distribution("ill", {"ill": "ill_doctor"}, {"ill_doctor": "import nowhere_at_all"})
    monkeypatch.setenv("SILMM_LOAD_PLUGINS", "ill")
    result = CliRunner().invoke(main, ["doctor"])
    assert result.exit_code == 1
    assert "nowhere_at_all" in result.stdout
    assert "SILMM_LOAD_PLUGINS" in result.stdout


def test_missing_packages_are_found(monkeypatch):
    """A required package that is absent fails with the command to get it; spaCy only warns."""
    assert module._package("surely-not-installed-anywhere").state == "fail"
    monkeypatch.setattr(module, "ENGLISH_MODELS", ("no_such_english_model",))
    finding = module._spacy()
    assert finding.state == "warn"
    assert "pip install" in finding.hint


def test_little_disk_space_is_a_warning(monkeypatch, tmp_path):
    """Less free space than a run may need is said, and does not fail."""
    monkeypatch.setattr(module, "LOW_DISK_GB", 1e9)
    assert module._disk(tmp_path).state == "warn"
