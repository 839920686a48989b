"""Compare training settings on the tune prompts, from one run's stored scores.

``silmm run --until pairs --run-dir RUN`` (with its benchmark, which keeps held-out prompts out), then
``python -m training.tiny_discrete.tune RUN "" "trainer.nll_weight=5" "trainer=sft trainer.learning_rate=1e-3"``:
each argument is a variant, options by spaces. Candidates and scores are the run's; pairs and training are
done anew, and all variants are sampled with the same seeds. The report prompts are never looked at.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path

import torch

from silmm.contracts.models import Preference
from silmm.contracts.records import Difference
from silmm.engine.preferences import preferences
from silmm.engine.settings import RunSettings
from silmm.engine.settings_resolution import resolve_settings
from silmm.engine.stages.candidate_views import view_columns
from silmm.engine.stages.pair_stage import choose_pairs
from silmm.engine.stages.seed_scope import SeedScope
from silmm.engine.workers.run_components import Components
from silmm.registry.registry import Registry
from silmm.seeds import derive
from silmm.storage.json_files import read_json
from silmm.storage.paths import IterationFolder, RunFolder


def main() -> None:
    """Train and evaluate each variant; print the gains and write RUN/tuned/SEED/results.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("variants", nargs="+")
    parser.add_argument("--seed", type=int, default=0, help="of training and sampling")
    args = parser.parse_args()
    torch.set_num_threads(1)
    registry = Registry.load()
    made_by, default = read_json(args.run / "run.json")["settings"], resolve_settings(registry)
    for key in ("model", "benchmark"):
        if made_by[key] != getattr(default, key):
            parser.error(f"{args.run} is a run with {key} {made_by[key]}, not {getattr(default, key)}")
    folder = RunFolder(args.run, made_by["shard_size"]).iteration(1)
    work = args.run / "tuned" / str(args.seed)
    adapters: dict[str, Path] = {}
    ends: dict[str, dict[str, float]] = {}
    for variant in args.variants:
        words = variant.split()
        options = [word for word in words if "." in word.partition("=")[0]]
        flags = dict(word.split("=") for word in words if word not in options)
        settings = resolve_settings(registry, flags=flags, sets=options)
        name = variant or "default"
        home = work / name.replace("/", "-").replace(" ", ",")
        adapters[name] = home / "adapter"
        if not (home / "end.json").exists():
            ends[name] = _train(settings, registry, folder, home, args.seed)
            (home / "end.json").write_text(json.dumps(ends[name]))
        ends[name] = json.loads((home / "end.json").read_text())
    settings = resolve_settings(registry, sets=["benchmark.split=tune", "benchmark.questions=24"])
    parts = Components(settings, registry, settings.identity())
    results = {}
    for name, adapter in adapters.items():
        result = parts.get("benchmark").evaluate(
            parts.lend_model(), {"before": None, name: adapter},
            work=work, seed=args.seed, limit=None, progress=lambda *_: None,
        )  # fmt: skip
        figures = {"facts": result.overall, **result.secondary}
        results[name] = {"training": ends[name], **{key: asdict(value) for key, value in figures.items()}}
        answers = result.secondary["VQA accuracy"]
        print(f"{name}: {_described(result.overall)}; answers {_described(answers)}", flush=True)
    (work / "results.json").write_text(json.dumps(results, indent=1))


def _described(figures: Difference) -> str:
    interval = f"[{figures.ci_low:+.4f}, {figures.ci_high:+.4f}]"
    return f"{figures.before:.4f} -> {figures.after:.4f}, {figures.diff:+.4f} {interval}"


def _train(
    settings: RunSettings, registry: Registry, folder: IterationFolder, home: Path, seed: int
) -> dict[str, float]:
    """Choose pairs and train as the loop does."""
    parts = Components(settings, registry, settings.identity())
    rule, size = parts.get("pair-rule"), folder.shard_size
    prompts = folder.prompts.table()
    candidates, scores = folder.table("candidates"), folder.table("scores")
    chosen: list[Preference] = []
    for shard in range(candidates.count):
        table, _ = choose_pairs(
            rule, prompts.slice(shard * size, size), candidates.read(shard, view_columns(())),
            scores.read(shard), scope=SeedScope(settings.seed, 1),
        )
        chosen += preferences(table)
    home.mkdir(parents=True, exist_ok=True)
    return dict(parts.get("trainer").train(
        parts.lend_model(), chosen, start=None, out=home / "adapter", work=home / "work",
        seed=derive(seed, "tune"), observe=lambda *_: None,
    ))  # fmt: skip


if __name__ == "__main__":
    main()
