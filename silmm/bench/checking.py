"""Looks at every image of a folder before any is judged: whole, readable, large enough for its box."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from silmm.bench.answer_store import AnswerStore, Key
from silmm.bench.images import ImageError, ImageReader
from silmm.contracts.benchmarks import ImageFile, Item, Problem
from silmm.errors import DataError
from silmm.printable import printable
from silmm.storage.atomic_files import atomic_write

EVERY = 256
"""Images after which what was found out is stored."""
SHOWN = 20
"""Problems that a message lists; the file has all."""
HARMLESS = "extra"
"""The one kind of problem that stops nothing: what does not belong to the benchmark is not judged."""
_HOW = "opened"


@dataclass(frozen=True)
class Seen:
    """The images that can be judged, by content, and what is wrong with the rest."""

    ids: dict[ImageFile, str]
    """Content id of each sound image."""
    sizes: set[tuple[int, int]]
    """Width and height of what is judged."""
    problems: list[Problem] = field(default_factory=list)


def look_at(
    images: Sequence[ImageFile], store: AnswerStore, progress: Callable[[int, int], None]
) -> Seen:
    """Open each image once; what an image turned out to be is remembered by its content.

    Args:
        images: what the benchmark found by name.
        store: where it is remembered, so that a resumed run only computes the files' hashes.
        progress: told of images done and of all.
    """
    store.load()
    seen = Seen({}, set())
    fresh: dict[Key, list[int]] = {}
    file: ImageReader | None = None
    for number, image in enumerate(images, 1):
        if file is None or file.path != image.path:  # parts of one file come together
            file = ImageReader(image.path)
        try:
            name = file.id(image.box)
            key = (name, _HOW)
            if key not in store and key not in fresh:
                fresh[key] = list(file.rgb(image.box).size)
        except ImageError as error:
            seen.problems.append(Problem(error.kind, str(error.where), error.what, image.item))
        else:
            width, height = store[key] if key in store else fresh[key]
            seen.ids[image] = name
            seen.sizes.add((int(width), int(height)))
        if len(fresh) >= EVERY or number == len(images):
            store.commit(fresh.items())
            fresh.clear()
        if number % EVERY == 0 or number == len(images):
            progress(number, len(images))
    return seen


def absent(items: Sequence[Item], images: Sequence[ImageFile], problems: Sequence[Problem]) -> list[Problem]:
    """Return a problem for each item with fewer images than asked for that nobody has told of yet."""
    counts = Counter(image.item for image in images)
    told = {problem.item for problem in problems if problem.kind != HARMLESS}
    return [
        Problem(
            "missing", item.id,
            f"{counts[item.id]} of {item.images} images. Sample the others, or give --allow-missing.",
            item.id,
        )
        for item in items
        if counts[item.id] < item.images and item.id not in told
    ]


def judge_problems(
    problems: Sequence[Problem], listing: Path, *, allow_missing: bool, note: Callable[[str], None]
) -> None:
    """Write all problems to `listing` and stop at those that would change the numbers.

    Raises:
        DataError: images are missing, unreadable or of a wrong size, and that was not allowed.
    """
    problems = [replace(one, where=printable(one.where), what=printable(one.what)) for one in problems]
    text = "".join(f"{one.kind}\t{one.where}\t{one.what}\n" for one in problems)
    if problems or listing.is_file():
        atomic_write(listing, text.encode())
    grave = [one for one in problems if one.kind != HARMLESS]
    extra = len(problems) - len(grave)
    if extra:
        note(f"{extra} files belong to no prompt and are not judged; {listing} lists them")
    if grave and not allow_missing:
        counts = Counter(one.kind for one in grave)
        lines = [f"  {one.kind}: {one.where}: {one.what}" for one in grave[:SHOWN]]
        more = [f"  … and {len(grave) - SHOWN} more, all listed in {listing}"] if len(grave) > SHOWN else []
        raise DataError("\n".join([
            f"images cannot be scored: {', '.join(f'{n} {kind}' for kind, n in counts.items())}.",
            *lines, *more,
            "Nothing was scored. --allow-missing scores the rest and marks the result as partial.",
        ]))
    for one in grave[:SHOWN]:
        note(f"left out: {one.kind}: {one.where}: {one.what}")
