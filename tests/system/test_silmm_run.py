"""`silmm run` with the embedded model can be killed anywhere and resumed, and never sees its judge."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import datasets
import numpy as np
import pyarrow.parquet as pq
import pytest
from peft import PeftModel
from silmm_benchmarks.shapes.splits import contaminated, report_prompts, tune_prompts
from silmm_plugins.models.tiny_discrete.model import TinyDiscrete

from silmm.lora.loading import load_adapter
from silmm.storage.json_files import read_json
from tests.toy.artefacts import hashes
from tests.toy.forked import Command

pytestmark = pytest.mark.slow

SMALL = (
    "--prompts", "24", "--images-per-prompt", "6", "--limit", "24", "--iterations", "2",
    "--set", "trainer.max_steps=6", "--set", "trainer.warmup_steps=2", "--set", "trainer.checkpoint_every=2",
    "--set", "trainer.validate_every=3",  # so that validation is killed, resumed and kept from the judge too
    "--set", "benchmark.images=1", "--set", "benchmark.images_at_temperature_1=1", "--set", "benchmark.batch_size=16",
)  # fmt: skip
STAGES = (
    "iter-1/prompts/shard-00000.parquet",
    "iter-1/candidates/shard-00000.parquet",  # in the middle of generation
    "iter-1/questions/shard-00000.parquet",
    "iter-1/scores/shard-00000.parquet",  # in the middle of scoring
    "iter-1/pairs/shard-00000.parquet",
    "iter-1/train/checkpoint-*",  # in the middle of training
    "iter-1/adapter/adapter_model.safetensors",
    "iter-2/candidates/shard-00001.parquet",
    "iter-2/train/checkpoint-*",
    "eval/drawn-*/shard-00001.parquet",  # in the middle of the evaluation
)

LAST_OF_STAGES = (
    *("prompts/manifest.json", "candidates/manifest.json", "questions/manifest.json"),
    *("scores/manifest.json", "pairs/manifest.json", "adapter/adapter_model.safetensors"),
)


def arguments(run_dir: Path, *more: str) -> list[str]:
    """Return the arguments of a small run with shards of eight prompts."""
    config = run_dir.parent / "small.toml"
    config.write_text("shard_size = 8\n")
    return ["run", "--run-dir", str(run_dir), "--config", str(config), *SMALL, *more]


def finish(run_dir: Path) -> None:
    """Run the command to its end and insist on success."""
    output = run_dir.parent / "output.txt"
    code = Command(arguments(run_dir), output).wait()
    assert code == 0, output.read_text()[-3000:]


def in_a_new_interpreter(run_dir: Path, *more: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command as a user does."""
    command = [sys.executable, "-m", "silmm_cli", *arguments(run_dir, *more)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **environment})


def kill_when(run_dir: Path, pattern: str, how: signal.Signals = signal.SIGKILL) -> int:
    """Start the command, send it a signal as soon as a file like `pattern` is there; return its exit code."""
    process = Command(arguments(run_dir))
    while not list(run_dir.glob(pattern)):
        assert process.poll() is None, f"the run ended before {pattern} appeared"
        time.sleep(0.002)
    process.send_signal(how)
    return process.wait()


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """An uninterrupted small run and what it printed."""
    run_dir = tmp_path_factory.mktemp("whole") / "run"
    done = in_a_new_interpreter(run_dir, "--json")
    assert done.returncode == 0, done.stderr[-3000:]
    return run_dir, done


def test_a_run_killed_in_every_stage_ends_in_the_same_bytes(finished, tmp_path):
    """A run that is killed in ten places and started again each time writes the bytes of an uninterrupted run."""
    killed = tmp_path / "run"
    for pattern in STAGES:
        assert kill_when(killed, pattern) == -signal.SIGKILL
    finish(killed)
    assert hashes(killed) == hashes(finished[0])


def test_ctrl_c_ends_with_130_and_the_same_command_goes_on(finished, tmp_path):
    """Ctrl-C while sampling or training ends with exit code 130, and the resumed run writes the same bytes."""
    stopped = tmp_path / "run"
    for pattern in (STAGES[1], STAGES[5]):
        assert kill_when(stopped, pattern, signal.SIGINT) == 130
    finish(stopped)
    assert hashes(stopped) == hashes(finished[0])


