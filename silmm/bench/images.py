"""Opens images from untrusted files: bounded in size, decoded to the end, never padded with black."""

from __future__ import annotations

import hashlib
import io
import os
import threading
import warnings
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from silmm.errors import DataError
from silmm.storage.atomic_files import disk_errors

if TYPE_CHECKING:
    from PIL.Image import Image

Box = tuple[int, int, int, int]
"""Left, upper, right, lower in pixels."""

FORMATS = ("PNG", "JPEG", "WEBP")
MAX_PIXELS = 64_000_000
"""More than any text-to-image model samples (8000x8000), and far too little to exhaust the memory."""
MAX_BYTES = 512 * 1024 * 1024
_quiet = threading.Lock()
"""`warnings.catch_warnings` acts on the whole process: two threads inside could leave warnings off for good."""
_REMEDY = "Replace it, or take it out and give --allow-missing."


class ImageError(DataError):
    """Raised when an image cannot be judged as it is."""

    def __init__(self, kind: Literal["missing", "unreadable", "wrong-size"], where: Path, what: str) -> None:
        """Keep the kind of :class:`~silmm.contracts.benchmarks.Problem` that it is."""
        super().__init__(f"{where}: {what}")
        self.kind: Literal["missing", "unreadable", "wrong-size"] = kind
        self.where = where
        self.what = what


def visible_files(folder: Path) -> list[Path]:
    """Return the files of a folder by name, without folders, pipes and hidden ones; none without a folder.

    Raises:
        DataError: the system refuses to list it.
    """
    if not folder.is_dir():
        return []
    with disk_errors(folder, "reading"), os.scandir(folder) as entries:
        names = sorted(entry.name for entry in entries if entry.is_file() and not entry.name.startswith("."))
    return [folder / name for name in names]


def read_image(path: Path) -> bytes:
    """Return the bytes of an image file.

    Raises:
        ImageError: there is no such file, or it is larger than :data:`MAX_BYTES`.
        DataError: the system refused to read it.
    """
    if not path.is_file():
        raise ImageError("missing", path, "there is no such file. Sample it, or give --allow-missing.")
    with disk_errors(path, "reading"):
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise ImageError("unreadable", path, f"{size} bytes are no image. Take it out or replace it.")
        return path.read_bytes()


@dataclass(frozen=True)
class ImageReader:
    """A file with one image, or several parts of one: read, hashed and decoded once for all of them."""

    path: Path

    @cached_property
    def _data(self) -> bytes:
        return read_image(self.path)

    @cached_property
    def _sha256(self) -> str:
        return hashlib.sha256(self._data).hexdigest()

    @cached_property
    def _whole(self) -> Image:
        return decode_rgb(self._data, self.path)

    def id(self, box: Box | None = None) -> str:
        """Return the content id of an image: the SHA-256 of the file, with the box where it is a part.

        Raises:
            ImageError, DataError: as :func:`read_image`.
        """
        return self._sha256 if box is None else f"{self._sha256}@{','.join(map(str, box))}"

    def rgb(self, box: Box | None = None) -> Image:
        """Return the image, or the part of it in `box`.

        Raises:
            ImageError, DataError: as :func:`open_rgb`.
        """
        if box is None:
            return self._whole
        width, height = self._whole.size
        if not _inside(box, width, height):
            raise ImageError(
                "wrong-size", self.path,
                f"it is {width}x{height} and has no part {box}. Check the resolution. {_REMEDY}",
            )
        return self._whole.crop(box)


def open_rgb(path: Path, box: Box | None = None) -> Image:
    """Return an image, or the part of it in `box`, as RGB.

    PNG, JPEG and WebP; alpha is dropped and EXIF rotation is not applied, as in the official scripts.

    Raises:
        ImageError: the file is missing, not such an image, cut off, larger than :data:`MAX_PIXELS`, or
            `box` is not inside it.
    """
    return ImageReader(path).rgb(box)


def decode_rgb(data: bytes, path: Path) -> Image:
    """Do what :func:`open_rgb` does with bytes that are read already; `path` is for the message."""
    from PIL import Image as Pillow
    from PIL import UnidentifiedImageError

    try:
        with _quiet, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # notes on odd metadata; the size is checked here
            with Pillow.open(io.BytesIO(data), formats=FORMATS) as image:
                width, height = image.size
                if width * height > MAX_PIXELS:
                    raise ImageError(
                        "unreadable", path, f"{width}x{height} pixels are more than {MAX_PIXELS}. {_REMEDY}"
                    )
                image.load()
                return image.convert("RGB")
    except (ImageError, MemoryError):
        raise
    except Exception as error:  # decoders of broken files raise nearly anything
        why = "" if isinstance(error, UnidentifiedImageError) else f" ({error})"  # whose message is an address
        raise ImageError(
            "unreadable", path, f"it is no whole {', '.join(FORMATS)}{why}. {_REMEDY}"
        ) from error


def _inside(box: Box, width: int, height: int) -> bool:
    left, upper, right, lower = box
    return 0 <= left < right <= width and 0 <= upper < lower <= height
