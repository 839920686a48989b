"""One benchmark from images to result: sample, check, judge, apply the rules, write."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from silmm.bench import image_checking, image_generation, planning, result
from silmm.bench.bench_request import PARTIAL, UNCHECKED, BenchRequest, Progress, result_name
from silmm.bench.judging.answer_store import AnswerStore
from silmm.bench.judging.judge_pool import JudgeHandle, JudgePool, check_canaries, check_judges, open_judges
from silmm.bench.judging.judging_session import JudgingSession
from silmm.bench.judging.roles import WITHOUT_IMAGES, method_of
from silmm.bench.open_generator import GENERATOR, MODEL, GeneratorSource, choose_generator
from silmm.bench.protocol_card import Card, prompts_digest, sampling_of
from silmm.contracts.benchmarks import Benchmark, ImageFile, Item, Mode, Problem
from silmm.errors import Incomplete, PluginError, UsageError
from silmm.storage.atomic_files import make_folder
from silmm.storage.lock import hold
from silmm.storage.user_folders import data_root

if TYPE_CHECKING:
    from silmm.registry.registry import Registry


def run_bench(
    benchmark: Benchmark,
    request: BenchRequest,
    *,
    registry: Registry,
    progress: Progress,
    note: Callable[[str], None],
) -> Path | None:
    """Sample the missing images, ask the judges what is not answered yet, apply the rules.

    Returns:
        The result file (its tables are beside it), or None where `until` or `dry_run` stopped before it.

    Raises:
        UsageError: a judge, a model or a category that cannot work.
        DataError: images or data files that are missing or malformed, each named; a judge whose weights are missing.
        Incomplete: with `shard`: this part is done, others are not.
    """
    _check_request(request)
    run = BenchRun(benchmark, request, registry, progress, note)
    if request.dry_run:
        return run.run()
    make_folder(request.out)
    with hold(request.out, request.shard):
        return run.run()


def build_benchmark(registry: Registry, name: str, options: Mapping[str, Any]) -> Benchmark:
    """Build a benchmark from its options.

    Raises:
        UsageError, PluginError: as :meth:`silmm.registry.registry.Registry.build`.
        PluginError: the factory returned something else.
    """
    benchmark = registry.build("benchmark", name, options)
    if not isinstance(benchmark, Benchmark):
        raise PluginError(
            f"the factory of the benchmark {registry.entry('benchmark', name).qualified!r} returned a "
            f"{type(benchmark).__name__}, which is no silmm.contracts.benchmarks.Benchmark; report it to its author"
        )
    return benchmark


def set_kinds(benchmark: Benchmark) -> tuple[str, ...]:
    """Return the kinds of ``--set KIND.OPTION=VALUE`` that `silmm bench` knows besides the benchmark's name."""
    return (*benchmark.roles, GENERATOR, MODEL)


def needed_roles(benchmark: Benchmark, items: Sequence[Item]) -> list[str]:
    """Return the roles that these items ask, and those that are only asked about answers."""
    asked = {request.judge for item in items for request in benchmark.requests(item)}
    return [role for role in benchmark.roles if role in asked or method_of(role) in WITHOUT_IMAGES]


class _Work(NamedTuple):
    """The images of some items, checked, with the session that has them judged."""

    checked: image_checking.CheckedImages
    session: JudgingSession
    images: list[tuple[Item, ImageFile]]


