"""Compare training methods at equal images and steps: ``python -m training.tiny_discrete.methods WORK``.

Every seed has its own run of 512 prompts × 16 candidates, whose pairs all offline methods share; `grpo` samples as
many images on its way. Each method gets as many settings; the tune prompts choose among them by the mean gain over
all seeds, and the report prompts are looked at once, for the chosen. Everything is kept in WORK: the same command
goes on after a kill. It writes WORK/methods.json (every figure of every prompt) and WORK/methods.md (the tables).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from silmm_benchmarks.shapes.benchmark import SPLITS
from silmm_benchmarks.shapes.evaluation.sampled_images import Plan, Setting, adapter_digest, facts_right, sample
from silmm_benchmarks.shapes.evaluation.vqa_accuracy import accuracy_by_scene
from silmm_benchmarks.shapes.exact_judge import Judge

from silmm.bench.statistics import Floats, cluster_means
from silmm.contracts.candidates import Prompt
from silmm.contracts.models import SamplingParams
from silmm.contracts.training import TrainingJob
from silmm.engine.preferences import stored_preferences
from silmm.engine.rollout import PolicyRollout
from silmm.engine.settings_resolution import resolve_settings
from silmm.engine.stages.seed_scope import SeedScope
from silmm.engine.workers.run_components import Components
from silmm.lora.loading import load_adapter
from silmm.registry.registry import Registry
from silmm.seeds import derive
from silmm.storage.atomic_files import atomic_folder
from silmm.storage.paths import IterationFolder, RunFolder
from training.tiny_discrete.methods_report import tables

LEARNING_RATES = ("2.5e-4", "5e-4", "1e-3", "2e-3")
RATES = tuple({"learning_rate": rate} for rate in LEARNING_RATES)
SAMPLINGS = {"sharp": SamplingParams(2.0, 0.2), "temperature 1": SamplingParams()}
"""Where the base is best on the tune prompts, and plain sampling."""
IMAGES, QUESTIONS, BATCH = 4, 12, 256


@dataclass(frozen=True)
class Method:
    """A trainer with the options that make it this method, and the settings to choose among."""

    trainer: str
    options: Mapping[str, object]
    settings: tuple[Mapping[str, object], ...] = RATES

    def sets(self, setting: Mapping[str, object], steps: int) -> list[str]:
        """Return the `--set` texts of a training."""
        options = {"max_steps": steps, "layers": "all", **self.options, **setting}
        return [f"trainer.{name}={value}" for name, value in options.items()]


METHODS = {
    "sft": Method("sft", {}),
    "sft, gap-weighted": Method("sft", {"weighting": "gap"}),
    "dpo, likelihood term": Method("dpo", {"nll_weight": 20}),
    "dpo, reference term": Method("dpo", {"nll_weight": 0, "reference_weight": 0.02}),
    "simpo": Method("simpo", {}, tuple({**r, "beta": b} for r in RATES[1:3] for b in (2, 10))),
    "ipo": Method("ipo", {}, tuple({**r, "tau": t} for r in RATES[1:3] for t in (0.02, 0.1))),
    "grpo": Method("grpo", {"images_per_prompt": 8, "prompts_per_step": 4}),
}


@dataclass(frozen=True)
class Study:
    """The work folder, and how much of everything."""

    work: Path
    seeds: tuple[int, ...]
    prompts: int
    steps: int
    limit: int | None
    """Prompts of a split, for a trial; None is all."""
    registry: Registry

    def log(self, event: str, **facts: Any) -> None:
        """Add a line to WORK/log.jsonl."""
        line = json.dumps({"time": time.strftime("%H:%M:%S"), "event": event, **facts})
        print(line, flush=True)
        with (self.work / "log.jsonl").open("a") as file:
            file.write(line + "\n")

    def candidates(self, seed: int) -> IterationFolder:
        """Have the candidates, scores and pairs of a seed."""
        run = self.work / "candidates" / f"seed-{seed}"
        command = [
            sys.executable, "-m", "silmm_cli", "run", f"--seed={seed}", f"--prompts={self.prompts}",
            "--until=pairs", f"--run-dir={run}",
        ]  # fmt: skip
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)  # noqa: S603 - our own command
        settings = json.loads((run / "run.json").read_text())["settings"]
        return RunFolder(run, settings["shard_size"]).iteration(1)

    def train(self, name: str, setting: Mapping[str, object], seed: int) -> Path:
        """Have the adapter of a method with a setting; return its folder."""
        method, label = METHODS[name], _label(setting)
        home = self.work / "trained" / name.replace(", ", "-").replace(" ", "-") / label.replace(" ", ",") / str(seed)
        if (home / "adapter").is_dir():
            return home / "adapter"
        source, start = self.candidates(seed), time.monotonic()
        settings = resolve_settings(
            self.registry, flags={"trainer": method.trainer, "seed": seed}, sets=method.sets(setting, self.steps)
        )
        parts = Components(settings, self.registry, settings.identity())
        (home / "work").mkdir(parents=True, exist_ok=True)
        rows = source.prompts.table().to_pylist()
        rollout = PolicyRollout(
            parts, IterationFolder(home, source.shard_size), SeedScope(seed, 1),
            prompts=[Prompt(row["prompt"], row["category"]) for row in rows],
            questions=source.table("questions").table(), decodes=1,
        ) if method.trainer == "grpo" else None
        metrics: list[dict[str, float]] = []
        with atomic_folder(home / "adapter") as out:
            job = TrainingJob(
                parts.lend_model(), stored_preferences(source), None, out, home / "work", derive(seed, "methods"),
                lambda step, values: metrics.append({"step": step, **values}), rollout=rollout,
            )
            last = parts.get("trainer").train(job)
        (home / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in metrics))
        seconds = round(time.monotonic() - start)
        self.log("trained", method=name, setting=label, seed=seed, seconds=seconds, metrics=last)
        return home / "adapter"

    def evaluate(self, split: str, adapter: Path | None, seed: int) -> dict[str, Floats]:
        """Return the share of facts that hold in each prompt's images, and the VQA accuracy, (prompts,) each."""
        prompts = tuple(SPLITS[split]()[:: 1 if self.limit is None else max(1, len(SPLITS[split]()) // self.limit)])
        settings = resolve_settings(self.registry)
        parts = Components(settings, self.registry, settings.identity())
        model, digest, work = parts.lend_model(), adapter_digest(adapter), self.work / "evaluated"
        load = partial(load_adapter, model, adapter)
        load()
        values = {}
        for name in ("sharp",) if split == "tune" else SAMPLINGS:
            sampling = SAMPLINGS[name]
            plan = Plan(prompts, Setting(sampling, IMAGES, False), seed, BATCH)
            table, _ = sample(
                model, Judge(), plan, adapter=digest, named=str(adapter), load=load, work=work, progress=lambda *_: None
            )
            values[name] = cluster_means(facts_right(table), table.column("prompt_id").to_pylist())[1]
        values["answers"] = accuracy_by_scene(
            model, prompts, questions=QUESTIONS, adapter=digest, named=str(adapter), load=load, work=work
        )
        return values

    def gains(self, split: str, name: str, setting: Mapping[str, object]) -> dict[str, list[list[float]]]:
        """Return what a method adds over the base, by measure: (seeds, prompts); of the first seed on tune prompts."""
        gains: dict[str, list[list[float]]] = {}
        for seed in self.seeds[:1] if split == "tune" else self.seeds:
            before = self.evaluate(split, None, seed)
            after = self.evaluate(split, self.train(name, setting, seed), seed)
            for measure, values in after.items():
                gains.setdefault(measure, []).append((values - before[measure]).round(5).tolist())
        means = {measure: round(float(np.mean(values)), 4) for measure, values in gains.items()}
        self.log("evaluated", split=split, method=name, setting=_label(setting), gains=means)
        return gains


def main() -> None:
    """Tune and report every method."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--prompts", type=int, default=512)
    parser.add_argument("--steps", type=int, default=256)
    parser.add_argument("--limit", type=int, help="prompts of a split, for a trial")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    args = parser.parse_args()
    torch.set_num_threads(1)
    args.work.mkdir(parents=True, exist_ok=True)
    study = Study(args.work, tuple(args.seeds), args.prompts, args.steps, args.limit, Registry.load())
    result: dict[str, Any] = {
        "seeds": args.seeds, "prompts": args.prompts, "steps": args.steps, "limit": args.limit, "methods": {},
        "before": {seed: _lists(study.evaluate("report", None, seed)) for seed in args.seeds},
    }
    for name in args.methods:
        tuned = {_label(setting): study.gains("tune", name, setting) for setting in METHODS[name].settings}
        result["methods"][name] = {"trainer": METHODS[name].trainer, **METHODS[name].options, "tune": tuned}
    for name in args.methods:  # only now: no method's settings are chosen after a look at the report prompts
        entry = result["methods"][name]
        entry["chosen"] = max(entry["tune"], key=lambda label: float(np.mean(entry["tune"][label]["sharp"])))
        setting = next(setting for setting in METHODS[name].settings if _label(setting) == entry["chosen"])
        entry["report"] = study.gains("report", name, setting)
        (args.work / "methods.json").write_text(json.dumps(result, separators=(",", ":")) + "\n")
        (args.work / "methods.md").write_text(tables(result))


def _label(setting: Mapping[str, object]) -> str:
    return " ".join(f"{name}={value}" for name, value in setting.items())


def _lists(values: Mapping[str, Floats]) -> dict[str, list[float]]:
    return {name: array.round(5).tolist() for name, array in values.items()}


if __name__ == "__main__":
    main()
