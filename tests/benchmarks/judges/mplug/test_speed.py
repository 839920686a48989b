"""The timing of mPLUG compares like with like."""

import pytest
from silmm_benchmarks.judges.mplug.config import BertSizes, MPlugConfig

from benchmarks.perf import measure, mplug_speed

SMALL = MPlugConfig(
    bert=BertSizes(
        hidden_size=16, num_attention_heads=2, intermediate_size=24, vocab_size=140,
        max_position_embeddings=30, type_vocab_size=2, encoder_width=16, text_encoder_layers=1,
        num_hidden_layers=2, fusion_layers=2, stride_layer=1, text_decode_layers=2,
    ),
    image_res=28, vision_width=64, clip_vision_width=64, clip_vision_layers=1,
)


@pytest.mark.parametrize("case", mplug_speed.LEANINGS)
def test_all_ways_give_the_same_answers(case):
    """Together, one by one, and without a memory: the comparison would refuse other answers."""
    row = mplug_speed.compare(SMALL, case, (2, 3), repeats=1)
    assert row.items == 5
    assert set(row.seconds) == set(mplug_speed.WAYS)


def test_the_cases_are_what_they_are_called():
    """Answers have one word, or ten tokens."""
    asked = mplug_speed.questions(SMALL, (4,))
    lengths = [
        {len(beam.tokens) for beam in mplug_speed.together(mplug_speed.random_model(SMALL, lean), asked)}
        for lean in mplug_speed.LEANINGS.values()
    ]
    assert lengths == [{3}, {11}]


def test_other_answers_are_refused(monkeypatch):
    """A way that answers otherwise has no time to be compared."""
    ways = mplug_speed.WAYS | {"silent": lambda model, asked: []}
    monkeypatch.setattr(mplug_speed, "WAYS", ways)
    with pytest.raises(RuntimeError, match="'silent' answers otherwise"):
        mplug_speed.compare(SMALL, next(iter(mplug_speed.LEANINGS)), (1,), repeats=1)
    assert measure.OURS in ways
