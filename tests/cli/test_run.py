"""What `silmm run` promises: flags become settings, progress goes to stderr, results to stdout."""

from __future__ import annotations

import io
import json
import math
from pathlib import Path

import pytest
from click.testing import CliRunner
from rich.console import Console

from silmm.engine.run import RunResult
from silmm.engine.settings_resolution import resolve_settings
from silmm.errors import UsageError
from silmm.registry.registry import Registry
from silmm.rendering.table_formats import to_rich
from silmm_cli import main
from silmm_cli.console import chatter, results
from silmm_cli.display import (
    LiveDisplay,
    PlainDisplay,
    clock,
    make_display,
    rate,
    sparkline,
    training_panel,
    watched,
    with_relative,
)
from silmm_cli.options import parse_shard
from silmm_cli.run_cmd import outcome_object, outcome_table, print_outcome

TOY = [
    flag
    for kind in ("model", "prompter", "sampler", "questioner", "scorer", "pair-rule", "trainer",
                 "benchmark")
    for flag in (f"--{kind}", "toy")
]
SMALL = ["--prompts", "5", "--images-per-prompt", "3"]
FIGURES = {"before": 0.6, "after": 0.7, "diff": 0.1, "ci_low": 0.05, "ci_high": 0.15, "n": 400}


@pytest.fixture
def toy(work_with_toys):
    """Work with the toy plugins alone in an empty directory."""
    work_with_toys()


def silmm(*arguments):
    return CliRunner().invoke(main, ["run", *TOY, *SMALL, *arguments])


def console(**settings):
    return Console(file=io.StringIO(), width=100, **settings)


def test_json_is_one_object_on_stdout_and_chatter_is_on_stderr(toy):
    """`--json` prints the evaluation, times and paths as one object, and nothing else to stdout."""
    result = silmm("--json")
    assert result.exit_code == 0, result.stderr
    answer = json.loads(result.stdout)
    assert {"overall", "categories", "wall_seconds", "run_dir", "report", "adapter"} <= set(answer)
    for figures in (answer["overall"], *answer["categories"].values()):
        assert set(figures) == {"before", "after", "diff", "ci_low", "ci_high", "n"}
    assert Path(answer["report"]).is_file()
    assert Path(answer["adapter"]).is_dir()
    stages = {"prompts", "sample", "questions", "score", "pairs", "train"}
    assert stages <= set(answer["wall_seconds"])
    assert "iter 1 sample" in result.stderr
    stored = json.loads((Path(answer["run_dir"]) / "summary.json").read_text())
    assert stored["overall"] == answer["overall"]
    assert stored["report"] == answer["report"]


def test_the_same_command_finds_its_run_again(toy):
    """The default directory is named after model and settings: same flags, same place."""
    first, second = (json.loads(silmm("--json").stdout)["run_dir"] for _ in range(2))
    other = json.loads(silmm("--json", "--seed", "1").stdout)["run_dir"]
    assert first == second != other
    assert first.startswith("runs/toy-")


def test_a_tracker_follows_the_runs_that_ask_for_it(toy):
    """`--tracker` hears of each step and is no part of the identity; an unknown one is a usage error."""
    assert silmm("--run-dir", "plain").exit_code == 0
    assert not Path("plain/tracked.txt").exists()
    assert silmm("--run-dir", "told", "--tracker", "toy").exit_code == 0
    assert Path("told/tracked.txt").read_text().startswith("1 ")
    assert silmm("--run-dir", "told").exit_code == 0
    wrong = silmm("--tracker", "toi")
    assert wrong.exit_code == 2
    assert "toy" in wrong.stderr


