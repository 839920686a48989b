"""Seeds come from content alone (promise 3)."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from silmm.seeds import derive

PARTS = st.lists(st.one_of(st.text(max_size=8), st.integers(-5, 5)), max_size=4)


def test_a_seed_is_fixed_for_ever():
    """The seed of a unit of work is the same in every release: stored runs depend on it."""
    assert derive(0, "iteration", 1, "sample", "a red circle", 0) == 9207043368927657256


@given(PARTS, PARTS)
def test_other_parts_give_another_seed(first, second):
    """Two different lists of parts never share a seed, however their texts would join."""
    assert (derive(1, *first) == derive(1, *second)) == (first == second)


@given(st.integers(0, 2**31), PARTS)
def test_a_seed_fits_a_signed_column(run_seed, parts):
    """A seed is a non-negative int64."""
    assert 0 <= derive(run_seed, *parts) < 2**63


def test_a_number_is_not_its_text():
    """The part 1 and the part "1" are different units of work."""
    assert derive(0, 1) != derive(0, "1")
