"""Judges come through the hooks, cost nothing until built, and say what they are for."""

from __future__ import annotations

import pytest
from silmm_benchmarks.judges.weight_files import WEIGHTS

from silmm.registry.registry import Registry

OURS = {*WEIGHTS, "base-model"}


def test_every_judge_of_an_open_library_is_registered():
    """Each judge with a home of weights is an entry of kind judge with a one-line summary."""
    entries = {entry.name: entry for entry in Registry.load().entries("judge")}
    assert set(entries) >= OURS
    for name in OURS:
        official = any(word in entries[name].summary for word in ("official", "TIFA's models"))
        assert official, name


@pytest.mark.parametrize("name", sorted(OURS - {"base-model", "mask2former", "mpnet-match"}))
def test_every_judge_has_the_common_options(name):
    """Weights, device, precision and batch size can be set for each."""
    fields = Registry.load().entry("judge", name).options.model_fields
    assert {"weights", "device", "dtype", "batch"} <= set(fields)


def test_listing_judges_imports_nothing_heavy(silmm_process):
    """Loading the registry imports neither torch nor transformers, Pillow or open_clip."""
    code = (
        "import sys; from silmm.registry.registry import Registry; Registry.load().entries('judge'); "
        "heavy = {'torch', 'transformers', 'PIL', 'open_clip', 'torchvision'} & set(sys.modules); "
        "assert not heavy, heavy"
    )
    done = silmm_process("-c", code)
    assert done.returncode == 0, done.stderr
