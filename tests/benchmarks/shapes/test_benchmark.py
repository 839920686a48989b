"""What the shapes benchmark promises: one protocol for both sides, exact figures, kept work."""

from __future__ import annotations

import shutil
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from silmm_benchmarks.benchmark_options import ShapesOptions
from silmm_benchmarks.shapes.benchmark import Shapes
from silmm_benchmarks.shapes.evaluation.comparison import IMAGES
from silmm_benchmarks.shapes.exact_judge import ExactJudge
from silmm_benchmarks.shapes.facts import holds, parse_question
from silmm_benchmarks.shapes.language import parse_caption
from silmm_benchmarks.shapes.scene_sampling import sample_scene
from silmm_benchmarks.shapes.shapes_judge import check_canaries
from silmm_benchmarks.shapes.splits import report_prompts
from silmm_benchmarks.shapes.world import render

from silmm.bench.evaluation import adapter_digest
from silmm.bench.planning import first_of_each
from silmm.contracts.models import BaseModel
from silmm.errors import DataError, PluginError, UsageError
from silmm.storage.json_files import read_json, to_json
from silmm.storage.shards import Shards

LIMIT = 16


class Decoder(BaseModel):
    """A sampling instrument of known skill: it renders the prompt's scene or a black canvas.

    An adapter folder holds its skill as text; the chance that an image is right is that number.
    """

    kind = "discrete"
    capabilities = frozenset({"yes_no"})

    def __init__(self):
        """Sample as the base."""
        self.skill = 0.5
        self.seeds: list[int] = []
        self.loaded: list[Path | None] = []

    def chat(self, requests):
        """Refuse: the benchmark needs no text."""
        raise AssertionError("the benchmark asks for no text")

    def load_adapter(self, folder):
        """Take the skill that the folder names, or the base's."""
        self.loaded.append(folder)
        self.skill = 0.5 if folder is None else float((folder / "skill.txt").read_text())

    def represent(self, prompts, seeds, sampling):
        """Return the pixels themselves."""
        self.seeds += list(seeds)
        latents = []
        for text, seed in zip(prompts, seeds, strict=True):
            rng = np.random.default_rng(seed)
            skill = self.skill
            right = rng.random() < skill
            scene = sample_scene(rng, parse_caption(text))
            image = render(scene) if right else np.zeros((32, 32, 3), np.uint8)
            latents.append(image.reshape(-1).astype(np.int32))
        return latents

    def decode(self, latents, seeds):
        """Shape the pixels."""
        return [z.reshape(32, 32, 3).astype(np.uint8) for z in latents]

    def yes_no(self, images, questions):
        """Answer right, with probability 0.9."""
        scenes = ExactJudge().parse(np.stack(images))
        answers = []
        for scene, asked in zip(scenes, questions, strict=True):
            yes = np.array([float(holds(scene, parse_question(text))) for text in asked])
            answers.append(np.stack([0.8 * yes + 0.1, 0.9 - 0.8 * yes], axis=1))
        return answers


@pytest.fixture
def adapter(tmp_path):
    folder = tmp_path / "adapter"
    folder.mkdir()
    (folder / "skill.txt").write_text("1.0")
    return folder


def evaluate(model, adapters, work, **changes):
    options = ShapesOptions(
        **{"images": 2, "images_at_temperature_1": 1, "questions": 2, "batch_size": 8, **changes}
    )
    calls = []
    result = Shapes(options).evaluate(
        model,
        adapters,
        work=work,
        seed=3,
        limit=LIMIT,
        progress=lambda label, done, total: calls.append((label, done, total)),
    )
    return result, calls


def test_figures_are_those_of_the_images(tmp_path, adapter):
    """A decoder that gets better shows it in facts, whole images and every category, with n."""
    result, calls = evaluate(Decoder(), {"before": None, "1": adapter}, tmp_path / "run" / "eval")
    assert result.overall.n == LIMIT
    assert 0.2 < result.overall.before < 0.8
    assert result.overall.after >= 0.97
    assert result.overall.diff == pytest.approx(result.overall.after - result.overall.before)
    assert result.overall.ci_low > 0
    assert set(result.categories) == {p.category for p in report_prompts()}
    assert sum(c.n for c in result.categories.values()) == LIMIT
    whole = result.secondary["all facts correct"]
    assert whole.before == pytest.approx(result.overall.before, abs=0.1)
    assert result.secondary["VQA accuracy"].diff == 0
    assert result.secondary["VQA accuracy"].before >= 0.9
    assert result.iterations["1"] == result.overall
    assert result.partial
    assert ("evaluate before", 2 * LIMIT, 2 * LIMIT) in calls
    assert ("evaluate 1", 2 * LIMIT, 2 * LIMIT) in calls


