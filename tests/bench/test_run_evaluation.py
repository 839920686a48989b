"""`silmm run --benchmark NAME`: whatever `silmm bench` scores is evaluated before and after."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from silmm_benchmarks.shapes.facts import atomic_facts, question
from silmm_benchmarks.shapes.language import caption, parse_caption
from silmm_benchmarks.shapes.splits import report_prompts, training_spec

from silmm.bench.evaluation import RunEvaluation, adapter_digest
from silmm.bench.leaderboard.results import find_results
from silmm.registry.registry import Registry
from silmm_cli import main

PLUGIN = "tests.benchmarks.end_to_end.small_judges"
PROMPTS = 4
SMALL = (
    "--model", "tiny-discrete", "--images-per-prompt", "2", "--set", "trainer.max_steps=2",
    "--set", "trainer.warmup_steps=1", "--benchmark", "dpg-bench", "--set", "benchmark.custom=true",
    "--set", "benchmark.images=2", "--set", "benchmark.canaries=off",
)


def benchmark_prompts() -> list[str]:
    """Return held-out captions of different categories."""
    return [prompt.text for prompt in report_prompts()[:: len(report_prompts()) // PROMPTS]][:PROMPTS]


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write a small question file in DPG-Bench's form about captions of the shapes world."""
    folder = tmp_path / "data" / "dpg-bench"
    folder.mkdir(parents=True)
    with (folder / "dpg_bench.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(
            ["item_id", "text", "proposition_id", "dependency", "tuple", "question_natural_language"]
        )
        for number, text in enumerate(benchmark_prompts()):
            for fact, claim in enumerate(atomic_facts(parse_caption(text)), start=1):
                writer.writerow([f"shape{number}", text, fact, 0, "entity - whole (thing)", question(claim)])
    monkeypatch.setenv("SILMM_DATA", str(folder.parent))
    return folder


@pytest.fixture
def train(tmp_path: Path, fake_distribution: Callable[..., Path]) -> Callable[..., Result]:
    """Run `silmm run` on training captions and one prompt of the benchmark, spelt otherwise."""
    fake_distribution("small-judges", {"small-judges": PLUGIN})
    rng = np.random.default_rng(0)
    texts = [caption(training_spec(rng, "color"), rng) for _ in range(5)]
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("\n".join([*texts, f"  {benchmark_prompts()[0].upper()} "]))

    def run(*arguments: object, run_dir: str = "run") -> Result:
        words = ["run", *SMALL, "--prompts", str(prompts), "--run-dir", str(tmp_path / run_dir), "--json"]
        return CliRunner().invoke(main, [*words, *map(str, arguments)])

    return run


def outcome(done: Result) -> dict[str, Any]:
    assert done.exit_code == 0, done.stderr
    return json.loads(done.stdout)


def test_dpg_bench_compares_base_and_adapter(train: Callable[..., Result], data: Path, tmp_path: Path) -> None:
    """Headline, categories, interval, protocol and both result files stand; the same command does no work again."""
    summary = outcome(train("--judge", "vqa=shapes-answers"))
    assert (summary["benchmark"], summary["metric"], summary["partial"]) == ("dpg-bench", "Overall", False)
    overall = summary["overall"]
    assert overall["n"] == PROMPTS
    assert overall["diff"] == pytest.approx(overall["after"] - overall["before"])
    assert overall["ci_low"] <= overall["diff"] <= overall["ci_high"]
    assert summary["iterations"] == {"1": overall}
    assert set(summary["categories"]) == {"Entity"}
    assert summary["protocol"]["judges"]["vqa"]["judge"] == "shapes-answers"
    assert summary["protocol"]["sampling"]["resolution"] == ["32x32"]
    assert any("canaries were off" in remark for remark in summary["protocol"]["remarks"])
    folder = tmp_path / "run" / "eval"
    tuned = folder / f"model-{adapter_digest(tmp_path / 'run' / 'iter-1' / 'adapter')[:12]}"
    before, after = find_results([folder / "model-base"]) + find_results([tuned])
    assert before.numbers["Overall"].value == pytest.approx(overall["before"])
    assert after.numbers["Overall"].value == pytest.approx(overall["after"])
    assert before.numbers["Overall"].images == 2 * PROMPTS
    changed = {path: path.stat().st_mtime_ns for path in folder.rglob("*.png")}
    assert len(changed) == 2 * PROMPTS
    assert outcome(train("--judge", "vqa=shapes-answers"))["overall"] == overall
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*.png")} == changed


