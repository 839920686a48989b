"""A benchmark as `silmm run` uses it: the prompts that it holds out, and the base model against each adapter.

Both sides of a comparison are scored by the runner of `silmm bench`, under one protocol and from the same seeds. Each
model has a folder of its own in the work folder, named after the content of its adapter, with images, answers and a
result file; a second call goes on from what is there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from silmm.bench.bench_request import BenchRequest
from silmm.bench.judging.judge_pool import JudgePool, check_judges
from silmm.bench.judging.roles import method_of
from silmm.bench.leaderboard.comparing import Comparison, compare_results, values_by_column
from silmm.bench.leaderboard.results import Result, read_result
from silmm.bench.open_generator import (
    BaseModelGenerator,
    base_model_identity,
    require_sampling,
    sampling_params,
)
from silmm.bench.runner import BenchRun, build_benchmark, needed_roles
from silmm.bench.statistics import paired_difference
from silmm.contracts.benchmarks import (
    BEFORE,
    Benchmark,
    BenchmarkOptions,
    Item,
    OwnEvaluation,
    normalised_prompt,
)
from silmm.contracts.records import Difference, EvalResult
from silmm.errors import DataError, UsageError
from silmm.lora.loading import load_adapter
from silmm.storage.user_folders import data_root

if TYPE_CHECKING:
    from silmm.contracts.models import BaseModel, SamplingParams
    from silmm.registry.registration import Entry
    from silmm.registry.registry import Registry

FOLDER = "model-{}"
"""Folder of one compared model in the work folder."""
_DIGITS = 12


@dataclass(frozen=True)
class ComparedModel:
    """One model of a comparison: the base model, or the base model with an adapter."""

    name: str
    """:data:`~silmm.contracts.benchmarks.BEFORE`, or the number of the iteration."""
    adapter: Path | None
    digest: str
    """Content id of the adapter; "base" without one."""

    @property
    def description(self) -> str:
        """What an error calls this model."""
        return f"the model with the adapter {self.adapter}" if self.adapter else "the base model"


def compared_models(adapters: Mapping[str, Path | None]) -> list[ComparedModel]:
    """Return the base model, then the tuned models in the given order.

    Raises:
        ValueError: there is no base model, or nothing to compare it with.
    """
    tuned = [(name, folder) for name, folder in adapters.items() if name != BEFORE]
    if BEFORE not in adapters or not tuned:
        raise ValueError(f"an evaluation compares {BEFORE!r} with tuned models, but was given {sorted(adapters)}")
    pairs = [(BEFORE, adapters[BEFORE]), *tuned]
    return [ComparedModel(name, folder, adapter_digest(folder)) for name, folder in pairs]


def adapter_digest(folder: Path | None) -> str:
    """Return the SHA-256 over the names and bytes of an adapter's files; "base" without one."""
    if folder is None:
        return "base"
    digest = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        digest.update(f"{path.relative_to(folder).as_posix()} {content}\n".encode())
    return digest.hexdigest()


@dataclass(frozen=True)
class _LoadedModel:
    """A :class:`silmm.bench.open_generator.GeneratorSource` whose model is in memory already."""

    model: BaseModel
    compared: ComparedModel
    entry: Entry
    model_options: Mapping[str, Any]
    sampling: SamplingParams
    batch_size: int

    @property
    def spec(self) -> str:
        return self.entry.name

    def recorded(self) -> dict[str, Any]:
        return {"adapter": self.compared.digest, "batch_size": self.batch_size, "model": dict(self.model_options)}

    def open(self, _: Registry) -> BaseModelGenerator:
        load_adapter(self.model, self.compared.adapter)
        identity = base_model_identity(
            self.entry, self.model_options, self.sampling,
            weights=self.entry.revision, adapter=self.compared.digest if self.compared.adapter else None,
        )
        return BaseModelGenerator(self.model, identity, self.sampling, self.batch_size)


