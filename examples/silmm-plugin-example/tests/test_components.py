"""The sampler and the distance keep their contracts."""

from __future__ import annotations

import pytest
from silmm_plugin_example.distance import mean_absolute_difference
from silmm_plugin_example.model import RandomModel
from silmm_plugin_example.sampler import Spread

from silmm import Registry
from silmm.testing import Cases, check_distance, check_sampler

CASES = Cases(["a red circle", "a blue square and a dog"], [["Is it red?"], []])


def test_the_sampler_keeps_its_contract() -> None:
    """A candidate is its prompt's and its seed's alone, and seeds sample differently."""
    check_sampler(Spread(0.7, 1.3), RandomModel(), CASES)


@pytest.mark.filterwarnings("error")
def test_the_distance_keeps_its_contract() -> None:
    """0 at equality, above 0 elsewhere, symmetric, with finite gradients."""
    check_distance(mean_absolute_difference)


def test_the_distance_makes_kernels() -> None:
    """With silmm's own aggregations the installed distance is a kernel by name."""
    check_distance(Registry.load().build("kernel", "avgpool-plugin-example-l1", {}))