def test_prompts_of_the_benchmark_are_not_trained_on(train: Callable[..., Result], data: Path, tmp_path: Path) -> None:
    """A prompt that differs from the benchmark's own in case and spaces alone is dropped and counted."""
    summary = outcome(train("--judge", "vqa=shapes-answers", "--until", "prompts"))
    assert summary["overall"] is None
    counts = json.loads((tmp_path / "run" / "iter-1" / "prompter.json").read_text())
    assert (counts["made"], counts["rejected"]["excluded"]) == (5, 1)


@pytest.mark.parametrize(("arguments", "message"), [
    ((), "mplug needs config.yaml"),
    (("--judge", "vqa=blip-vqa-base"), "'blip-vqa-base' finds no weights"),
    (("--judge", "vqa=shape-answers"), "there is no judge 'shape-answers'"),
    (("--judge", "clip=clip-vit-b-32"), "dpg-bench has no judge for clip. Its roles: vqa"),
    (("--judge", "vqa=shapes-answers", "--set", "benchmark.judge_options=vqa.size=1"), "no option 'size'"),
    (("--set", "benchmark.judges=vqa"), "expected KEY=VALUE"),
])
def test_judges_that_cannot_work_are_refused_before_a_model_loads(
    train: Callable[..., Result], data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...], message: str,
) -> None:
    """Missing weights, unknown judges, roles and options end the run before it has a directory."""
    monkeypatch.setattr("silmm_plugins.models.tiny_discrete.model.TinyDiscrete.__init__", None)
    done = train(*arguments)
    assert done.exit_code != 0
    assert message in done.stderr
    assert not (tmp_path / "run").exists()


def test_missing_data_files_are_refused_with_the_way_out(
    train: Callable[..., Result], data: Path, tmp_path: Path
) -> None:
    """Without the question file the message says how to fetch it, and how to train without an evaluation."""
    (data / "dpg_bench.csv").unlink()
    done = train("--judge", "vqa=shapes-answers")
    assert done.exit_code != 0
    assert "silmm data pull dpg-bench" in done.stderr
    assert "--benchmark none" in done.stderr
    assert not (tmp_path / "run").exists()


def test_shapes_takes_no_other_judges() -> None:
    """A benchmark that evaluates itself refuses judges that it would not ask."""
    registry = Registry.load({"SILMM_LOAD_PLUGINS": "silmm"})
    options = registry.entry("benchmark", "shapes").options(judges={"yes-no": "base-model"}).model_dump(mode="json")
    evaluation = RunEvaluation.choose(registry, "shapes", options, "tiny-discrete", {})
    with pytest.raises(Exception, match="shapes takes no other judges"):
        evaluation.check()


def test_images_are_sampled_as_the_options_say(train: Callable[..., Result], data: Path) -> None:
    """Temperature and nucleus of the evaluation stand in the card, and a model without tokens refuses them."""
    arguments = ("--judge", "vqa=shapes-answers", "--set", "benchmark.temperature=0.5")
    summary = outcome(train(*arguments))
    assert summary["protocol"]["sampling"]["sampling"] == {"temperature": 0.5, "top_p": 1.0, "top_k": 0}
    done = train(*arguments, "--model", "tiny-continuous", run_dir="continuous")
    assert done.exit_code != 0
    assert "does not sample tokens" in done.stderr
