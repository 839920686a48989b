"""Asks judges what they have not answered yet, block by block of images."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

from silmm.bench.answer_codec import Failure, from_stored, to_stored
from silmm.bench.images import ImageReader
from silmm.bench.judge_handle import if_short
from silmm.bench.judge_pool import JudgeHandle
from silmm.bench.roles import UNSEEN, WHOLE, ask, method_of
from silmm.bench.selection import blocks
from silmm.contracts.benchmarks import ImageBenchmark, ImageFile, Item, Judged, Request
from silmm.contracts.options import canonical
from silmm.errors import DataError, PluginError, SilmmError

if TYPE_CHECKING:
    from PIL.Image import Image

ALONE = "-"
"""Subject of answers that depend on no image (a matcher's)."""

Asked = tuple[ImageFile, Sequence[Request]]


@dataclass(frozen=True)
class JudgingSession:
    """One benchmark's images before its judges."""

    benchmark: ImageBenchmark
    open_judges: Mapping[str, JudgeHandle]
    ids: Mapping[ImageFile, str]
    """Content id of each image."""
    one_judge: bool = False
    """Each judge is asked about all blocks before the next one is opened: memory holds one."""

    def judge(
        self,
        items: Sequence[Item],
        work: Sequence[tuple[Item, ImageFile]],
        progress: Callable[[str, int, int], None],
    ) -> None:
        """Store every answer that the rules will need; what is there already is not asked again.

        A block's images are decoded once for all judges, with `one_judge` once for each. What follows
        from answers comes last.

        Args:
            items: all that are to be judged; they decide the blocks, whichever of their images are there.
            work: their images.
            progress: told of a role, of images done and of all that it is asked about.

        Raises:
            DataError: an image changed since its content id was taken, or a judge's answers are faulty.
            PluginError: a judge stopped.
        """
        self._ask_all(items, work, lambda item, _: self.benchmark.requests(item), progress)
        self._ask_all(items, work, self._further, progress)

    def _ask_all(
        self,
        items: Sequence[Item],
        work: Sequence[tuple[Item, ImageFile]],
        wanted: Callable[[Item, ImageFile], Sequence[Request]],
        progress: Callable[[str, int, int], None],
    ) -> None:
        by_item: dict[str, list[Asked]] = {}
        for item, image in work:
            by_item.setdefault(item.id, []).append((image, wanted(item, image)))
        groups = [[by_item.get(item.id, ()) for item in block] for block in blocks(items)]
        roles = list(self.open_judges)
        for judging_session in [[role] for role in roles] if self.one_judge else [roles]:
            self._sit(judging_session, groups, progress)

    def _sit(
        self,
        roles: Sequence[str],
        groups: Sequence[Sequence[Sequence[Asked]]],
        progress: Callable[[str, int, int], None],
    ) -> None:
        """Ask the judges of some roles about each block, one judge after the other."""
        parts = {role: [_of_role(role, group) for group in groups] for role in roles}
        waiting = {
            role: [[asked for asked in part if self._waits(asked)] for part in parts[role]] for role in roles
        }
        totals = {role: sum(map(len, parts[role])) for role in roles if any(parts[role])}
        done = {role: totals[role] - sum(map(len, waiting[role])) for role in totals}
        for role, total in totals.items():
            progress(role, done[role], total)
        for number in range(len(groups)):
            decoded: dict[ImageFile, Image] = {}
            for role, total in totals.items():
                if part := waiting[role][number]:
                    self._ask(self.open_judges[role], part, decoded)
                    done[role] += len(part)
                    progress(role, done[role], total)

    def _waits(self, asked: Asked) -> bool:
        image, requests = asked
        return any(self._unanswered(request, image) for request in requests)

    def missing(self, work: Sequence[tuple[Item, ImageFile]]) -> int:
        """Count the images that still lack an answer."""
        return sum(1 for item, image in work if self._open_questions(item, image))

    def judged(self, item: Item, image: ImageFile) -> tuple[Judged, list[str]]:
        """Return an image's stored answers, and why some cannot be used."""
        first, failed = self._answers(self.benchmark.requests(item), image)
        more, also = self._answers(self.benchmark.follow_up(item, first), image) if not failed else ({}, [])
        return Judged(item, image.index, {**first, **more}), [*failed, *also]

    def _open_questions(self, item: Item, image: ImageFile) -> bool:
        requests = self.benchmark.requests(item)
        if any(self._unanswered(request, image) for request in requests):
            return True
        return any(self._unanswered(request, image) for request in self._further(item, image))

    def _further(self, item: Item, image: ImageFile) -> Sequence[Request]:
        answers, failed = self._answers(self.benchmark.requests(item), image)
        return [] if failed else self.benchmark.follow_up(item, answers)

    def _unanswered(self, request: Request, image: ImageFile) -> list[Any]:
        handle = self.open_judges.get(request.judge)
        if handle is None:
            return []
        return [query for query in queries(request) if self._key(request, query, image) not in handle.store]

    def _key(self, request: Request, query: Any, image: ImageFile) -> tuple[str, str]:
        subject = ALONE if method_of(request.judge) in UNSEEN else self.ids[image]
        return subject, canonical(query)

    def _answers(
        self, requests: Sequence[Request], image: ImageFile
    ) -> tuple[dict[str, list[Any]], list[str]]:
        found: dict[str, list[Any]] = {}
        failed: list[str] = []
        for request in requests:
            handle = self.open_judges.get(request.judge)
            if handle is None:
                continue
            values = [
                from_stored(handle.store[self._key(request, query, image)], handle.store)
                for query in queries(request)
            ]
            failed += [f"{request.judge}: {one.reason}" for one in values if isinstance(one, Failure)]
            found.setdefault(request.judge, []).extend(values)
        return found, failed

    def _ask(self, handle: JudgeHandle, block: Sequence[Asked], decoded: dict[ImageFile, Image]) -> None:
        """Ask a judge what it has not answered about a block, and commit its answers.

        Images that it is the first to look at are added to `decoded`.
        """
        wanted: dict[tuple[ImageFile, str], list[Any]] = {}
        seen: set[tuple[str, str]] = set()
        for image, requests in block:
            for request in requests:
                for query in self._unanswered(request, image):
                    key = self._key(request, query, image)
                    if key not in seen:  # equal images, or equal answers to match
                        seen.add(key)
                        wanted.setdefault((image, key[0]), []).append(query)
        if not wanted:
            return
        looked = [] if method_of(handle.role) in UNSEEN else [image for image, _ in wanted]
        decoded.update(self._opened([one for one in looked if one not in decoded]))
        images = [decoded[image] for image in looked]
        judge = handle.judge
        with _stopping(handle, next(iter(wanted))[0], len(wanted), if_short(self.one_judge)):
            answers = ask(judge, handle.role, images, list(wanted.values()))
        handle.store.commit(
            ((subject, canonical(query)), to_stored(answer, handle.store))
            for ((_, subject), queries_of), given in zip(wanted.items(), answers, strict=True)
            for query, answer in zip(queries_of, given, strict=True)
        )

    def _opened(self, images: Sequence[ImageFile]) -> Iterator[tuple[ImageFile, Image]]:
        """Yield images decoded, each file once for its parts that follow each other.

        Raises:
            DataError: a file is another one than its answers would be stored for.
        """
        for path, parts in groupby(images, key=lambda one: one.path):
            file = ImageReader(path)
            for one in parts:
                if file.id(one.box) != self.ids[one]:
                    raise DataError(
                        f"{path} changed while images were judged. Run the same command again: what is "
                        "judged is kept, and the new image is judged as a new one."
                    )
                yield one, file.rgb(one.box)


@contextmanager
def _stopping(handle: JudgeHandle, first: ImageFile, count: int, hint: str) -> Iterator[None]:
    """Say which judge stopped over which images, whatever it raised; `hint` says what may help.

    Raises:
        DataError: the body raised one.
        PluginError: it raised what is no error of ours.
    """
    try:
        yield
    except DataError as error:
        told = f"among the {count} images from {first.item}, image {first.index} on"
        raise DataError(f"{error} ({handle.role}, {told})") from error
    except SilmmError:
        raise
    except Exception as error:  # judges are anybody's code
        raise PluginError(
            f"the judge {handle.name!r} ({handle.role}) stopped over {count} images from {first.item}, image "
            f"{first.index} on: {type(error).__name__}: {error}. What it answered before is kept, and the "
            f"same command goes on there; {hint}SILMM_DEBUG=1 shows where it stopped."
        ) from error


def _of_role(role: str, groups: Sequence[Sequence[Asked]]) -> list[Asked]:
    """Return the images of a block about which a role is asked, with its requests alone."""
    found: list[Asked] = []
    for image, requests in (asked for group in groups for asked in group):
        mine = [one for one in requests if one.judge == role]
        if mine:
            found.append((image, mine))
    return found


def queries(request: Request) -> Sequence[Any]:
    """Return what is asked; a judge of the whole image is asked once, nothing."""
    return (None,) if method_of(request.judge) in WHOLE else request.queries

