"""Asks judges what they have not answered yet, block by block of pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

from silmm.bench.answer_codec import Failure, from_stored, to_stored
from silmm.bench.images import PictureFile
from silmm.bench.judge_handle import if_short
from silmm.bench.judge_pool import Seat
from silmm.bench.roles import UNSEEN, WHOLE, ask, method_of
from silmm.bench.selection import blocks
from silmm.contracts.benchmarks import Item, Judged, Picture, PictureBenchmark, Request
from silmm.contracts.options import canonical
from silmm.errors import DataError, PluginError, SilmmError

if TYPE_CHECKING:
    from PIL.Image import Image

ALONE = "-"
"""Subject of answers that depend on no picture (a matcher's)."""

Asked = tuple[Picture, Sequence[Request]]


@dataclass(frozen=True)
class Sitting:
    """One benchmark's pictures before its judges."""

    benchmark: PictureBenchmark
    seats: Mapping[str, Seat]
    ids: Mapping[Picture, str]
    """Content id of each picture."""
    one_judge: bool = False
    """Each judge is asked about all blocks before the next one is opened: memory holds one."""

    def judge(
        self,
        items: Sequence[Item],
        work: Sequence[tuple[Item, Picture]],
        progress: Callable[[str, int, int], None],
    ) -> None:
        """Store every answer that the rules will need; what is there already is not asked again.

        A block's pictures are decoded once for all judges, with `one_judge` once for each. What follows
        from answers comes last.

        Args:
            items: all that are to be judged; they decide the blocks, whichever of their pictures are there.
            work: their pictures.
            progress: told of a role, of pictures done and of all that it is asked about.

        Raises:
            DataError: a picture changed since its content id was taken, or a judge's answers are faulty.
            PluginError: a judge stopped.
        """
        self._ask_all(items, work, lambda item, _: self.benchmark.requests(item), progress)
        self._ask_all(items, work, self._further, progress)

    def _ask_all(
        self,
        items: Sequence[Item],
        work: Sequence[tuple[Item, Picture]],
        wanted: Callable[[Item, Picture], Sequence[Request]],
        progress: Callable[[str, int, int], None],
    ) -> None:
        by_item: dict[str, list[Asked]] = {}
        for item, picture in work:
            by_item.setdefault(item.id, []).append((picture, wanted(item, picture)))
        groups = [[by_item.get(item.id, ()) for item in block] for block in blocks(items)]
        roles = list(self.seats)
        for sitting in [[role] for role in roles] if self.one_judge else [roles]:
            self._sit(sitting, groups, progress)

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
            decoded: dict[Picture, Image] = {}
            for role, total in totals.items():
                if part := waiting[role][number]:
                    self._ask(self.seats[role], part, decoded)
                    done[role] += len(part)
                    progress(role, done[role], total)

    def _waits(self, asked: Asked) -> bool:
        picture, requests = asked
        return any(self._unanswered(request, picture) for request in requests)

    def missing(self, work: Sequence[tuple[Item, Picture]]) -> int:
        """Count the pictures that still lack an answer."""
        return sum(1 for item, picture in work if self._open_questions(item, picture))

    def judged(self, item: Item, picture: Picture) -> tuple[Judged, list[str]]:
        """Return a picture's stored answers, and why some cannot be used."""
        first, failed = self._answers(self.benchmark.requests(item), picture)
        more, also = self._answers(self.benchmark.follow_up(item, first), picture) if not failed else ({}, [])
        return Judged(item, picture.index, {**first, **more}), [*failed, *also]

    def _open_questions(self, item: Item, picture: Picture) -> bool:
        requests = self.benchmark.requests(item)
        if any(self._unanswered(request, picture) for request in requests):
            return True
        return any(self._unanswered(request, picture) for request in self._further(item, picture))

    def _further(self, item: Item, picture: Picture) -> Sequence[Request]:
        answers, failed = self._answers(self.benchmark.requests(item), picture)
        return [] if failed else self.benchmark.follow_up(item, answers)

    def _unanswered(self, request: Request, picture: Picture) -> list[Any]:
        seat = self.seats.get(request.judge)
        if seat is None:
            return []
        return [query for query in queries(request) if self._key(request, query, picture) not in seat.store]

    def _key(self, request: Request, query: Any, picture: Picture) -> tuple[str, str]:
        subject = ALONE if method_of(request.judge) in UNSEEN else self.ids[picture]
        return subject, canonical(query)

    def _answers(
        self, requests: Sequence[Request], picture: Picture
    ) -> tuple[dict[str, list[Any]], list[str]]:
        found: dict[str, list[Any]] = {}
        failed: list[str] = []
        for request in requests:
            seat = self.seats.get(request.judge)
            if seat is None:
                continue
            values = [
                from_stored(seat.store[self._key(request, query, picture)], seat.store)
                for query in queries(request)
            ]
            failed += [f"{request.judge}: {one.reason}" for one in values if isinstance(one, Failure)]
            found.setdefault(request.judge, []).extend(values)
        return found, failed

    def _ask(self, seat: Seat, block: Sequence[Asked], decoded: dict[Picture, Image]) -> None:
        """Ask a judge what it has not answered about a block, and commit its answers.

        Pictures that it is the first to look at are added to `decoded`.
        """
        wanted: dict[tuple[Picture, str], list[Any]] = {}
        seen: set[tuple[str, str]] = set()
        for picture, requests in block:
            for request in requests:
                for query in self._unanswered(request, picture):
                    key = self._key(request, query, picture)
                    if key not in seen:  # equal pictures, or equal answers to match
                        seen.add(key)
                        wanted.setdefault((picture, key[0]), []).append(query)
        if not wanted:
            return
        looked = [] if method_of(seat.role) in UNSEEN else [picture for picture, _ in wanted]
        decoded.update(self._opened([one for one in looked if one not in decoded]))
        images = [decoded[picture] for picture in looked]
        judge = seat.judge
        with _stopping(seat, next(iter(wanted))[0], len(wanted), if_short(self.one_judge)):
            answers = ask(judge, seat.role, images, list(wanted.values()))
        seat.store.commit(
            ((subject, canonical(query)), to_stored(answer, seat.store))
            for ((_, subject), queries_of), given in zip(wanted.items(), answers, strict=True)
            for query, answer in zip(queries_of, given, strict=True)
        )

    def _opened(self, pictures: Sequence[Picture]) -> Iterator[tuple[Picture, Image]]:
        """Yield pictures decoded, each file once for its parts that follow each other.

        Raises:
            DataError: a file is another one than its answers would be stored for.
        """
        for path, parts in groupby(pictures, key=lambda one: one.path):
            file = PictureFile(path)
            for one in parts:
                if file.id(one.box) != self.ids[one]:
                    raise DataError(
                        f"{path} changed while pictures were judged. Run the same command again: what is "
                        "judged is kept, and the new picture is judged as a new one."
                    )
                yield one, file.rgb(one.box)


@contextmanager
def _stopping(seat: Seat, first: Picture, count: int, hint: str) -> Iterator[None]:
    """Say which judge stopped over which pictures, whatever it raised; `hint` says what may help.

    Raises:
        DataError: the body raised one.
        PluginError: it raised what is no error of ours.
    """
    try:
        yield
    except DataError as error:
        told = f"among the {count} pictures from {first.item}, picture {first.index} on"
        raise DataError(f"{error} ({seat.role}, {told})") from error
    except SilmmError:
        raise
    except Exception as error:  # judges are anybody's code
        raise PluginError(
            f"the judge {seat.name!r} ({seat.role}) stopped over {count} pictures from {first.item}, picture "
            f"{first.index} on: {type(error).__name__}: {error}. What it answered before is kept, and the "
            f"same command goes on there; {hint}SILMM_DEBUG=1 shows where it stopped."
        ) from error


def _of_role(role: str, groups: Sequence[Sequence[Asked]]) -> list[Asked]:
    """Return the pictures of a block about which a role is asked, with its requests alone."""
    found: list[Asked] = []
    for picture, requests in (asked for group in groups for asked in group):
        mine = [one for one in requests if one.judge == role]
        if mine:
            found.append((picture, mine))
    return found


def queries(request: Request) -> Sequence[Any]:
    """Return what is asked; a judge of the whole picture is asked once, nothing."""
    return (None,) if method_of(request.judge) in WHOLE else request.queries

