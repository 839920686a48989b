"""Committed files are whole, and a file that differs from what was committed is refused (promise 2)."""

from __future__ import annotations

import hashlib
import io
import json

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image, UnidentifiedImageError

from silmm.contracts.records import CANDIDATES, PAIRS
from silmm.errors import DataError
from silmm.storage.atomic_files import atomic_folder, atomic_write, clean_leftovers
from silmm.storage.shards import Shards
from silmm.storage.tables import (
    decode_png,
    encode_png,
    latent_columns,
    read_pairs,
    read_prompts,
    to_parquet,
)

TABLE = pa.table({"a": [1, 2, 3], "b": ["x", "y", None]})


def candidates(count):
    rows = [
        {
            "prompt_id": "0" * 16, "candidate": i, "seed": i,
            **latent_columns(np.arange(4, dtype=np.int32)),
            "further_images": [encode_png(np.full((2, 2, 3), 9, np.uint8))],
            "image": encode_png(np.full((4, 4, 3), i, np.uint8)),
        }
        for i in range(count)
    ]
    return pa.Table.from_pylist(rows, schema=CANDIDATES)


def test_a_write_replaces_the_file_and_leaves_nothing_else(tmp_path):
    """After a write the folder holds the new file alone."""
    path = tmp_path / "deep" / "file.json"
    atomic_write(path, b"old")
    atomic_write(path, b"new")
    assert path.read_bytes() == b"new"
    assert [child.name for child in path.parent.iterdir()] == ["file.json"]


def test_a_folder_appears_whole_or_not_at_all(tmp_path):
    """An error while a folder is filled leaves the old folder as it was."""
    path = tmp_path / "adapter"
    with atomic_folder(path) as folder:
        (folder / "weights").write_text("old")
    with pytest.raises(RuntimeError), atomic_folder(path) as folder:
        (folder / "weights").write_text("half")
        raise RuntimeError
    assert (path / "weights").read_text() == "old"
    with atomic_folder(path) as folder:
        (folder / "weights").write_text("new")
    assert (path / "weights").read_text() == "new"
    assert [child.name for child in tmp_path.iterdir()] == ["adapter"]


def test_an_error_of_the_filler_is_not_renamed(tmp_path):
    """An error in the code that fills a folder reaches the user as it is, disk errors aside."""
    with pytest.raises(ConnectionError), atomic_folder(tmp_path / "a"):
        raise ConnectionError("the network")


def test_leftovers_of_killed_writes_go(tmp_path):
    """Unfinished files and folders of silmm are deleted, and nothing else is."""
    (tmp_path / "iter-1" / ".tmp-adapter-1-0123abcd").mkdir(parents=True)
    (tmp_path / "iter-1" / ".tmp-adapter-1-0123abcd" / "x").write_text("x")
    (tmp_path / ".tmp-run.json-1-0123abcd").write_text("{")
    (tmp_path / ".tmp-thesis").write_text("not ours")
    (tmp_path / "iter-1" / "kept.json").write_text("{}")
    clean_leftovers(tmp_path)
    names = sorted(path.name for path in tmp_path.rglob("*"))
    assert names == [".tmp-thesis", "iter-1", "kept.json"]


def test_a_shard_comes_back_as_it_was(tmp_path):
    """A committed shard reads back equal, and its manifest names its hash and rows."""
    shards = Shards(tmp_path, 2)
    shards.commit(0, TABLE, {"no-questions": 2})
    assert shards.missing() == [1]
    shards.commit(1, TABLE)
    manifest = shards.seal()
    assert shards.read(1).equals(TABLE)
    assert manifest["totals"] == {"rows": 6, "no-questions": 2}
    expected = hashlib.sha256(shards.data(0).read_bytes()).hexdigest()
    stored = json.loads((tmp_path / "manifest.json").read_text())
    assert stored["shards"]["shard-00000.parquet"]["sha256"] == expected