@dataclass
class BenchRun:
    """One call: the request, and what its stages made so far."""

    benchmark: Benchmark
    request: BenchRequest
    registry: Registry
    progress: Progress
    note: Callable[[str], None]
    source: GeneratorSource | None = None
    """Samples the images; None: the request names the model or the folder of images."""
    judge_pool: JudgePool | None = None
    """Judges that other calls share, and who shares them closes them; None: this call opens its own."""
    canaries: dict[str, list[str]] = field(default_factory=dict)
    all_items: Sequence[Item] = ()
    """All items of the chosen categories, of which some may be left out."""

    @property
    def home(self) -> Path:
        """Folder of this benchmark's generated images and lists."""
        return self.request.out / self.benchmark.name

    def sample_only(self) -> None:
        """Sample the missing images."""
        replace(self, request=replace(self.request, until="generate")).run()

    def run(self) -> Path | None:
        """Go through the stages; return the result file, or None where `until` stopped before it."""
        request, name = self.request, self.benchmark.name
        data = data_root(request.data) / name
        self.all_items = self.benchmark.items(data, request.categories)
        items = planning.first_of_each(self.all_items, request.limit)
        own = planning.items_of_shard(items, request.shard)
        self.note(planning.size_line(name, own))
        needed = needed_roles(self.benchmark, items)
        if request.until != "generate":
            check_judges(self.benchmark.roles, request, self.registry, needed)
        if self.source is None and request.model:
            self.source = choose_generator(request.model, request.sets, self.registry)
        if request.dry_run:
            self._report_plan(own, needed)
            return None
        record = self._sample(own)
        if request.until == "generate":
            return None
        folder = request.images or self.home / image_generation.IMAGES
        judge_pool = self.judge_pool or JudgePool(request.one_judge)
        judges = open_judges(self.benchmark.roles, request, self.registry, needed, judge_pool)
        work = self._prepare(folder, own, judges)
        self._stop_at_problems(work.checked.problems)
        self.canaries = {
            role: check_canaries(handle, request.canaries, self.note) for role, handle in judges.items()
        }
        work.session.judge(own, work.images, lambda role, done, n: self.progress(f"{name}: {role}", done, n))
        if self.judge_pool is None:
            judge_pool.clear()
        if request.until == "judge":
            return None
        if request.shard is not None:
            work = self._gather(folder, items, judges)
        card = self._card(data, items, judges, sampling_of(record, work.checked.sizes, self._seed_rule()))
        return self._write(card, items, work, record, folder)

    def _report_plan(self, items: Sequence[Item], needed: Sequence[str]) -> None:
        """Report what there is to sample and to ask."""
        if self.request.images is None:
            files = image_generation.targets(self.benchmark, self.home / image_generation.IMAGES, items)
            price = self.source.recorded().get("price") if self.source else None
            self.note(planning.sampling_line(files, price))
        else:
            images, problems = self._find(self.request.images, items)
            self.note(planning.folder_line(len(images), problems))
        judges = {role: self.request.judges.get(role, self.benchmark.roles[role]) for role in needed}
        for line in planning.question_lines(self.benchmark, items, judges):
            self.note(line)

    def _sample(self, items: Sequence[Item]) -> Mapping[str, Any] | None:
        """Sample the missing images; return the record of who sampled, None for images of unknown origin."""
        source, name = self.source, self.benchmark.name
        if source is None:
            images = self.request.images
            return image_generation.read_record(images.parent) if images else None  # of an earlier command
        return image_generation.sample_images(
            self.benchmark, items, self.home, spec=source.spec, options=source.recorded(),
            open_generator=lambda: source.open(self.registry),
            progress=lambda done, total: self.progress(f"{name}: generate", done, total),
            note=self.note,
        )

    def _prepare(self, folder: Path, items: Sequence[Item], judges: Mapping[str, JudgeHandle]) -> _Work:
        """Find the items' images, open each once, and make the session that judges them."""
        images, problems = self._find(folder, items)
        name, store = self.benchmark.name, AnswerStore(self.request.out / "answers" / "opened")
        checked = image_checking.check_images(
            images, store, lambda done, total: self.progress(f"{name}: check", done, total)
        )
        checked.problems[:0] = problems
        by_id = {item.id: item for item in items}
        work = [(by_id[image.item], image) for image in images if image in checked.ids]
        session = JudgingSession(self.benchmark, judges, checked.ids, self.request.one_judge)
        return _Work(checked, session, work)

    def _find(self, folder: Path, items: Sequence[Item]) -> tuple[list[ImageFile], list[Problem]]:
        listing = self.benchmark.find(folder, self.all_items)
        ids = {item.id for item in items}
        images = [image for image in listing.images if image.item in ids]
        problems = [problem for problem in listing.problems if not problem.item or problem.item in ids]
        problems += image_checking.missing_images(items, images, problems)
        if self.source is not None:
            problems = image_checking.with_reasons(problems, image_generation.failures_by_item(self.home))
        return images, problems

    def _stop_at_problems(self, problems: Sequence[Problem]) -> None:
        shard = self.request.shard
        name = f"problems.{shard[0]}-of-{shard[1]}.tsv" if shard else "problems.tsv"
        image_checking.stop_at_problems(
            problems, self.home / name, allow_missing=self.request.allow_missing, note=self.note
        )

    def _gather(self, folder: Path, items: Sequence[Item], judges: Mapping[str, JudgeHandle]) -> _Work:
        """Return the work of all shards.

        Raises:
            Incomplete: some are not done.
        """
        for handle in judges.values():
            handle.store.load()
        work = self._prepare(folder, items, judges)
        waiting = unanswered = work.session.missing(work.images)
        if self.source is not None:  # other shards may still sample
            waiting += sum(item.images for item in items) - len(work.images)
        if waiting and not (self.request.allow_missing and not unanswered):
            raise Incomplete(
                f"{self.benchmark.name}: this shard is done; {waiting} images still wait for other shards. "
                "The last of the --shard commands writes the result, or the command without --shard."
            )
        self._stop_at_problems(work.checked.problems)
        return work

    def _seed_rule(self) -> str:
        return str(self.benchmark.protocol().get("seed_rule", "the benchmark's own"))

    def _card(
        self, data: Path, items: Sequence[Item], judges: Mapping[str, JudgeHandle], sampling: Mapping[str, Any]
    ) -> Card:
        return Card(
            benchmark=self.benchmark.name,
            mode=self.request.mode,
            repairs=tuple(self.benchmark.repairs) if self.request.mode == Mode.FIXED.value else (),
            data=dict(self.benchmark.fingerprint(data)),
            categories=tuple(sorted(self.request.categories)),
            prompts=len(items),
            prompts_sha256=prompts_digest(items),
            images_per_prompt=tuple(sorted({item.images for item in items})),
            protocol=dict(self.benchmark.protocol()),
            judges={
                role: judges[role].identity if role in judges else {}
                for role in needed_roles(self.benchmark, items)
            },
            sampling=sampling,
        )

    def _write(
        self, card: Card, items: Sequence[Item], work: _Work, record: Mapping[str, Any] | None, folder: Path
    ) -> Path:
        request, mode = self.request, Mode(self.request.mode)
        scored = result.score_images(
            self.benchmark, mode, [(item, image, *work.session.judged(item, image)) for item, image in work.images]
        )
        unusable = result.unusable_images(scored)
        if unusable and not request.allow_missing:
            raise result.unusable_error(unusable)
        problems = Counter(problem.kind for problem in work.checked.problems)
        marks = self._marks(len(items), problems, len(unusable))
        parts = result.ResultParts(
            benchmark=self.benchmark, mode=mode, card=card, model=self._model(record), items=items,
            scored=scored, ids=work.session.ids, folder=folder, marks=marks, problems=problems,
            left_out=[role for role, judge in card.judges.items() if not judge],
            canaries={role: failed for role, failed in self.canaries.items() if failed},
        )
        path = request.out / f"{result_name(self.benchmark, request, marks)}.json"
        result.write_result(parts, path)
        if request.official_files:
            result.write_official(parts, path, self.note)
        return path

    def _marks(self, prompts: int, problems: Mapping[str, int], unusable: int) -> list[str]:
        """Say why the result is no full official one."""
        request, marks = self.request, []
        if request.limit is not None:
            marks.append(f"subset: {prompts} prompts (--limit {request.limit})")
        severe = {kind: n for kind, n in sorted(problems.items()) if kind != image_checking.HARMLESS}
        if severe:
            listed = ", ".join(f"{n} {kind}" for kind, n in severe.items())
            marks.append(f"{PARTIAL}: {listed} (--allow-missing)")
        if request.canaries == "off":
            marks.append(f"{UNCHECKED}: the judges' canaries were off (--canaries off)")
        if unusable:
            marks.append(f"{PARTIAL}: {unusable} images whose answers cannot be used (--allow-missing)")
        return marks

    def _model(self, record: Mapping[str, Any] | None) -> dict[str, Any]:
        name = str(record["spec"]) if record else str(self.request.images)
        adapter = (record or {}).get("options", {}).get("adapter")
        label = f"{name} + {Path(str(adapter)).name}" if adapter else name
        return {"name": self.request.name or label, "generator": dict(record) if record else None}


def _check_request(request: BenchRequest) -> None:
    if (request.model is None) == (request.images is None):
        raise UsageError("say whose images are scored: --model NAME[:DIR] or --images DIR, one of them")
    if request.limit is not None and request.limit < 1:
        raise UsageError(f"--limit {request.limit} scores nothing; give 1 or more")
    if request.official_files and request.mode != Mode.OFFICIAL.value:
        raise UsageError("--official-files holds the official scripts' numbers; leave --mode fixed out")
    if request.until == "generate" and request.images is not None:
        raise UsageError("--until generate samples images, and --images brings them; leave one out")