@dataclass(frozen=True)
class RunEvaluation:
    """The benchmark of a run with its options, and the model that it evaluates."""

    benchmark: Benchmark
    options: BenchmarkOptions
    entry: Entry
    """Registration of the base model."""
    model_options: Mapping[str, Any]
    """Its options, complete; checkpoints by their content."""
    registry: Registry

    @classmethod
    def choose(
        cls, registry: Registry, name: str, options: Mapping[str, Any], model: str, model_options: Mapping[str, Any]
    ) -> RunEvaluation:
        """Build the benchmark `name` from its complete options; nothing is loaded.

        Raises:
            UsageError, PluginError: as :func:`silmm.bench.runner.build_benchmark`.
        """
        chosen = registry.entry("benchmark", name).options.model_validate(dict(options))
        return cls(
            build_benchmark(registry, name, options),
            chosen if isinstance(chosen, BenchmarkOptions) else BenchmarkOptions(),
            registry.entry("model", model), model_options, registry,
        )

    @property
    def sampling(self) -> SamplingParams:
        """How image tokens are sampled on both sides."""
        return sampling_params(self.options.model_dump())

    @cached_property
    def items(self) -> list[Item]:
        """All prompts of the benchmark."""
        return self.benchmark.items(data_root() / self.benchmark.name)

    @cached_property
    def _own_prompts(self) -> frozenset[str]:
        return frozenset(normalised_prompt(item.prompt) for item in self.items)

    def excluded(self, prompt: str) -> bool:
        """Return whether training on `prompt` would contaminate the benchmark."""
        return self.benchmark.excluded(prompt, self._own_prompts)

    def check(self, *, judges: bool = True) -> None:
        """Refuse, before any model is loaded, an evaluation that cannot work.

        Args:
            judges: whether the judges are checked too, which only the evaluation needs.

        Raises:
            DataError: data files of the benchmark or files of its judges are missing; says how to get them.
            UsageError: unknown roles, judges or options, or sampling parameters that the model does not take.
            PluginError: a judge may belong to a broken plugin.
        """
        require_sampling(self.entry, self.sampling)
        try:
            items = self.items
        except DataError as error:
            raise DataError(f"{error}\nOr train without an evaluation: --benchmark none.") from error
        if isinstance(self.benchmark, OwnEvaluation):
            if self.options.judges or self.options.judge_options:
                raise UsageError(f"{self.benchmark.name} takes no other judges in a run: leave --judge out")
            return
        request = self._request(Path(), "", None)
        for role in (*request.judges, *request.sets):
            method_of(role)
            if role not in self.benchmark.roles:
                raise UsageError(
                    f"{self.benchmark.name} has no judge for {role}. Its roles: {', '.join(self.benchmark.roles)}."
                )
        if judges:
            needed = needed_roles(self.benchmark, items)
            check_judges(self.benchmark.roles, request, self.registry, needed)

    def evaluate(
        self,
        model: BaseModel,
        adapters: Mapping[str, Path | None],
        *,
        work: Path,
        seed: int,
        limit: int | None,
        progress: Callable[[str, int, int], None],
    ) -> EvalResult:
        """Compare the base model with each adapter; see :meth:`silmm.contracts.benchmarks.OwnEvaluation.evaluate`.

        Seeds are the benchmark's own: `seed` counts only for a benchmark that evaluates itself. All models sample
        before any judge is opened.

        Raises:
            DataError: images or answers cannot be used.
            PluginError: a judge or the model stopped, or a judge fails its canaries.
        """
        if isinstance(self.benchmark, OwnEvaluation):
            return self.benchmark.evaluate(
                model, adapters, work=work, seed=seed, limit=limit, progress=progress
            )
        models = compared_models(adapters)
        judge_pool = JudgePool(one_judge=False)
        runs = [self._run(model, compared, work, limit, progress, judge_pool) for compared in models]
        for run in runs:
            run.sample_only()
        results = [self._result(run.run()) for run in runs]
        judge_pool.clear()
        load_adapter(model, None)
        comparisons = {
            compared.name: compare_results(results[:1], [result])[0]
            for compared, result in zip(models[1:], results[1:], strict=True)
        }
        return self._summary(comparisons, partial=limit is not None)

    def _run(
        self, model: BaseModel, compared: ComparedModel, work: Path, limit: int | None,
        progress: Callable[[str, int, int], None], judge_pool: JudgePool,
    ) -> BenchRun:
        label = "base model" if compared.adapter is None else f"iteration {compared.name}"
        request = self._request(
            work / FOLDER.format(compared.digest[:_DIGITS]), f"{self.entry.name}, {label}", limit
        )
        return BenchRun(
            self.benchmark, request, self.registry,
            progress=lambda stage, done, total: progress(
                f"evaluate {compared.name}, {stage.partition(': ')[2]}", done, total
            ),
            note=lambda _: None,  # counts, and warnings that the result holds too
            source=_LoadedModel(
                model, compared, self.entry, self.model_options, self.sampling, self.options.batch_size
            ),
            judge_pool=judge_pool,
        )

    def _request(self, out: Path, name: str, limit: int | None) -> BenchRequest:
        sets: dict[str, dict[str, str]] = {}
        for key, value in self.options.judge_options.items():
            role, _, option = key.partition(".")
            sets.setdefault(role, {})[option] = value
        return BenchRequest(
            out=out, name=name, limit=limit, mode=self.options.mode, judges=self.options.judges, sets=sets,
            canaries=self.options.canaries,
        )

    @staticmethod
    def _result(path: Path | None) -> Result:
        if path is None:
            raise ValueError("the runner stopped before the result")
        return read_result(path)

    def _summary(self, comparisons: Mapping[str, Comparison], *, partial: bool) -> EvalResult:
        overall = {name: self._overall(comparison) for name, comparison in comparisons.items()}
        last_name, last = list(comparisons.items())[-1]
        headline = self.benchmark.headline
        return EvalResult(
            benchmark=self.benchmark.name,
            metric=headline or "mean over prompts",
            protocol={
                **last.second.scoring, "sampling": dict(last.second.sampling), "remarks": list(last.warnings),
                "sha256": last.second.card_sha256,
            },
            overall=overall[last_name],
            categories={
                name: difference for name, difference in last.columns.items()
                if name != headline and not last.second.numbers[name].detail
            },
            iterations=overall,
            partial=partial,
        )

    def _overall(self, comparison: Comparison) -> Difference:
        """Return the difference of the headline column; without one, that of the means of each prompt's columns."""
        headline = self.benchmark.headline
        if not headline:
            first, second = _prompt_means(comparison.first), _prompt_means(comparison.second)
            shared = [item for item in first if item in second]
            return paired_difference([first[item] for item in shared], [second[item] for item in shared])
        if headline not in comparison.columns:
            note = comparison.second.numbers[headline].note if headline in comparison.second.numbers else ""
            raise DataError(
                f"{self.benchmark.name} has no value of {headline} to compare{f': {note}' if note else ''}. "
                f"The results are {comparison.first.path} and {comparison.second.path}."
            )
        return comparison.columns[headline]


def _prompt_means(result: Result) -> dict[str, float]:
    values: dict[str, list[float]] = {}
    for by_item in values_by_column(result).values():
        for item, value in by_item.items():
            values.setdefault(item, []).append(value)
    return {item: sum(row) / len(row) for item, row in values.items()}


def kept_by_content(benchmark: Benchmark, work: Path) -> Sequence[Path]:
    """Return what another run of the same model and benchmark options may take over from the work folder."""
    if isinstance(benchmark, OwnEvaluation):
        return benchmark.kept_by_content(work)
    return sorted({path.parent for path in work.glob(f"{FOLDER.format('*')}/{benchmark.name}.*.json")})
