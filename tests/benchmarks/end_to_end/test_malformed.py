"""Malformed input of all three benchmarks: typed errors that name the row or the file, and nothing scored."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.benchmarks.end_to_end.conftest import Done, noise

HEAD = "item_id,text,keywords,proposition_id,dependency,category_broad,category_detailed,tuple," \
    "question_natural_language"
NO_JUDGES = {
    "tifa": ("vqa", "matcher"), "dpg-bench": ("vqa",),
    "t2i-compbench": ("yes-no", "clip", "detector", "detector-2d", "depth"),
}
UNICODE = "🦊 läuft — «über» 中文, שלום"


@pytest.fixture
def score(bench: Callable[..., Done], tmp_path: Path) -> Callable[..., Done]:
    """Score custom data without any judge: malformed data must be refused before one is needed."""

    def run(name: str, images: Path, *more: object) -> Done:
        judges = [word for role in NO_JUDGES[name] for word in ("--judge", f"{role}=none")]
        return bench(
            name, "--images", images, "--data-dir", tmp_path / "data", "--set", f"{name}.custom=true",
            *judges, *more,
        )

    return run


def write_tifa(tmp_path: Path, captions: Any, questions: Any) -> None:
    folder = tmp_path / "data" / "tifa"
    folder.mkdir(parents=True)
    for name, rows in (("text_inputs", captions), ("question_answers", questions)):
        text = rows if isinstance(rows, str) else json.dumps(rows)
        (folder / f"tifa_v1.0_{name}.json").write_text(text, encoding="utf-8")


def caption(key: str = "a", text: str = "a cat") -> dict[str, str]:
    return {"id": key, "caption": text}


def question(key: str = "a", text: str = "a cat", **changes: Any) -> dict[str, Any]:
    return {
        "id": key, "caption": text, "question": "is there a cat?", "choices": ["yes", "no"], "answer": "yes",
        "element_type": "animal/human", "element": "cat", **changes,
    }


def refused(done: Done, *expected: str) -> None:
    """Exit code 4, a message with these words, no traceback and no result."""
    assert done.exit_code == 4, done.stderr
    for part in expected:
        assert part in done.stderr, done.stderr
    assert "Traceback" not in done.stderr
    assert done.answer == {}


@pytest.mark.parametrize(("captions", "questions", "expected"), [
    ('[{"id": "a", "caption": "a cat"},\n  {"id": }]', [question()],
     ["text_inputs.json", "line 2, column 10"]),
    ("[" * 100_000, [question()], ["text_inputs.json"]),
    ([caption(), caption()], [question()], ["text_inputs.json, row 2", "'a' comes twice"]),
    ([caption("../../a")], [question("../../a")], ["text_inputs.json, row 1", "'../../a'"]),
    ([caption(text="x" * 10_001)], [question()], ["text_inputs.json, row 1", "10001 characters"]),
    ([caption()], [question(), question("b")], ["question_answers.json, row 2", "'b'"]),
    ([caption()], [question(choices="yes")], ["question_answers.json, row 1", "choices"]),
    ([caption()], [question(element_type="smell")], ["question_answers.json, row 1", "'smell'"]),
    ([caption()], [question(), 7], ["question_answers.json, row 2", "7"]),
    ([caption()], [], ["question_answers.json", "'a'"]),
], ids=["broken JSON", "endless nesting", "duplicate id", "path as id", "very long", "unknown id", "choices",
        "type", "no object", "no question"])
def test_tifas_files_are_refused_by_row(
    score: Callable[..., Done], tmp_path: Path, captions: Any, questions: Any, expected: Sequence[str]
) -> None:
    """Each defect of TIFA's two files is an error that names file and row."""
    write_tifa(tmp_path, captions, questions)
    refused(score("tifa", tmp_path), *expected)


@pytest.mark.parametrize(("index", "expected"), [
    ('{"a": "../secret.png"}', ["unreadable: a", "'../secret.png'"]),
    ('{"a": "/etc/passwd"}', ["unreadable: a", "'/etc/passwd'"]),
    ('{"a": "C:\\\\x.png"}', ["unreadable: a"]),
    ('{"a": 3}', ["unreadable: a", "3"]),
    ('{"b": "b.png"}', ["missing: a"]),
    ('{"a": "a.png"', ["index.json", "line 1"]),
    ('{"a": "a.png", "b": "b.png", "a": "c.png"}', ["index.json", "'a' comes twice"]),
    ("[]", ["index.json", "expected an object"]),
])
def test_an_index_of_images_stays_in_its_folder(
    score: Callable[..., Done], tmp_path: Path, index: str, expected: Sequence[str]
) -> None:
    """Paths that lead out of the index's folder, and indexes that are none, are refused by name."""
    write_tifa(tmp_path, [caption()], [question()])
    noise(1).save(tmp_path / "secret.png")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "index.json").write_text(index)
    refused(score("tifa", tmp_path / "in" / "index.json"), *expected)


@pytest.mark.parametrize(("rows", "expected"), [
    (["a,p,,1,0,,,entity (x),q?", "a,p,,2,7,,,entity (x),q?"], ["line 3", "depends on a question"]),
    (["a,p,,1,2,,,entity (x),q?", "a,p,,2,1,,,entity (x),q?"], ["line 2", "depends on itself"]),
    (["a,p,,1,0,,,entity (x),q?", "a,p,,1,0,,,entity (x),r?"], ["line 3", "two questions 1"]),
    (["a,p,,1,0,,,entity (x),q?", "b,p,,1,0,,,e (x),q?", "a,p,,2,0,,,e (x),q?"], ["line 4", "comes again"]),
    (["../a,p,,1,0,,,entity (x),q?"], ["line 2", "'../a'"]),
    (['a,"p,,1,0,,,entity (x),q?'], ["line", "broken CSV"]),
    (["a,p,,1,0,,,entity (x)"], ["line 2", "not one field per column"]),
    (["a,p,,one,0,,,entity (x),q?"], ["line 2", "'one'"]),
    ([f"a,{'x' * 10_001},,1,0,,,entity (x),q?"], ["line 2", "10001 characters"]),
    ([], ["no question"]),
], ids=["no parent", "circle", "number twice", "id again", "path as id", "broken CSV", "fields", "number",
        "very long", "empty"])