def test_both_sides_sample_from_the_same_seeds(tmp_path, adapter):
    """Each (prompt, image) has one seed before and after, and no two images share one."""
    model = Decoder()
    evaluate(model, {"before": None, "1": adapter}, tmp_path / "eval", images_at_temperature_1=0)
    half = len(model.seeds) // 2
    assert model.seeds[:half] == model.seeds[half:]
    assert len(set(model.seeds[:half])) == half == 2 * LIMIT


def test_the_card_states_and_hashes_the_protocol(tmp_path, adapter):
    """Sampling at another top_p is another protocol with another hash; the same one has the same."""
    adapters = {"before": None, "1": adapter}
    cards = [
        evaluate(Decoder(), adapters, tmp_path / f"eval{i}", top_p=top_p)[0].protocol
        for i, top_p in enumerate((1.0, 1.0, 0.9))
    ]
    assert cards[0] == cards[1]
    assert cards[2]["top_p"] == 0.9
    assert cards[2]["sha256"] != cards[0]["sha256"]


def test_finished_work_is_not_done_again(tmp_path, adapter):
    """A second call samples nothing, loads no adapter to sample, and returns the same result."""
    adapters, work = {"before": None, "1": adapter}, tmp_path / "eval"
    first, _ = evaluate(Decoder(), adapters, work)
    again = Decoder()
    second, _ = evaluate(again, adapters, work)
    assert second == first
    assert again.seeds == []
    assert again.loaded == [None]


def test_a_kill_between_shards_costs_one_shard(tmp_path, adapter):
    """Without its last shard the next call samples that one alone, to the same bytes."""
    adapters, work = {"before": None, "1": adapter}, tmp_path / "eval"
    first, _ = evaluate(Decoder(), adapters, work, images_at_temperature_1=0)
    folder = work / read_json(work / IMAGES)["1"]
    last = Shards(folder, 4).data(3)
    content = last.read_bytes()
    Shards(folder, 4).record_path(3).unlink()
    last.unlink()
    model = Decoder()
    second, _ = evaluate(model, adapters, work, images_at_temperature_1=0)
    assert (len(model.seeds), last.read_bytes(), second) == (8, content, first)


def test_another_adapter_at_the_same_place_is_sampled_anew(tmp_path, adapter):
    """Results are kept by the adapter's content, not by its name or path."""
    adapters, work = {"before": None, "1": adapter}, tmp_path / "eval"
    before_digest = adapter_digest(adapter)
    evaluate(Decoder(), adapters, work, images_at_temperature_1=0)
    (adapter / "skill.txt").write_text("0.0")
    assert adapter_digest(adapter) != before_digest
    result, _ = evaluate(Decoder(), adapters, work, images_at_temperature_1=0)
    assert result.overall.after == 0


def test_the_last_adapter_is_the_headline_and_each_has_its_own_figure(tmp_path, adapter):
    """With several iterations "after" is the last one, and all stand against the same base."""
    worse = tmp_path / "worse"
    shutil.copytree(adapter, worse)
    (worse / "skill.txt").write_text("0.0")
    result, _ = evaluate(
        Decoder(), {"before": None, "1": worse, "2": adapter}, tmp_path / "eval", images_at_temperature_1=0
    )
    assert result.iterations["2"] == result.overall
    assert result.iterations["1"].after == 0
    assert result.iterations["1"].before == result.overall.before
    assert set(result.secondary_by_iteration) == {"VQA accuracy", "self-score (Eq. 1)"}
    for name, rounds in result.secondary_by_iteration.items():
        assert list(rounds) == ["1", "2"]
        assert rounds["2"] == result.secondary[name]
    own = result.secondary_by_iteration["self-score (Eq. 1)"]
    assert own["1"].after < own["2"].after


def test_images_of_another_size_are_refused(tmp_path, adapter):
    """A model that does not sample this world's images gets an error that says what to use."""

    class Large(Decoder):
        """Samples twice as large."""

        def decode(self, latents, seeds):
            """Double the pixels."""
            return [np.kron(z, np.ones((2, 2, 1), np.uint8)) for z in super().decode(latents, 0)]

    with pytest.raises(UsageError, match="this model samples 64x64"):
        evaluate(Large(), {"before": None, "1": adapter}, tmp_path)


class Diverged(Decoder):
    """Answers with NaN once an adapter is on: about sampled images, or about clean scenes only."""

    def __init__(self, *, sampled: bool):
        super().__init__()
        self.sampled = sampled

    def yes_no(self, images, questions):
        """Spoil the answers of the tuned model; sampled images come in batches of eight here."""
        answers = super().yes_no(images, questions)
        spoilt = self.loaded[-1] is not None and (len(images) == 8) == self.sampled
        return [a * np.nan for a in answers] if spoilt else answers


