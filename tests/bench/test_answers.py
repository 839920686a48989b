"""Stored answers survive kills and come back as they were, or not at all."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from silmm.bench.judging.answer_codec import Failure, from_stored, to_stored
from silmm.bench.judging.answer_store import AnswerStore
from silmm.contracts.judges import Detections
from silmm.errors import DataError


def again(store):
    return AnswerStore(store.folder).load()


@settings(deadline=None)  # the first call imports what the others do not
@given(rows=st.lists(st.tuples(st.text(), st.text(), st.one_of(st.text(), st.floats(allow_nan=False,
       allow_infinity=False))), max_size=5))
def test_what_is_committed_is_read_again(tmp_path_factory, rows):
    """Any texts and numbers, line separators of all alphabets included, come back from the disk."""
    store = AnswerStore(tmp_path_factory.mktemp("store"))
    store.commit(((one, two), value) for one, two, value in rows)
    kept = {(one, two): value for one, two, value in rows}
    assert dict(again(store).items()) == kept


def test_parts_are_named_by_content(tmp_path):
    """The same answers make the same file, so two machines' stores are merged by copying."""
    one, two = AnswerStore(tmp_path / "one"), AnswerStore(tmp_path / "two")
    for store in (one, two):
        store.commit([(("a", "q"), 1.5)])
    one.commit([(("b", "q"), 2.5)])
    for path in one.folder.iterdir():
        (two.folder / path.name).write_bytes(path.read_bytes())
    assert dict(again(two).items()) == {("a", "q"): 1.5, ("b", "q"): 2.5}
    assert len(list(two.folder.iterdir())) == 2


@pytest.mark.parametrize("damage", [lambda data: data[:-3], lambda data: data + b"x", lambda data: b""])
def test_a_damaged_part_is_named(tmp_path, damage):
    """A part whose bytes are not those of its name stops with the file and the way out."""
    store = AnswerStore(tmp_path)
    store.commit([(("a", "q"), "yes")])
    (path,) = tmp_path.glob("part-*")
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError, match=rf"{path.name} is damaged.*Delete this file"):
        again(store)


def test_half_written_parts_do_not_count(tmp_path):
    """What a killed process left under a temporary name is not read."""
    store = AnswerStore(tmp_path)
    store.commit([(("a", "q"), "yes")])
    (tmp_path / ".tmp-part-00.jsonl-1-00000000").write_bytes(b'["b","q"')
    assert len(again(store)) == 1


def test_detections_come_back_bit_for_bit(tmp_path):
    """Labels, float32 scores and boxes and the frame are stored without loss."""
    rng = np.random.default_rng(0)
    found = Detections(
        ("dog", "чашка"), rng.random(2, dtype=np.float32),
        rng.random((2, 4), dtype=np.float32) * 479, (479, 512),
    )
    store = AnswerStore(tmp_path)
    store.commit([(("a", "null"), to_stored(found, store))])
    back = from_stored(again(store)["a", "null"], store)
    assert (back.labels, back.frame) == (found.labels, found.frame)
    assert back.scores.dtype == back.boxes.dtype == np.float32
    assert np.array_equal(back.scores, found.scores)
    assert np.array_equal(back.boxes, found.boxes)


def test_nothing_found_is_an_answer(tmp_path):
    """An image without detections comes back as one, with boxes of the right shape."""
    empty = Detections((), np.empty(0, np.float32), np.empty((0, 4), np.float32), (8, 8))
    back = from_stored(to_stored(empty, AnswerStore(tmp_path)), AnswerStore(tmp_path))
    assert (back.labels, back.boxes.shape) == ((), (0, 4))


def test_a_depth_map_is_kept_apart_and_checked(tmp_path):
    """A map comes back pixel for pixel from its own file; a damaged file is told."""
    store = AnswerStore(tmp_path)
    depth = np.arange(48, dtype=np.uint8).reshape(6, 8)
    stored = to_stored(depth, store)
    assert np.array_equal(from_stored(stored, store), depth)
    path = tmp_path / "blobs" / stored["blob"]
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError, match="damaged"):
        from_stored(stored, store)


@pytest.mark.parametrize("answer", [
    math.nan, math.inf, -math.inf, np.zeros((2, 2), np.float32), np.zeros((2, 2, 3), np.uint8),
    Detections(("a",), np.array([np.nan], np.float32), np.zeros((1, 4), np.float32), (8, 8)),
    Detections(("a",), np.ones(1, np.float32), np.full((1, 4), np.inf, np.float32), (8, 8)),
], ids=["nan", "inf", "-inf", "float map", "colour map", "nan score", "infinite box"])
def test_what_is_not_finite_is_a_failure_with_its_reason(tmp_path, answer):
    """No such answer becomes a number; what is stored says why."""
    back = from_stored(to_stored(answer, AnswerStore(tmp_path)), AnswerStore(tmp_path))
    assert isinstance(back, Failure)
    assert back.reason
