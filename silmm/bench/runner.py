"""One benchmark from images to result: sample, look, judge, apply the rules, write."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from silmm.bench import checking, planning, result, sampling
from silmm.bench.answer_store import AnswerStore
from silmm.bench.generating import GENERATOR, MODEL, GeneratorChoice, choose_generator
from silmm.bench.judge_handle import JudgePool
from silmm.bench.judge_pool import JudgeHandle, check_canaries, check_named, open_judges
from silmm.bench.judging import JudgingSession
from silmm.bench.naming import PARTIAL, UNCHECKED, result_name
from silmm.bench.official_outputs import write_official
from silmm.bench.protocol_card import Card, prompts_digest, sampling_of
from silmm.bench.requests import BenchOutcome, BenchRequest, Progress
from silmm.bench.roles import UNSEEN, method_of
from silmm.bench.selection import first_of_each, of_shard
from silmm.contracts.benchmarks import ImageBenchmark, ImageFile, Item, Mode, Problem
from silmm.errors import Incomplete, UsageError
from silmm.storage.atomic_files import make_folder
from silmm.storage.lock import hold
from silmm.storage.user_folders import data_root

if TYPE_CHECKING:
    from silmm.registry.registry import Registry

@dataclass(frozen=True)
class Bench:
    """An image benchmark as a component: what `silmm bench` runs."""

    benchmark: ImageBenchmark

    @property
    def takes_options_for(self) -> Collection[str]:
        """The roles of its judges, and who samples."""
        return (*self.benchmark.roles, GENERATOR, MODEL)

    def bench(
        self,
        request: BenchRequest,
        *,
        registry: Registry,
        progress: Progress,
        note: Callable[[str], None],
    ) -> BenchOutcome:
        """Do what :meth:`silmm.bench.requests.ImageBench.bench` says."""
        _check(request)
        session = _Session(self.benchmark, request, registry, progress, note)
        if request.dry_run:
            return BenchOutcome(self.benchmark.name, session.run())
        make_folder(request.out)
        with hold(request.out, request.shard):
            path = session.run()
        return BenchOutcome(self.benchmark.name, path)

    def excluded(self, prompt: str) -> bool:
        """Refuse to stand as the benchmark of a training run (`silmm run`)."""
        raise self._no_run(prompt)

    def evaluate(self, *_: object, **__: object) -> Any:
        """Refuse to stand as the benchmark of a training run (`silmm run`)."""
        raise self._no_run("")

    def _no_run(self, _: str) -> UsageError:
        return UsageError(
            f"{self.benchmark.name} scores finished models: train with --benchmark none, then "
            f"`silmm bench {self.benchmark.name} --model NAME --set {GENERATOR}.adapter=ADAPTER`."
        )


@dataclass
class _Session:
    """One call: what is asked, and what its stages find."""

    benchmark: ImageBenchmark
    request: BenchRequest
    registry: Registry
    progress: Progress
    note: Callable[[str], None]
    canaries: dict[str, list[str]] = field(default_factory=dict)
    every: Sequence[Item] = ()
    """All items of the chosen categories, of which some may be left out."""

    @property
    def home(self) -> Path:
        """Folder of this benchmark's generated images and lists."""
        return self.request.out / self.benchmark.name

    def run(self) -> Path | None:
        """Go through the stages; return the result file, or None where `until` stopped before it."""
        request, name = self.request, self.benchmark.name
        data = data_root(request.data) / name
        self.every = self.benchmark.items(data, request.categories)
        items = first_of_each(self.every, request.limit)
        own = of_shard(items, request.shard)
        self.note(planning.size_of(name, own))
        needed = self._roles(items)
        if request.until != "generate":
            check_named(self.benchmark.roles, request, self.registry, needed)
        if request.model:
            self._generator()  # names and options are refused before anything is generated
        if request.dry_run:
            self._plan(own)
            return None
        record = self._sample(own) if request.model else None
        if request.until == "generate":
            return None
        folder = request.images or self.home / sampling.IMAGES
        if request.images is not None:
            record = sampling.recorded(folder.parent)  # images that an earlier command sampled
        judge_pool = JudgePool(request.one_judge)
        panel = open_judges(self.benchmark.roles, request, self.registry, needed, judge_pool)
        seen, judging_session, work = self._look(folder, own, panel)
        self._stop_at(seen.problems)
        self.canaries = {
            role: check_canaries(handle, request.canaries, self.note) for role, handle in panel.items()
        }
        judging_session.judge(own, work, lambda role, done, total: self.progress(f"{name}: {role}", done, total))
        judge_pool.clear()
        if request.until == "judge":
            return None
        if request.shard is not None:
            seen, judging_session, work = self._gather(folder, items, panel)
        card = self._card(data, items, panel, sampling_of(record, seen.sizes, self._seed_rule()))
        return self._write(card, items, work, judging_session, seen.problems, record, folder)

    def _plan(self, items: Sequence[Item]) -> None:
        """Tell what there is to do."""
        if self.request.images is None:
            files = sampling.targets(self.benchmark, self.home / sampling.IMAGES, items)
            self.note(planning.to_sample(files, self._generator().options.get("price")))
        else:
            images, problems = self._find(self.request.images, items)
            self.note(planning.there(len(images), problems))
        official = self.benchmark.roles
        judges = {role: self.request.judges.get(role, official[role]) for role in self._roles(items)}
        for line in planning.to_ask(self.benchmark, items, judges):
            self.note(line)

    def _generator(self) -> GeneratorChoice:
        return choose_generator(self.request.model or "", self.request.sets, self.registry)

    def _sample(self, items: Sequence[Item]) -> Mapping[str, Any]:
        choice = self._generator()
        return sampling.sample(
            self.benchmark, items, self.home, spec=choice.spec, options=choice.recorded(),
            open_generator=lambda: choice.open(self.registry),
            progress=lambda done, total: self.progress(f"{self.benchmark.name}: generate", done, total),
            note=self.note,
        )

    def _look(
        self, folder: Path, items: Sequence[Item], panel: Mapping[str, JudgeHandle]
    ) -> tuple[checking.Seen, JudgingSession, list[tuple[Item, ImageFile]]]:
        """Find the items' images, open each once, and seat them before the judges."""
        images, problems = self._find(folder, items)
        name = self.benchmark.name
        seen = checking.look_at(images, self._looked(), lambda d, t: self.progress(f"{name}: check", d, t))
        seen.problems[:0] = problems
        by_id = {item.id: item for item in items}
        work = [(by_id[image.item], image) for image in images if image in seen.ids]
        return seen, JudgingSession(self.benchmark, panel, seen.ids, self.request.one_judge), work

    def _find(self, folder: Path, items: Sequence[Item]) -> tuple[list[ImageFile], list[Problem]]:
        found = self.benchmark.find(folder, self.every)
        here = {item.id for item in items}
        images = [one for one in found.images if one.item in here]
        problems = [one for one in found.problems if not one.item or one.item in here]
        problems += checking.absent(items, images, problems)
        if self.request.model is not None:
            for item, why in sorted(sampling.failed(self.home).items()):
                if item in here:
                    self.note(f"no image of {item}: {why}")
        return images, problems

    def _looked(self) -> AnswerStore:
        return AnswerStore(self.request.out / "answers" / "opened")

    def _stop_at(self, problems: Sequence[Problem]) -> None:
        shard = self.request.shard
        name = f"problems.{shard[0]}-of-{shard[1]}.tsv" if shard else "problems.tsv"
        checking.judge_problems(
            problems, self.home / name, allow_missing=self.request.allow_missing, note=self.note
        )

    def _roles(self, items: Sequence[Item]) -> list[str]:
        """Return the roles that these items ask, and those that are only asked about answers."""
        asked = {one.judge for item in items for one in self.benchmark.requests(item)}
        return [role for role in self.benchmark.roles if role in asked or method_of(role) in UNSEEN]

    def _gather(
        self, folder: Path, items: Sequence[Item], panel: Mapping[str, JudgeHandle]
    ) -> tuple[checking.Seen, JudgingSession, list[tuple[Item, ImageFile]]]:
        """Look whether the other shards are done too.

        Raises:
            Incomplete: they are not.
        """
        for handle in panel.values():
            handle.store.load()
        seen, judging_session, work = self._look(folder, items, panel)
        waiting = judging_session.missing(work)
        if self.request.model is not None:  # others may still sample
            waiting += sum(item.images for item in items) - len(work)
        if waiting and not (self.request.allow_missing and not judging_session.missing(work)):
            raise Incomplete(
                f"{self.benchmark.name}: this shard is done; {waiting} images still wait for other shards. "
                "The last of the --shard commands writes the result, or the command without --shard."
            )
        self._stop_at(seen.problems)
        return seen, judging_session, work

    def _seed_rule(self) -> str:
        return str(self.benchmark.protocol().get("seed_rule", "the benchmark's own"))

    def _card(
        self, data: Path, items: Sequence[Item], panel: Mapping[str, JudgeHandle], sampled: Mapping[str, Any]
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
            judges={role: panel[role].identity if role in panel else {} for role in self._roles(items)},
            sampling=sampled,
        )

    def _write(
        self,
        card: Card,
        items: Sequence[Item],
        work: Sequence[tuple[Item, ImageFile]],
        judging_session: JudgingSession,
        problems: Sequence[Problem],
        record: Mapping[str, Any] | None,
        folder: Path,
    ) -> Path:
        mode = Mode(self.request.mode)
        judged = [(item, image, *judging_session.judged(item, image)) for item, image in work]
        scored = result.score(self.benchmark, mode, judged)
        grave: dict[str, int] = {}
        for one in problems:
            grave[one.kind] = grave.get(one.kind, 0) + 1
        marks = []
        if self.request.limit is not None:
            marks.append(f"subset: {len(items)} prompts (--limit {self.request.limit})")
        if any(kind != checking.HARMLESS for kind in grave):
            told = ", ".join(f"{n} {kind}" for kind, n in sorted(grave.items()) if kind != checking.HARMLESS)
            marks.append(f"{PARTIAL}: {told} (--allow-missing)")
        if self.request.canaries == "off":
            marks.append(f"{UNCHECKED}: the judges' canaries were off (--canaries off)")
        unusable = result.unusable(scored)
        if unusable and not self.request.allow_missing:
            raise result.refuse(unusable)
        if unusable:
            told = f"{len(unusable)} images whose answers cannot be used"
            marks.append(f"{PARTIAL}: {told} (--allow-missing)")
        finding = result.Finding(
            benchmark=self.benchmark, mode=mode, card=card, model=self._model(record), items=items,
            scored=scored, ids=judging_session.ids, folder=folder, marks=marks, problems=grave,
            left_out=[role for role, judge in card.judges.items() if not judge],
            canaries={role: told for role, told in self.canaries.items() if told},
        )
        path = self.request.out / f"{result_name(self.benchmark, self.request, marks)}.json"
        result.write(finding, path)
        if self.request.official_files:
            write_official(finding, path, self.note)
        return path

    def _model(self, record: Mapping[str, Any] | None) -> dict[str, Any]:
        name = str(record["spec"]) if record else str(self.request.images)
        adapter = (record or {}).get("options", {}).get("adapter")
        shown = f"{name} + {Path(str(adapter)).name}" if adapter else name
        return {"name": self.request.name or shown, "generator": dict(record) if record else None}


def _check(request: BenchRequest) -> None:
    if (request.model is None) == (request.images is None):
        raise UsageError("say whose images are scored: --model NAME[:DIR] or --images DIR, one of them")
    if request.limit is not None and request.limit < 1:
        raise UsageError(f"--limit {request.limit} scores nothing; give 1 or more")
    if request.official_files and request.mode != Mode.OFFICIAL.value:
        raise UsageError("--official-files holds the official scripts' numbers; leave --mode fixed out")
    if request.until == "generate" and request.images is not None:
        raise UsageError("--until generate samples images, and --images brings them; leave one out")
