"""Opens every image of a folder before any is judged: is it whole, readable and large enough for its box?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from silmm.bench.images import ImageError, ImageReader
from silmm.bench.judging.answer_store import AnswerStore, Key
from silmm.contracts.benchmarks import ImageFile, Item, Problem
from silmm.errors import DataError
from silmm.printable import printable
from silmm.storage.atomic_files import atomic_write

COMMIT_EVERY = 256
"""Images after which the facts about them are stored."""
SHOWN = 20
"""Problems that a message lists; the file has all."""
HARMLESS = "extra"
"""The one kind of problem that stops nothing: files that belong to no prompt are not judged."""
_OPENED = "opened"


@dataclass(frozen=True)
class CheckedImages:
    """The images that can be judged, by content, and the problems of the others."""

    ids: dict[ImageFile, str]
    """Content id of each readable image."""
    sizes: set[tuple[int, int]]
    """Width and height of the readable images."""
    problems: list[Problem] = field(default_factory=list)


def check_images(
    images: Sequence[ImageFile], store: AnswerStore, progress: Callable[[int, int], None]
) -> CheckedImages:
    """Open each image once; its size is remembered by its content.

    Args:
        images: the images that the benchmark found by name.
        store: remembers them, so that a resumed run only computes the files' hashes.
        progress: called with images done and all images.
    """
    store.load()
    checked = CheckedImages({}, set())
    fresh: dict[Key, list[int]] = {}
    file: ImageReader | None = None
    for number, image in enumerate(images, 1):
        if file is None or file.path != image.path:  # parts of one file come together
            file = ImageReader(image.path)
        try:
            content_id = file.id(image.box)
            key = (content_id, _OPENED)
            if key not in store and key not in fresh:
                fresh[key] = list(file.rgb(image.box).size)
        except ImageError as error:
            checked.problems.append(Problem(error.kind, str(error.where), error.what, image.item))
        else:
            width, height = store[key] if key in store else fresh[key]
            checked.ids[image] = content_id
            checked.sizes.add((int(width), int(height)))
        if len(fresh) >= COMMIT_EVERY or number == len(images):
            store.commit(fresh.items())
            fresh.clear()
        if number % COMMIT_EVERY == 0 or number == len(images):
            progress(number, len(images))
    return checked


def missing_images(
    items: Sequence[Item], images: Sequence[ImageFile], problems: Sequence[Problem]
) -> list[Problem]:
    """Return a problem for each item that has fewer images than the protocol asks for and no problem yet."""
    counts = Counter(image.item for image in images)
    named = {problem.item for problem in problems if problem.kind != HARMLESS}
    return [
        Problem(
            "missing", item.id,
            f"{counts[item.id]} of {item.images} images. Sample the others, or give --allow-missing.",
            item.id,
        )
        for item in items
        if counts[item.id] < item.images and item.id not in named
    ]


def with_reasons(problems: Sequence[Problem], failures: Mapping[str, str]) -> list[Problem]:
    """Say of missing images why the generator made none; `failures` holds the reasons by item."""
    return [
        replace(problem, what=f"no image: {failures[problem.item]}")
        if problem.kind == "missing" and problem.item in failures else problem
        for problem in problems
    ]


def stop_at_problems(
    problems: Sequence[Problem], listing: Path, *, allow_missing: bool, note: Callable[[str], None]
) -> None:
    """Write all problems to `listing` and stop at those that would change the numbers.

    Raises:
        DataError: images are missing, unreadable or of a wrong size, and that was not allowed.
    """
    problems = [
        replace(problem, where=printable(problem.where), what=printable(problem.what)) for problem in problems
    ]
    text = "".join(f"{problem.kind}\t{problem.where}\t{problem.what}\n" for problem in problems)
    if problems or listing.is_file():
        atomic_write(listing, text.encode())
    severe = [problem for problem in problems if problem.kind != HARMLESS]
    extra = len(problems) - len(severe)
    if extra:
        note(f"{extra} files belong to no prompt and are not judged; {listing} lists them")
    if severe and not allow_missing:
        counts = Counter(problem.kind for problem in severe)
        lines = [f"  {problem.kind}: {problem.where}: {problem.what}" for problem in severe[:SHOWN]]
        more = [f"  … and {len(severe) - SHOWN} more, all listed in {listing}"] if len(severe) > SHOWN else []
        raise DataError("\n".join([
            f"images cannot be scored: {', '.join(f'{n} {kind}' for kind, n in counts.items())}.",
            *lines, *more,
            "Nothing was scored. --allow-missing scores the rest and marks the result as partial.",
        ]))
    for problem in severe[:SHOWN]:
        note(f"left out: {problem.kind}: {problem.where}: {problem.what}")
