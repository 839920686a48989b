"""What the judge says of a run's own candidates: how good the feedback is, how much they differ."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pyarrow as pa
import pytest
from silmm_benchmarks.shapes.evaluation.self_feedback import JudgedCandidate, facts_that_differ, self_feedback
from silmm_benchmarks.shapes.exact_judge import ExactJudge
from silmm_benchmarks.shapes.language import parse_caption
from silmm_benchmarks.shapes.scene_sampling import sample_scene
from silmm_benchmarks.shapes.world import render

from silmm.contracts.candidates import Prompt
from silmm.contracts.records import CANDIDATES, SCORES, prompt_id
from silmm.storage.shards import Shards
from silmm.storage.tables import encode_png, prompt_table


def candidates_run(folder, scores, iteration=1):
    """Write an iteration of a run: one prompt, right and black images in turn."""
    text = "a red circle and a blue square"
    identity = prompt_id(text)
    scene = sample_scene(np.random.default_rng(0), parse_caption(text))
    images = [render(scene), np.zeros((32, 32, 3), np.uint8)] * (len(scores) // 2)
    tables = {
        "prompts": prompt_table([Prompt(text, "color"), Prompt("colorless green ideas", "color")]),
        "candidates": pa.Table.from_pylist(
            [
                {"prompt_id": identity, "candidate": i, "seed": i, "image": encode_png(image)}
                for i, image in enumerate(images)
            ],
            schema=CANDIDATES,
        ),
        "scores": pa.Table.from_pylist(
            [
                {
                    "prompt_id": identity,
                    "candidate": i,
                    "score": score,
                    "status": "non-finite" if score is None else "ok",
                }
                for i, score in enumerate(scores)
            ],
            schema=SCORES,
        ),
    }
    for name, table in tables.items():
        Shards(folder / f"iter-{iteration}" / name, 1).commit(0, table)


def test_self_feedback_is_measured_against_the_judge(tmp_path):
    """Scores that agree with the judge but once have that AUC; unscored images are left out."""
    candidates_run(tmp_path, [0.9, -0.5, 0.1, 0.3, 0.8, None])
    figures = self_feedback(tmp_path, ExactJudge(), tmp_path / "eval")
    assert figures["auc"] == pytest.approx(5 / 6)
    assert figures["auc_within_prompt"] == pytest.approx(5 / 6)
    assert (figures["feedback_images"], figures["feedback_left_out"]) == (5, 1)
    assert figures["candidates_facts_best_by_own_score"] == 1.0
    assert figures["candidates_facts_mean"] == pytest.approx(3 / 5)


def test_no_scores_no_feedback_figure(tmp_path):
    """Offline training has no scores, and then no AUC is made up."""
    assert self_feedback(tmp_path, ExactJudge(), tmp_path / "eval") == {}


def test_facts_that_differ_is_the_mean_over_pairs_of_candidates():
    """The figure equals the share of differing facts pair by pair, each prompt counting once."""
    rng = np.random.default_rng(0)
    judged, expected = [], []
    for prompt, (candidates, facts) in enumerate([(5, 3), (2, 7), (1, 4)]):
        verdicts = rng.random((candidates, facts)) < 0.5
        judged += [JudgedCandidate(str(prompt), c, row) for c, row in enumerate(verdicts)]
        expected += [[np.mean(a != b) for a, b in combinations(verdicts, 2)]]
    assert facts_that_differ(judged) == pytest.approx(np.mean([np.mean(e) for e in expected if e]))
    assert facts_that_differ(judged[-1:]) is None


def test_each_iteration_has_its_own_diversity(tmp_path):
    """All judged candidates count, scored or not; each iteration has its figure, and the files are kept."""
    candidates_run(tmp_path, [0.9, -0.5, 0.1, None])
    candidates_run(tmp_path, [0.9, -0.5], iteration=2)
    work = tmp_path / "eval"
    figures = self_feedback(tmp_path, ExactJudge(), work)
    assert figures["candidates_facts_differ_1"] == pytest.approx(4 / 6)  # 2 of 4 right: 4 of 6 pairs
    assert figures["candidates_facts_differ_2"] == 1.0
    assert figures["feedback_images"] == 3  # of the first iteration alone
    assert len(list(work.glob("feedback-*.json"))) == 2

    class Gone(ExactJudge):
        def facts(self, images, specs):
            raise AssertionError("judged again")

    assert self_feedback(tmp_path, Gone(), work) == figures
