"""Asks judges what they have not answered yet, block by block of images."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

from silmm.bench.images import ImageReader
from silmm.bench.judging.answer_codec import Failure, from_stored, to_stored
from silmm.bench.judging.judge_pool import JudgeHandle, memory_hint
from silmm.bench.judging.roles import WITHOUT_IMAGES, ask, method_of, queries_of
from silmm.bench.planning import blocks
from silmm.contracts.benchmarks import Benchmark, ImageFile, Item, JudgedImage, Request
from silmm.contracts.options import canonical
from silmm.errors import DataError, PluginError, SilmmError

if TYPE_CHECKING:
    from PIL.Image import Image

NO_IMAGE = "-"
"""Subject of answers that depend on no image (a matcher's)."""

ImageRequests = tuple[ImageFile, Sequence[Request]]


@dataclass(frozen=True)
class JudgingSession:
    """One benchmark's images and its judges."""

    benchmark: Benchmark
    judges: Mapping[str, JudgeHandle]
    """By role."""
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
        """Store every answer that the rules will need; stored answers are not asked again.

        A block's images are decoded once for all judges, with `one_judge` once for each. Requests that follow
        from answers come last.

        Args:
            items: all items to be judged; they decide the blocks, whichever of their images exist.
            work: their images.
            progress: called with a role, its images done and all its images.

        Raises:
            DataError: an image changed since its content id was taken, or a judge's answers are faulty.
            PluginError: a judge stopped.
        """
        self._ask_all(items, work, lambda item, _: self.benchmark.requests(item), progress)
        self._ask_all(items, work, self._follow_up, progress)

    def _ask_all(
        self,
        items: Sequence[Item],
        work: Sequence[tuple[Item, ImageFile]],
        requests_of: Callable[[Item, ImageFile], Sequence[Request]],
        progress: Callable[[str, int, int], None],
    ) -> None:
        by_item: dict[str, list[ImageRequests]] = {}
        for item, image in work:
            by_item.setdefault(item.id, []).append((image, requests_of(item, image)))
        groups = [[by_item.get(item.id, ()) for item in block] for block in blocks(items)]
        roles = list(self.judges)
        for roles_at_once in [[role] for role in roles] if self.one_judge else [roles]:
            self._ask_roles(roles_at_once, groups, progress)

    def _ask_roles(
        self,
        roles: Sequence[str],
        groups: Sequence[Sequence[Sequence[ImageRequests]]],
        progress: Callable[[str, int, int], None],
    ) -> None:
        """Ask the judges of some roles about each block, one judge after the other."""
        parts = {role: [_of_role(role, group) for group in groups] for role in roles}
        waiting = {
            role: [[entry for entry in part if self._waits(entry)] for part in parts[role]] for role in roles
        }
        totals = {role: sum(map(len, parts[role])) for role in roles if any(parts[role])}
        done = {role: totals[role] - sum(map(len, waiting[role])) for role in totals}
        for role, total in totals.items():
            progress(role, done[role], total)
        for number in range(len(groups)):
            decoded: dict[ImageFile, Image] = {}
            for role, total in totals.items():
                if part := waiting[role][number]:
                    self._ask(self.judges[role], part, decoded)
                    done[role] += len(part)
                    progress(role, done[role], total)

    def _waits(self, entry: ImageRequests) -> bool:
        image, requests = entry
        return any(self._unanswered(request, image) for request in requests)

    def missing(self, work: Sequence[tuple[Item, ImageFile]]) -> int:
        """Count the images that still lack an answer."""
        return sum(1 for item, image in work if self._has_unanswered(item, image))

    def judged(self, item: Item, image: ImageFile) -> tuple[JudgedImage, list[str]]:
        """Return an image's stored answers, and why some cannot be used."""
        answers, failures = self._answers(self.benchmark.requests(item), image)
        if not failures:
            further, failures = self._answers(self.benchmark.follow_up(item, answers), image)
            answers |= further
        return JudgedImage(item, image.index, answers), failures

    def _has_unanswered(self, item: Item, image: ImageFile) -> bool:
        requests = self.benchmark.requests(item)
        if any(self._unanswered(request, image) for request in requests):
            return True
        return any(self._unanswered(request, image) for request in self._follow_up(item, image))

    def _follow_up(self, item: Item, image: ImageFile) -> Sequence[Request]:
        answers, failures = self._answers(self.benchmark.requests(item), image)
        return [] if failures else self.benchmark.follow_up(item, answers)

    def _unanswered(self, request: Request, image: ImageFile) -> list[Any]:
        handle = self.judges.get(request.judge)
        if handle is None:
            return []
        return [query for query in queries_of(request) if self._key(request, query, image) not in handle.store]

    def _key(self, request: Request, query: Any, image: ImageFile) -> tuple[str, str]:
        subject = NO_IMAGE if method_of(request.judge) in WITHOUT_IMAGES else self.ids[image]
        return subject, canonical(query)

    def _answers(
        self, requests: Sequence[Request], image: ImageFile
    ) -> tuple[dict[str, list[Any]], list[str]]:
        answers: dict[str, list[Any]] = {}
        failures: list[str] = []
        for request in requests:
            handle = self.judges.get(request.judge)
            if handle is None:
                continue
            values = [
                from_stored(handle.store[self._key(request, query, image)], handle.store)
                for query in queries_of(request)
            ]
            failures += [f"{request.judge}: {value.reason}" for value in values if isinstance(value, Failure)]
            answers.setdefault(request.judge, []).extend(values)
        return answers, failures

    def _ask(
        self, handle: JudgeHandle, block: Sequence[ImageRequests], decoded: dict[ImageFile, Image]
    ) -> None:
        """Ask a judge what it has not answered about a block, and commit its answers.

        Images that no judge before it has read are added to `decoded`.
        """
        queries: dict[tuple[ImageFile, str], list[Any]] = {}
        keys: set[tuple[str, str]] = set()
        for image, requests in block:
            for request in requests:
                for query in self._unanswered(request, image):
                    key = self._key(request, query, image)
                    if key not in keys:  # equal images, or equal answers to match
                        keys.add(key)
                        queries.setdefault((image, key[0]), []).append(query)
        if not queries:
            return
        shown = [] if method_of(handle.role) in WITHOUT_IMAGES else [image for image, _ in queries]
        decoded.update(self._decoded([image for image in shown if image not in decoded]))
        judge = handle.judge
        with _named_errors(handle, next(iter(queries))[0], len(queries), memory_hint(self.one_judge)):
            answers = ask(judge, handle.role, [decoded[image] for image in shown], list(queries.values()))
        handle.store.commit(
            ((subject, canonical(query)), to_stored(answer, handle.store))
            for ((_, subject), image_queries), image_answers in zip(queries.items(), answers, strict=True)
            for query, answer in zip(image_queries, image_answers, strict=True)
        )

    def _decoded(self, images: Sequence[ImageFile]) -> Iterator[tuple[ImageFile, Image]]:
        """Yield images decoded, each file once for its parts that follow each other.

        Raises:
            DataError: a file is not the one that its answers would be stored for.
        """
        for path, parts in groupby(images, key=lambda image: image.path):
            file = ImageReader(path)
            for image in parts:
                if file.id(image.box) != self.ids[image]:
                    raise DataError(
                        f"{path} changed while images were judged. Run the same command again: stored answers are "
                        "kept, and the new image is judged as a new one."
                    )
                yield image, file.rgb(image.box)


@contextmanager
def _named_errors(handle: JudgeHandle, first: ImageFile, count: int, hint: str) -> Iterator[None]:
    """Name the judge and the images in whatever error it raises; `hint` says what may help.

    Raises:
        DataError: the body raised one.
        PluginError: it raised an error that is none of ours.
    """
    try:
        yield
    except DataError as error:
        where = f"among the {count} images from {first.item}, image {first.index} on"
        raise DataError(f"{error} ({handle.role}, {where})") from error
    except SilmmError:
        raise
    except Exception as error:  # judges are third-party code
        raise PluginError(
            f"the judge {handle.name!r} ({handle.role}) stopped over {count} images from {first.item}, image "
            f"{first.index} on: {type(error).__name__}: {error}. Its answers so far are kept, and the same "
            f"command goes on there; {hint}SILMM_DEBUG=1 shows where it stopped."
        ) from error


def _of_role(role: str, groups: Sequence[Sequence[ImageRequests]]) -> list[ImageRequests]:
    """Return the images of a block about which a role is asked, with its requests alone."""
    entries: list[ImageRequests] = []
    for image, requests in (entry for group in groups for entry in group):
        of_role = [request for request in requests if request.judge == role]
        if of_role:
            entries.append((image, of_role))
    return entries