def test_the_report_of_a_real_run_holds_what_it_promises(finished):
    """The report shows images before and after, scores, likelihoods and the feedback against the judge."""
    folder = finished[0] / "report"
    page = (folder / "index.html").read_text()
    for title in (
        "Before and after", "Self-feedback against the judge", "Training", "The model&#x27;s own scores",
        "Images before and after", "chosen", "rejected", "AUC",
    ):  # fmt: skip
        assert title in page, title
    images = set(re.findall(r'<img[^>]* src="([^"]+)"', page))
    assert len(images) > 16
    assert all((folder / name).is_file() for name in images if not name.startswith("data:"))


def test_two_workers_write_the_same_bytes(finished, tmp_path):
    """Two workers write the bytes of one process."""
    done = in_a_new_interpreter(tmp_path / "run", "--workers", "2")
    assert done.returncode == 0, done.stderr[-3000:]
    assert hashes(tmp_path / "run") == hashes(finished[0])


def test_the_json_is_one_object_with_the_promised_keys(finished):
    """`--json` prints one object with overall figures, categories, seconds and paths, as in the summary."""
    run_dir, done = finished
    result = json.loads(done.stdout)
    keys = {"before", "after", "diff", "ci_low", "ci_high", "n"}
    assert keys <= set(result["overall"])
    assert len(result["categories"]) == 8
    assert all(keys <= set(c) for c in result["categories"].values())
    assert {"prompts", "sample", "questions", "score", "pairs", "train"} <= set(result["wall_seconds"])
    assert Path(result["report"]).exists()
    assert Path(result["adapter"]).is_dir()
    assert result["partial"] is True
    assert read_json(run_dir / "summary.json")["overall"] == result["overall"]


def test_no_held_out_prompt_is_among_the_self_written_ones(finished):
    """No training prompt equals a held-out prompt or has its combination."""
    held_out = {p.text for p in (*report_prompts(), *tune_prompts())}
    for number in (1, 2):
        table = pq.read_table(finished[0] / f"iter-{number}" / "prompts" / "shard-00000.parquet")
        texts = table.column("prompt").to_pylist()
        assert len(texts) == 24
        assert not held_out & set(texts)
        assert not [text for text in texts if contaminated(text)]


def test_the_loop_does_not_need_the_judge(finished, tmp_path):
    """If the judge cannot be imported, the loop still writes the same bytes."""
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(
        "import sys\n"
        "class Wall:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'silmm_benchmarks.shapes.exact_judge':\n"
        "            raise RuntimeError('the loop reached for the judge')\n"
        "sys.meta_path.insert(0, Wall())\n"
    )
    run_dir = tmp_path / "run"
    done = in_a_new_interpreter(run_dir, PYTHONPATH=str(site))
    assert done.returncode != 0
    assert "the loop reached for the judge" in done.stderr  # the evaluation did, behind the loop
    loop, whole = (
        {n: h for n, h in hashes(folder).items() if n.startswith(("iter-1/", "iter-2/"))}
        for folder in (run_dir, finished[0])
    )
    assert {f"iter-{number}/{name}" for number in (1, 2) for name in LAST_OF_STAGES} <= set(loop)
    assert loop == whole


def test_candidates_open_as_images(finished):
    """`datasets` shows the image column as images of 32x32."""
    files = sorted(map(str, (finished[0] / "iter-1" / "candidates").glob("*.parquet")))
    data = datasets.load_dataset(
        "parquet", data_files=files, split="train", cache_dir=str(finished[0].parent / "cache")
    )
    assert isinstance(data.features["image"], datasets.Image)
    assert data[0]["image"].size == (32, 32)


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")  # peft's own
def test_plain_peft_loads_the_adapter(finished):
    """PeftModel.from_pretrained loads the tuned adapter with equal likelihoods."""
    folder = finished[0] / "iter-2" / "adapter"
    prompts = ["a red circle"]
    loaded, plain = TinyDiscrete.load(), TinyDiscrete.load()
    codes = [np.arange(64, dtype=np.int32)]
    base = loaded.log_likelihood(prompts, codes).item()
    load_adapter(loaded, folder)
    PeftModel.from_pretrained(plain.backbone, folder)
    tuned = loaded.log_likelihood(prompts, codes).item()
    assert plain.log_likelihood(prompts, codes).item() == pytest.approx(tuned, abs=1e-4)
    assert tuned != base