def test_dpgs_table_is_refused_by_line(
    score: Callable[..., Done], tmp_path: Path, rows: Sequence[str], expected: Sequence[str]
) -> None:
    """Each defect of DPG-Bench's table is an error that names the line."""
    folder = tmp_path / "data" / "dpg-bench"
    folder.mkdir(parents=True)
    (folder / "dpg_bench.csv").write_text("\n".join([HEAD, *rows]) + "\n")
    refused(score("dpg-bench", tmp_path), "dpg_bench.csv", *expected)


@pytest.mark.parametrize(("prompts", "expected"), [
    (["a cat", "../../a cat"], ["color_val.txt, line 2", "'/'"]),
    (["a cat", "a cat"], ["color_val.txt, line 2", "repeats line 1"]),
    (["x" * 241], ["color_val.txt, line 1", "241 bytes"]),
    (["a cat", "", "a dog"], ["color_val.txt, line 2"]),
    (["a \u202ecat"], ["color_val.txt, line 1"]),
    ([], ["color_val.txt"]),
], ids=["path", "twice", "very long", "blank", "control", "empty"])
def test_prompts_that_cannot_name_images_are_refused_by_line(
    score: Callable[..., Done], tmp_path: Path, prompts: Sequence[str], expected: Sequence[str]
) -> None:
    """Each defect of a prompt file of T2I-CompBench++ is an error that names file and line."""
    folder = tmp_path / "data" / "t2i-compbench"
    folder.mkdir(parents=True)
    (folder / "color_val.txt").write_text("\n".join(prompts), encoding="utf-8")
    refused(score("t2i-compbench", tmp_path), *expected)


def bomb(path: Path, side: int = 60_000) -> None:
    """Write a PNG of a few bytes that claims `side` x `side` pixels."""
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)


def cut(path: Path) -> None:
    noise(1).save(path)
    path.write_bytes(path.read_bytes()[:-400])


def script(path: Path) -> None:
    path.write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")


@pytest.mark.parametrize(("make", "expected"), [
    (bomb, "3600000000 pixels"), (lambda path: bomb(path, 9_000), "9000x9000 pixels"),
    (cut, "no whole PNG"), (script, "PNG, JPEG, WEBP"),
    (lambda path: path.write_bytes(b""), "PNG, JPEG, WEBP"), (lambda path: path.mkdir(), "missing"),
], ids=["bomb", "large", "cut off", "another format", "empty", "folder"])
@pytest.mark.parametrize("name", ["tifa", "dpg-bench"])
def test_images_that_are_none_are_named(
    score: Callable[..., Done], tmp_path: Path, name: str, make: Callable[[Path], None], expected: str
) -> None:
    """Bombs, torn files and other formats are listed by name, within a moment, and nothing is scored."""
    own(tmp_path, name)
    images = tmp_path / "images"
    images.mkdir()
    make(images / "a.png")
    done = score(name, images)
    refused(done, expected, "Nothing was scored")
    assert "a" in (tmp_path / "out" / name / "problems.tsv").read_text()


def own(tmp_path: Path, name: str, prompt: str = "a cat", key: str = "a") -> None:
    """Write data of one prompt."""
    if name == "tifa":
        write_tifa(tmp_path, [caption(key, prompt)], [question(key, prompt)])
    else:
        folder = tmp_path / "data" / "dpg-bench"
        folder.mkdir(parents=True)
        rows = [HEAD, *(f'{key},"{prompt}",,{n},0,,,entity (x),is there a cat?' for n in (1, 2))]
        (folder / "dpg_bench.csv").write_text("\n".join(rows), encoding="utf-8")


def test_a_grid_of_another_size_is_named(score: Callable[..., Done], tmp_path: Path) -> None:
    """An image that is no 2x2 grid of squares is reported with both sizes, never padded with black."""
    own(tmp_path, "dpg-bench")
    images = tmp_path / "images"
    images.mkdir()
    Image.new("RGB", (64, 48)).save(images / "a.png")
    refused(score("dpg-bench", images), "wrong-size: a.png", "64x48", "64x64")


@pytest.mark.parametrize("name", ["tifa", "dpg-bench"])
def test_unicode_and_long_prompts_are_no_defect(
    bench: Callable[..., Done], weights: Path, tmp_path: Path, name: str
) -> None:
    """Any script in prompts and ids, and thousands of characters, are judged and stored as they are."""
    prompt = UNICODE + " und so weiter" * 600
    own(tmp_path, name, prompt, key=f"id {UNICODE[2:7]}")
    images = tmp_path / "images"
    images.mkdir()
    noise(3).save(images / f"id {UNICODE[2:7]}.png")
    matcher = ["--judge", f"matcher=mpnet-match:{weights / 'mpnet'}"] if name == "tifa" else []
    done = bench(
        name, "--images", images, "--data-dir", tmp_path / "data", "--set", f"{name}.custom=true",
        "--judge", f"vqa=mplug:{weights / 'mplug'}", *matcher, "--canaries", "off",
    )
    assert done.exit_code == 0, done.stderr
    assert {row["prompt"] for row in done.rows()} == {prompt}
    assert done.value("Overall") is not None