@pytest.mark.parametrize("sampled", [True, False])
def test_answers_that_are_no_numbers_are_not_scored(tmp_path, adapter, sampled):
    """NaN answers end in an error that names the adapter and what to do, and are not kept."""
    with pytest.raises(DataError, match=r"adapter.*learning_rate") as caught:
        evaluate(Diverged(sampled=sampled), {"before": None, "1": adapter}, tmp_path / "eval")
    assert f"the model with the adapter {adapter}" in str(caught.value)
    kept = tmp_path / "eval"
    assert len(list(kept.glob("answers-*.json"))) == (0 if sampled else 1)


def test_a_comparison_needs_two_sides(tmp_path):
    """Without a tuned model there is nothing to compare, and the error says so."""
    with pytest.raises(ValueError, match="compares 'before' with tuned models"):
        evaluate(Decoder(), {"before": None}, tmp_path)


def test_the_report_prompts_are_enough_and_all_excluded_from_training():
    """At least 400 held-out prompts, and `excluded` knows each of them, whatever its case."""
    benchmark = Shapes()
    prompts = report_prompts()
    assert len(prompts) >= 400
    assert all(benchmark.excluded(p.text, ()) and benchmark.excluded(p.text.upper(), ()) for p in prompts)


WALLED = """
import sys
from pathlib import Path
sys.modules["silmm_benchmarks.shapes.exact_judge"] = None  # importing it raises ImportError
from silmm.registry.registry import Registry
shapes = Registry.load().build("benchmark", "shapes", {})
print(shapes.excluded("a red cross", ()), shapes.excluded("a red circle", ()))
try:
    shapes.evaluate(None, {"before": None, "1": None}, work=Path("."), seed=0, limit=1, progress=print)
except ImportError as error:
    print(error.name)
"""


def test_what_the_loop_asks_does_not_need_the_judge(silmm_process, fake_distribution):
    """Where the judge cannot be imported, `excluded` still answers, and `evaluate` alone fails."""
    site = fake_distribution("copy", {"b": "silmm_benchmarks.plugin"})
    done = silmm_process("-c", WALLED, site=site, env={"SILMM_LOAD_PLUGINS": "copy"})
    assert done.stdout.split() == ["True", "False", "silmm_benchmarks.shapes.exact_judge"], done.stderr


def test_limit_spreads_over_categories():
    """A small limit takes prompts of every category in turn, in the order of the whole set."""
    few = first_of_each(report_prompts(), LIMIT, at_least=2)
    assert len(few) == LIMIT
    counts = {p.category: 0 for p in report_prompts()}
    for prompt in few:
        counts[prompt.category] += 1
    assert set(counts.values()) == {2}
    assert first_of_each(report_prompts(), None, at_least=2) == report_prompts()
    assert first_of_each(report_prompts(), 10_000, at_least=2) == report_prompts()


def test_the_smallest_limit_still_has_intervals(tmp_path, adapter):
    """With a limit of one every category keeps two prompts, so that each figure can be stored."""
    options = ShapesOptions(images=1, images_at_temperature_1=0, questions=0)
    result = Shapes(options).evaluate(
        Decoder(), {"before": None, "1": adapter}, work=tmp_path, seed=0, limit=1,
        progress=lambda *_: None,
    )
    assert {category.n for category in result.categories.values()} == {2}
    assert to_json(asdict(result))


@pytest.mark.parametrize("content", ["{}", '{"accuracy": null}', '{"accuracy": [1]}', '{"accuracy": ["x"]}'])
def test_damaged_kept_answers_are_named(tmp_path, adapter, content):
    """Kept answers of another content are an error with the file's name, never a figure."""
    evaluate(Decoder(), {"before": None, "1": adapter}, tmp_path)
    path = next(tmp_path.glob("answers-*.json"))
    path.write_text(content)
    with pytest.raises(DataError, match=rf"{path.name} does not hold"):
        evaluate(Decoder(), {"before": None, "1": adapter}, tmp_path)


def test_images_are_kept_for_the_report(tmp_path, adapter):
    """The work folder names the shards of both sides, readable as plain Parquet with verdicts."""
    work = tmp_path / "eval"
    evaluate(Decoder(), {"before": None, "1": adapter}, work, images_at_temperature_1=0)
    kept = read_json(work / IMAGES)
    assert set(kept) == {"before", "1"}
    table = pq.read_table(work / kept["1"] / "shard-00000.parquet")
    row = table.to_pylist()[0]
    assert row["image"]["bytes"].startswith(b"\x89PNG")
    assert len(row["holds"]) == len(row["questions"]) == len(row["p_yes"]) > 0


def test_a_judge_that_fails_its_canaries_does_not_score():
    """A judge that says yes to everything is stopped before it scores; the real one passes."""

    class Yes(ExactJudge):
        def facts(self, images, specs):
            return [np.ones(1, bool) for _ in specs]

    check_canaries(ExactJudge())
    with pytest.raises(PluginError, match="canaries"):
        check_canaries(Yes())
