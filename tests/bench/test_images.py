"""Images that nobody vouches for are opened whole or refused by name."""

from __future__ import annotations

import struct
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from silmm.bench import images
from silmm.bench.images import MAX_PIXELS, ImageError, ImageReader, open_rgb, read_image


def image(path: Path, size: tuple[int, int] = (8, 6), mode: str = "RGB") -> Path:
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).convert(mode).save(path)
    return path


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P"])
def test_every_mode_becomes_rgb(tmp_path, mode):
    """Grey, palette and transparent images come back as RGB of their own size."""
    opened = open_rgb(image(tmp_path / "a.png", mode=mode))
    assert (opened.mode, opened.size) == ("RGB", (8, 6))


def test_unusual_images_are_read_as_the_official_scripts_read_them(tmp_path):
    """16 bit, CMYK, alpha, animation and a rotation in EXIF: what Pillow's convert("RGB") gives, no more."""
    noise = np.random.default_rng(5).integers(0, 256, (6, 8, 4), dtype=np.uint8)
    turned = Image.Exif()
    turned[0x0112] = 6  # rotate by 90 degrees to show
    Image.fromarray(noise[..., 0].astype(np.uint16) * 257).save(tmp_path / "16.png")
    Image.fromarray(noise, "CMYK").save(tmp_path / "cmyk.jpg")
    Image.fromarray(noise[..., :2], "LA").save(tmp_path / "la.png")
    Image.fromarray(noise[..., 0] > 99).save(tmp_path / "1.png")
    Image.fromarray(noise[..., :3]).save(tmp_path / "turned.jpg", exif=turned)
    frames = [Image.new("RGB", (8, 6), colour) for colour in ("red", "blue")]
    for name in ("moving.png", "moving.webp"):
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:], lossless=True)
    for path in sorted(tmp_path.iterdir()):
        with Image.open(path) as image:
            expected = np.asarray(image.convert("RGB"))
        assert open_rgb(path).size == (8, 6), path.name
        assert np.array_equal(np.asarray(open_rgb(path)), expected), path.name
    assert open_rgb(tmp_path / "moving.webp").getpixel((0, 0)) == (255, 0, 0)


def test_a_box_is_cut_out_exactly(tmp_path):
    """The part in a box has the pixels of the whole image there."""
    path = image(tmp_path / "a.png")
    whole, part = np.asarray(open_rgb(path)), np.asarray(open_rgb(path, (4, 3, 8, 6)))
    assert np.array_equal(part, whole[3:6, 4:8])


@pytest.mark.parametrize("box", [(4, 3, 9, 6), (-1, 0, 4, 4), (4, 4, 4, 6), (0, 0, 8, 7)])
def test_a_box_outside_is_refused_not_padded_with_black(tmp_path, box):
    """A part that the image does not have is an error that names the file and its size."""
    with pytest.raises(ImageError, match=r"a\.png: it is 8x6") as caught:
        open_rgb(image(tmp_path / "a.png"), box)
    assert caught.value.kind == "wrong-size"


def bomb(path: Path, side: int) -> Path:
    """Write a PNG whose header claims far more pixels than its few bytes hold."""
    chunks = []
    for name, data in ((b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)),
                       (b"IDAT", zlib.compress(b"\0" * 100_000)), (b"IEND", b"")):
        chunks.append(struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))
    return path


@pytest.mark.parametrize("side", [8_001, 11_000, 30_000])
def test_a_decompression_bomb_is_refused_by_its_header(tmp_path, side):
    """An image of more pixels than any model samples is not decoded; the message has their number."""
    with pytest.raises(ImageError, match=rf"bomb\.png: .*({side}x{side}|{side * side}) pixels") as caught:
        open_rgb(bomb(tmp_path / "bomb.png", side))
    assert caught.value.kind == "unreadable"
    assert side * side > MAX_PIXELS


@pytest.mark.parametrize("keep", [0, 1, 7, 20, 60, 0.5, 0.9])
@pytest.mark.parametrize("kind", ["png", "jpg", "webp"])
def test_a_cut_off_file_is_unreadable_at_every_length(tmp_path, kind, keep):
    """Whatever is left of a broken file, it is an error that names it, and never half an image."""
    data = image(tmp_path / f"a.{kind}", size=(64, 64)).read_bytes()
    broken = tmp_path / f"broken.{kind}"
    broken.write_bytes(data[: keep if isinstance(keep, int) else int(len(data) * keep)])
    with pytest.raises(ImageError, match=rf"broken\.{kind}: it is no whole PNG") as caught:
        open_rgb(broken)
    assert caught.value.kind == "unreadable"


def test_other_kinds_of_files_are_not_decoded(tmp_path):
    """Formats with large decoders that no benchmark uses are refused, whatever the file is called."""
    path = tmp_path / "a.png"
    image(tmp_path / "a.tiff")
    path.write_bytes((tmp_path / "a.tiff").read_bytes())
    with pytest.raises(ImageError, match="no whole PNG, JPEG, WEBP"):
        open_rgb(path)


def test_a_missing_file_is_called_missing(tmp_path):
    """No file, or a folder in its place, is a missing image."""
    for path in (tmp_path / "none.png", tmp_path):
        with pytest.raises(ImageError, match="no such file") as caught:
            read_image(path)
        assert caught.value.kind == "missing"


def test_the_id_is_of_bytes_and_box(tmp_path):
    """Equal files have one id, wherever they are; other files and their parts have others."""
    files = [ImageReader(tmp_path / name) for name in "abc"]
    for file, data in zip(files, (b"a", b"a", b"b"), strict=True):
        file.path.write_bytes(data)
    first, same, other = files
    assert first.id() == same.id() != other.id()
    assert len({first.id(), first.id((0, 0, 1, 1)), first.id((0, 0, 1, 2))}) == 3


def test_a_file_is_decoded_once_for_all_its_parts(tmp_path, monkeypatch):
    """The four parts of a grid cost one reading and one decoding, and are those of the whole."""
    decoded, real = [], images.decode_rgb
    monkeypatch.setattr(images, "decode_rgb", lambda data, path: decoded.append(path) or real(data, path))
    file = ImageReader(image(tmp_path / "a.png"))
    boxes = [(0, 0, 4, 3), (4, 0, 8, 3), (0, 3, 4, 6), (4, 3, 8, 6)]
    parts = [file.rgb(box) for box in boxes]
    assert len(decoded) == 1
    for part, box in zip(parts, boxes, strict=True):
        assert np.array_equal(np.asarray(part), np.asarray(open_rgb(file.path, box)))


def test_decoding_in_threads_leaves_warnings_as_they_were(tmp_path):
    """Warnings about an image are silenced for that image alone, also in several threads at once."""
    file = read_image(image(tmp_path / "a.png", (512, 512)))
    before = list(warnings.filters)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: images.decode_rgb(file, tmp_path), range(64)))
    assert warnings.filters == before


def test_a_memory_that_ends_makes_no_image_unreadable(tmp_path, monkeypatch):
    """A sound image is not left out because there was no room for it."""
    path = image(tmp_path / "a.png")

    def full(*_):
        raise MemoryError

    monkeypatch.setattr(Image.Image, "convert", full)
    with pytest.raises(MemoryError):
        open_rgb(path)