def test_an_executor_is_chosen_by_name_and_is_no_part_of_the_identity(toy, monkeypatch):
    """`--executor` and its options go on with the run of another one; an unknown name or option is wrong usage."""
    monkeypatch.setenv("SILMM_LOAD_PLUGINS", "silmm-toy,silmm")
    first = json.loads(silmm("--json", "--until", "questions").stdout)["run_dir"]
    result = silmm("--json", "--executor", "local", "--set", "executor.workers=2", "--until", "score")
    assert json.loads(result.stdout)["run_dir"] == first
    for arguments, words in (
        (["--executor", "lcal"], "did you mean 'local'"),
        (["--executor", "local", "--set", "executor.worker=2"], "did you mean 'workers'"),
        (["--workers", "2", "--set", "executor.workers=0"], "greater than or equal to 1"),
    ):
        wrong = silmm(*arguments)
        assert wrong.exit_code == 2
        assert words in wrong.stderr


def test_people_get_a_table_and_the_paths(toy):
    """Without --json the table per category stands on stdout, then run, report and adapter."""
    result = silmm()
    assert result.exit_code == 0, result.stderr
    for part in ("overall", "before", "after", "95% interval", "run      runs/toy-", "index.html"):
        assert part in result.stdout, part


def test_until_stops_and_the_same_directory_goes_on(toy):
    """`--until score` leaves no adapter and no figures; the command without it ends the run."""
    stopped = json.loads(silmm("--json", "--until", "score", "--run-dir", "r").stdout)
    assert stopped["overall"] is None
    assert stopped["adapter"] is None
    assert not Path("r/iter-1/adapter").exists()
    whole = json.loads(silmm("--json", "--run-dir", "r").stdout)
    assert whole["overall"] is not None
    assert Path(whole["adapter"]).is_dir()


def test_changed_settings_on_an_old_directory_are_refused(toy):
    """Another seed in the same directory is exit code 2 with the difference."""
    assert silmm("--run-dir", "r").exit_code == 0
    result = silmm("--run-dir", "r", "--seed", "5")
    assert result.exit_code == 2
    assert "seed: 0 there, 5 now" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--set", "trainer.max_stepz=3"], "max_steps"),
        (["--set", "trainr.max_steps=3"], "trainer"),
        (["--model", "tony"], "toy"),
        (["--shard", "4/4"], "0/4"),
        (["--prompts", "missing.txt"], "missing.txt"),
    ],
)
def test_slips_are_answered_with_a_suggestion(toy, arguments, message):
    """An unknown option, kind or name, and a wrong value, fail before any work and tell why."""
    result = silmm("--run-dir", "r", *arguments)
    assert result.exit_code in (2, 4)
    assert message in result.stderr
    assert not Path("r").exists()


def test_options_come_from_set_and_config(toy):
    """A TOML file and --set reach the component, and --set wins."""
    Path("silmm.toml").write_text("seed = 3\n[trainer]\nmax_steps = 4\n")
    result = silmm("--config", "silmm.toml", "--set", "trainer.max_steps=2", "--run-dir", "r")
    assert result.exit_code == 0, result.stderr
    settings = json.loads(Path("r/run.json").read_text())["settings"]
    assert (settings["seed"], settings["options"]["trainer"]["max_steps"]) == (3, 2)
    assert len(Path("r/iter-1/metrics.jsonl").read_text().splitlines()) == 2


def test_one_shard_of_several_says_that_others_are_missing(toy):
    """`--shard 0/2` ends with 75 while the other half is missing; that one then ends the run."""
    small = ["--run-dir", "r", "--set", "trainer.max_steps=2"]
    Path("c.toml").write_text("shard_size = 2\n")
    first = silmm(*small, "--config", "c.toml", "--shard", "0/2")
    assert first.exit_code == 75, first.stderr
    second = silmm(*small, "--config", "c.toml", "--shard", "1/2")
    assert second.exit_code == 0, second.stderr


def test_default_directory_is_a_plain_name(toy):
    """A model name with path separators cannot place the run elsewhere."""
    flags = {flag.removeprefix("--").replace("-", "_"): "toy" for flag in TOY[::2]}
    settings = resolve_settings(Registry.load(), flags=flags)
    elsewhere = settings.model_copy(update={"model": "../../etc/x"})
    assert elsewhere.default_run_dir.parts[0] == "runs"
    assert len(elsewhere.default_run_dir.parts) == 2