@pytest.mark.parametrize("damage", ["flip", "cut", "empty"])
def test_a_damaged_shard_is_refused(tmp_path, damage):
    """One changed bit is found on reading; the error names the file, both hashes and the remedy."""
    shards = Shards(tmp_path, 1)
    shards.commit(0, TABLE)
    data = bytearray(shards.data(0).read_bytes())
    expected = hashlib.sha256(data).hexdigest()
    data[len(data) // 2] ^= 1
    harmed = {"flip": bytes(data), "cut": bytes(data[:-9]), "empty": b""}[damage]
    shards.data(0).write_bytes(harmed)
    with pytest.raises(DataError) as error:
        shards.read(0)
    message = str(error.value)
    for part in (str(shards.data(0)), expected, hashlib.sha256(harmed).hexdigest(), "Delete"):
        assert part in message
    shards.data(0).unlink()
    assert shards.missing() == [0]


def test_equal_rows_are_equal_bytes(tmp_path):
    """A table put together in pieces has the bytes of the table made at once."""
    whole = candidates(5)
    pieces = pa.concat_tables([whole.slice(0, 2), whole.slice(2, 3)])
    assert to_parquet(whole) == to_parquet(pieces)


def test_datasets_shows_the_images(tmp_path):
    """`datasets.load_dataset("parquet", ...)` shows the image column as images by itself."""
    datasets = pytest.importorskip("datasets")
    path = tmp_path / "shard-00000.parquet"
    path.write_bytes(to_parquet(candidates(2)))
    loaded = datasets.load_dataset(
        "parquet", data_files=str(path), split="train", cache_dir=str(tmp_path / "cache")
    )
    assert isinstance(loaded.features["image"], datasets.Image)
    assert loaded[1]["image"].getpixel((0, 0)) == (1, 1, 1)
    assert loaded[1]["further_images"][0].getpixel((0, 0)) == (9, 9, 9)
    assert loaded[1]["z"] == [0, 1, 2, 3]


def test_images_and_tokens_come_back_exactly():
    """PNG and the token column lose nothing; of features the table holds the shape and a content id."""
    image = np.random.default_rng(0).integers(0, 255, (5, 7, 3), dtype=np.uint8)
    assert np.array_equal(decode_png(encode_png(image)), image)
    assert latent_columns(np.arange(4, dtype=np.int32)) == {
        "z": [0, 1, 2, 3], "shape": [4], "latent_id": None,
    }
    zeros, same, ones = (latent_columns(make((3, 2), np.float32)) for make in (np.zeros, np.zeros, np.ones))
    assert (zeros["z"], zeros["shape"]) == (None, [3, 2])
    assert zeros["latent_id"] == same["latent_id"] != ones["latent_id"]


def test_only_png_is_read_as_a_image():
    """Bytes of another image format in the image column are refused."""
    buffer = io.BytesIO()
    Image.new("RGB", (2, 2)).save(buffer, format="BMP")
    with pytest.raises(UnidentifiedImageError):
        decode_png({"bytes": buffer.getvalue(), "path": None})


def test_prompt_files_of_all_kinds_say_the_same(tmp_path):
    """Text, JSONL and Parquet give the same prompts; blank lines are no prompts."""
    (tmp_path / "a.txt").write_text("a red circle\n\n two blue squares \n")
    lines = '{"prompt": "a red circle"}\n{"prompt": "two blue squares"}\n'
    (tmp_path / "a.jsonl").write_text(lines)
    table = pa.table({"prompt": ["a red circle", "two blue squares"]})
    (tmp_path / "a.parquet").write_bytes(to_parquet(table))
    prompts_by_kind = [read_prompts(tmp_path / f"a.{kind}") for kind in ("txt", "jsonl", "parquet")]
    assert [prompt.text for prompt in prompts_by_kind[0]] == ["a red circle", "two blue squares"]
    assert prompts_by_kind[0] == prompts_by_kind[1] == prompts_by_kind[2]


@pytest.mark.parametrize(
    "content", ['{"prompt": 3}', '{"text": "x"}', "[1]", "{", '{"prompt": " "}']
)
def test_a_malformed_prompt_is_named(tmp_path, content):
    """A row that is no prompt is an error with the file and the row."""
    path = tmp_path / "p.jsonl"
    path.write_text('{"prompt": "a red circle"}\n' + content + "\n")
    with pytest.raises(DataError, match=r"p\.jsonl.*2"):
        read_prompts(path)


def test_own_pairs_need_only_prompt_and_tokens(tmp_path):
    """A user's pairs need only a prompt and tokens; other columns of the table are null."""
    path = tmp_path / "pairs.jsonl"
    path.write_text('{"prompt": "a", "chosen_z": [1, 2], "rejected_z": [3, 4]}\n')
    table = read_pairs(path)
    assert table.schema.equals(PAIRS)
    assert table.to_pylist()[0]["chosen_z"] == [1, 2]
    assert table.to_pylist()[0]["chosen"] is None
    path.write_text('{"prompt": "a", "chosen_z": [1, 2]}\n')
    with pytest.raises(DataError, match="row 1"):
        read_pairs(path)


def test_own_pairs_may_hold_features(tmp_path):
    """Features of a continuous model come as L lists of D numbers; ragged or unlike ones are named."""
    path = tmp_path / "pairs.jsonl"
    row = {"prompt": "a", "chosen_features": [[1, 2.5]], "rejected_features": [[3, 4]]}
    path.write_text(json.dumps(row) + "\n")
    assert read_pairs(path).to_pylist()[0]["chosen_features"] == [[1.0, 2.5]]
    for bad in ([[1], [2]], [[1, 2], [3]], [1, 2], [[1, None]], [["a", 2]], [], None):
        path.write_text(json.dumps({**row, "rejected_features": bad}) + "\n")
        with pytest.raises(DataError, match=r"row 1: .* 'rejected_features' \(L lists of D"):
            read_pairs(path)
