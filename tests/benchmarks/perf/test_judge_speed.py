"""The comparisons of judges' speed compare like with like, and say so where they do not."""

import numpy as np
import pytest
import torch
from silmm_benchmarks.judges.mask2former import judge as mask2former_judge
from silmm_benchmarks.judges.mask2former.inputs import prepared
from silmm_benchmarks.judges.mask2former.network import Sizes

from benchmarks.perf import blip_vqa_speed, blip_workload, geneval_speed, tifa_answers_speed, unidet_pooling
from silmm.contracts.judges import Question


def test_all_ways_of_asking_blip_answer_alike():
    """Once, again and in eight passes, the probabilities are equal, or the comparison would refuse."""
    with blip_workload.random_judge(hidden=24, layers=1, heads=3) as judge:
        row = blip_vqa_speed.compare(judge, n_images=2, phrases=3, repeats=1)
    assert row.items == 2
    assert set(row.seconds) == set(blip_vqa_speed.WAYS)


def test_the_official_way_encodes_each_image_eight_times():
    """Two phrases cost eight passes there and one here, empty questions included."""
    with blip_workload.random_judge(hidden=24, layers=1, heads=3) as judge:
        calls = []
        judge._parts.vision.register_forward_hook(lambda *_: calls.append(1))
        images, asked = blip_workload.images(1), blip_workload.questions(2)
        blip_vqa_speed.official(judge, images, asked)
        official = len(calls)
        blip_vqa_speed.once(judge, images, asked)
    assert (official, len(calls) - official) == (8, 1)


def test_other_answers_are_refused(monkeypatch):
    """A way that answers otherwise is not timed."""
    monkeypatch.setitem(blip_vqa_speed.WAYS, "wrong", lambda *work: blip_vqa_speed.once(*work) + 0.01)
    with blip_workload.random_judge(hidden=24, layers=1, heads=3) as judge, pytest.raises(
        RuntimeError, match="'wrong' answers otherwise"
    ):
        blip_vqa_speed.compare(judge, n_images=1, phrases=2, repeats=1)


def test_both_ways_of_asking_for_words_answer_alike():
    """Free answers are the same words once and again; every answer is timed to its end."""
    with tifa_answers_speed.random_judge(hidden=24, layers=1, heads=3, image=32) as judge:
        row = tifa_answers_speed.compare(judge, n_images=2, count=3, repeats=1)
        words = judge.answer(blip_workload.images(1), [[Question("a dog?")]])
    assert row.items == 6
    assert set(row.seconds) == set(tifa_answers_speed.WAYS)
    assert len(words[0]) == 1


def test_all_ways_of_pooling_pool_alike():
    """Two matrices, one box at a time, and a compiled operator where there is one give the same numbers."""
    row = unidet_pooling.compare(1, (16, 60), count=60, channels=3)
    assert row.items == 60
    assert {"ours", "ours, 60 at once", "one by one, grid_sample"} <= set(row.seconds)


def test_another_way_of_pooling_is_refused(monkeypatch):
    """A way that pools something else is not timed."""
    right = unidet_pooling.one_by_one
    monkeypatch.setattr(unidet_pooling, "one_by_one", lambda *work: right(*work) + 0.01)
    with pytest.raises(RuntimeError, match="pools something else"):
        unidet_pooling.compare(1, (16,), count=20, channels=3)


_TINY = Sizes(
    swin_width=16, swin_depths=(2, 2, 2, 2), swin_heads=(1, 2, 4, 8), width=32, encoder_layers=1, encoder_hidden=32,
    decoder_layers=3, decoder_hidden=32, queries=20,
)  # fmt: skip


def test_both_ways_of_genevals_judges_find_the_same(monkeypatch):
    """Objects, scores and colours of ours and of the official loop are equal, with and without an asked colour."""
    monkeypatch.setattr(geneval_speed, "prepared", _small_input)
    monkeypatch.setattr(mask2former_judge, "prepared", _small_input)
    row = geneval_speed.compare("tiny", _TINY, "ViT-B-32-quickgelu", n_images=2, side=96, repeats=1)
    assert row.items == 2
    images = geneval_speed.noise_images(1, 96)
    network = geneval_speed.random_network(_TINY, images[0])
    assert len(mask2former_judge.Mask2FormerJudge(network, torch.device("cpu"), {}).detect(images)[0].scores)


def test_other_objects_are_refused(monkeypatch):
    """A way that finds something else is not timed."""
    monkeypatch.setattr(geneval_speed, "prepared", _small_input)
    monkeypatch.setattr(mask2former_judge, "prepared", _small_input)
    monkeypatch.setattr(geneval_speed, "official", lambda *_: [([], np.zeros(0), np.zeros((0, 4)), [])])
    with pytest.raises(RuntimeError, match="other objects or colours"):
        geneval_speed.compare("tiny", _TINY, "ViT-B-32-quickgelu", n_images=1, side=96, repeats=1)


def _small_input(image):
    return prepared(image, long_side=333, short_side=160)