def test_pair_shape_is_the_pair_rules_option(tmp_path):
    """`--pair-shape 3x2` gives the very settings that `--set pair-rule.shape=3x2` gives; a wrong one is refused."""
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("a red circle\n")
    shapes = {"short": ("--pair-shape", "3x2"), "long": ("--set", "pair-rule.shape=3x2")}
    for name, shape in shapes.items():
        arguments = ["run", "--prompts", str(prompts), "--until", "prompts", "--run-dir", str(tmp_path / name), *shape]
        assert CliRunner().invoke(main, arguments).exit_code == 0
    short, long = (json.loads((tmp_path / name / "run.json").read_text()) for name in shapes)
    assert short["settings"]["options"]["pair-rule"]["shape"] == "3x2"
    assert short["settings"] == long["settings"]
    wrong = CliRunner().invoke(main, ["run", "--pair-shape", "10x", "--run-dir", str(tmp_path / "wrong")])
    assert isinstance(wrong.exception, SystemExit | UsageError)
    assert not (tmp_path / "wrong").exists()


def test_shards_are_counted_from_zero():
    """`i/n` needs 0 <= i < n."""
    assert parse_shard(None) is None
    assert parse_shard("3/4") == (3, 4)
    for wrong in ("4/4", "1", "a/b", "-1/4", "0/0"):
        with pytest.raises(UsageError, match="--shard"):
            parse_shard(wrong)


def test_plain_progress_prints_a_line_for_each_tenth():
    """A stage of 1,000 units prints eleven lines, not a thousand, with rate and time."""
    screen = console()
    display = make_display(screen)
    assert isinstance(display, PlainDisplay)
    for done in range(1001):
        display.progress("sample", done, 1000)
    lines = screen.file.getvalue().splitlines()
    assert len(lines) == 11
    assert lines[0].startswith("iter 1 sample")
    assert "500/1000 (50%)" in lines[5]
    assert "\x1b" not in screen.file.getvalue()


def test_stages_are_named_with_their_iteration():
    """After an iteration the next stage belongs to the next one; evaluation belongs to none."""
    display = PlainDisplay(console())
    assert display.where("train") == "iter 1 train"
    display.silmm_iteration_finished()
    assert display.where("sample") == "iter 2 sample"
    assert display.where("evaluate before") == "evaluate before"


def test_live_display_shows_bars_and_the_training_panel():
    """On a terminal the bars and the last training figures are sampled, and the cursor comes back."""
    screen = console(force_terminal=True)
    display = make_display(screen)
    assert isinstance(display, LiveDisplay)
    with display:
        display.silmm_run_started(Path("runs/x"), {"model": "toy", "seed": 0})
        display.progress("sample", 3, 10)
        display.progress("train", 1, 0)
        display.silmm_train_step(1, 1, {"loss": 0.6931, "margin": 0.0})
        display.silmm_train_step(1, 2, {"loss": 0.5, "margin": 0.4})
    sampled = screen.file.getvalue()
    for part in ("runs/x", "iter 1 sample", "3/10", "step 2", "0.5", "margin"):
        assert part in sampled, part
    assert sampled.endswith("\x1b[?25h")


def test_the_panel_of_a_continuous_model_shows_distances_over_the_references():
    """Distances are divided by the reference's; what is constant or bookkeeping is left out."""
    step = {
        "loss": 0.6, "margin": 0.2, "accuracy": 1.0, "chosen_distance": 0.03, "rejected_distance": 0.09,
        "reference_chosen_distance": 0.04, "reference_rejected_distance": 0.06, "drift": 0.01,
        "gamma_eff": 61.25, "chosen_recedes": 0.0, "lr": 1e-3, "grad_norm": 2.0,
    }
    assert list(watched(with_relative(step))) == [
        "loss", "margin", "accuracy", "chosen_relative", "rejected_relative", "drift", "lr", "grad_norm",
    ]
    screen = console(force_terminal=True)
    with make_display(screen) as display:
        display.silmm_train_step(1, 1, step)
    sampled = screen.file.getvalue()
    for label, value in (("k(H, H_w), reference = 1", "0.75"), ("k(H, H_l), reference = 1", "1.5")):
        assert label in sampled
        assert value in sampled
    plain = console()
    make_display(plain).silmm_train_step(1, 1, step)
    assert "chosen_relative=0.75 rejected_relative=1.5" in plain.file.getvalue()


def test_a_reference_at_the_candidates_has_no_quotient():
    """A distance of 0 divides nothing."""
    step = {"chosen_distance": 0.03, "reference_chosen_distance": 0.0}
    assert watched(with_relative(step)) == {}


def test_no_color_is_honoured(monkeypatch):
    """With NO_COLOR neither console of the command prints colour codes, on a terminal too."""
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich: this is a terminal
    table = outcome_table({"overall": FIGURES, "categories": {"color": FIGURES}})
    for make, stream in ((results, "stdout"), (chatter, "stderr")):
        shown = {}
        for value in ("", "1"):
            monkeypatch.setenv("NO_COLOR", value)
            target = io.StringIO()
            monkeypatch.setattr(f"sys.{stream}", target)
            make().print(to_rich(table))
            shown[value] = target.getvalue()
        assert "\x1b[3" in shown[""]
        assert "\x1b[3" not in shown["1"]


def test_arrows_follow_the_interval_not_the_difference():
    """Only an interval without zero gets an arrow; one prompt has no interval."""
    level = {**FIGURES, "ci_low": -0.01}
    single = {**FIGURES, "ci_low": None, "ci_high": math.nan, "n": 1}
    screen = console()
    screen.print(to_rich(outcome_table({"overall": FIGURES, "categories": {"a": level, "b": single}})))
    up, flat, none = [line for line in screen.file.getvalue().splitlines() if "+0.100" in line]
    assert "↑" in up
    assert "↑" not in flat
    assert "–" in none


def test_a_partial_result_is_marked(tmp_path):
    """A `--limit` run says so in the table's title."""
    summary = {"overall": FIGURES, "categories": {}, "partial": True}
    screen = console()
    print_outcome(RunResult(tmp_path, {"sample": 61.0}, {}, summary), None, screen)
    assert "PARTIAL" in screen.file.getvalue()
    assert "1:01" in screen.file.getvalue()


def test_json_of_several_iterations_names_the_last_adapter(tmp_path):
    """`adapter` is the last iteration's."""
    adapters = {"1": tmp_path / "a", "2": tmp_path / "b"}
    answer = outcome_object(RunResult(tmp_path, {}, adapters, None), None)
    assert answer["adapter"] == str(tmp_path / "b")
    assert answer["report"] is None


def test_numbers_for_people():
    """Rates pick their unit, clocks their form, curves their width; no finite value, no curve."""
    assert (rate(120, 1), rate(30, 60), rate(0, 5)) == ("120/s", "30/min", "–/s")
    assert (clock(42.4), clock(185), clock(3723)) == ("42 s", "3:05", "1:02:03")
    assert sparkline([0.0, 1.0]) == "▁█"
    assert len(sparkline(list(range(1000)), 40)) == 40
    assert sparkline([math.nan]) == ""
    assert list(watched({"step": 1, "zeta": 1, "kl": 2, "loss": 3})) == ["loss", "kl", "zeta"]


def test_panel_survives_figures_that_are_not_finite():
    """A trainer that reports NaN does not take the screen down."""
    screen = console()
    screen.print(training_panel(1, 2, {"loss": [0.5, math.nan]}))
    assert "nan" in screen.file.getvalue()
