"""Tables as bytes: Parquet that is the same for the same rows; images and latents in columns."""

from __future__ import annotations

import hashlib
import io
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from silmm.contracts.candidates import Prompt
from silmm.contracts.models import Image, Latent
from silmm.contracts.records import PAIRS, PROMPTS, prompt_id
from silmm.errors import DataError
from silmm.storage.atomic_files import disk_errors

ROW_GROUP = 1024
"""Rows of a row group: fixed, so that a table's bytes do not depend on how it was put together."""


def to_parquet(table: pa.Table) -> bytes:
    """Return a table as Parquet bytes; equal rows give equal bytes under one version of Arrow."""
    sink = pa.BufferOutputStream()
    described = table.combine_chunks().replace_schema_metadata(_features(table.schema))
    pq.write_table(described, sink, compression="zstd", row_group_size=ROW_GROUP, version="2.6")
    data: bytes = sink.getvalue().to_pybytes()
    return data


def from_parquet(data: bytes, origin: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """Return the table, or some columns, that Parquet bytes hold; `origin` is for the message.

    Raises:
        DataError: the bytes are not Parquet or lack a column.
    """
    names = None if columns is None else list(columns)
    try:
        table = pq.read_table(pa.BufferReader(data), columns=names, use_threads=False)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{origin} is not a readable Parquet file: {error}.") from error
    absent = set(names or ()) - set(table.column_names)
    if absent:
        raise DataError(f"{origin} has no column {', '.join(sorted(absent))}.")
    return table.replace_schema_metadata(None)


def _features(schema: pa.Schema) -> dict[str, str]:
    """Describe the columns as `datasets` stores them, so that it shows the images."""
    features = {field.name: _feature(field.type) for field in schema}
    return {"huggingface": json.dumps({"info": {"features": features}}, sort_keys=True)}


def _feature(kind: pa.DataType) -> dict[str, Any]:
    if pa.types.is_struct(kind):
        return {"_type": "Image"}
    if pa.types.is_list(kind):
        return {"_type": "Sequence", "feature": _feature(kind.value_type)}
    names = {"double": "float64", "float": "float32"}
    return {"_type": "Value", "dtype": names.get(str(kind), str(kind))}


def encode_png(image: Image) -> dict[str, bytes | None]:
    """Return an image as a value of the image column: PNG bytes and no path."""
    from PIL import Image as Pillow

    buffer = io.BytesIO()
    Pillow.fromarray(np.ascontiguousarray(image)).save(buffer, format="PNG", compress_level=4)
    return {"bytes": buffer.getvalue(), "path": None}


def decode_png(value: Mapping[str, Any]) -> Image:
    """Return the image (height, width, 3) uint8 of a value of the image column."""
    from PIL import Image as Pillow

    with Pillow.open(io.BytesIO(value["bytes"]), formats=("PNG",)) as image:
        return np.asarray(image.convert("RGB"), dtype=np.uint8)


def latent_columns(latent: Latent) -> dict[str, Any]:
    """Return the columns `z`, `shape` and `latent_id` of one representation; features are not kept in a table.

    Raises:
        DataError: `latent` is neither integer tokens (L,) nor floats.
    """
    flat = latent.reshape(-1)
    if np.issubdtype(latent.dtype, np.integer):
        return {"z": flat.astype(np.int32).tolist(), "shape": list(latent.shape), "latent_id": None}
    if np.issubdtype(latent.dtype, np.floating):
        content = hashlib.sha256(flat.astype(np.float32).tobytes()).hexdigest()[:16]
        return {"z": None, "shape": list(latent.shape), "latent_id": content}
    raise DataError(f"A model gave a representation of {latent.dtype}; int32 or float32 is asked.")


def prompt_table(prompts: Sequence[Prompt]) -> pa.Table:
    """Return prompts as a table with their content ids."""
    rows = [
        {"prompt_id": prompt_id(prompt.text), "prompt": prompt.text, "category": prompt.category}
        for prompt in prompts
    ]
    return pa.Table.from_pylist(rows, schema=PROMPTS)


def read_prompts(path: Path) -> list[Prompt]:
    """Read prompts from .txt (one a line), or .jsonl or .parquet with `prompt`[, `category`].

    Raises:
        DataError: the file is missing, unreadable, of another kind, or a prompt is not a text.
    """
    if path.suffix == ".txt":
        texts = [line.strip() for line in _read_text(path).splitlines()]
        return [Prompt(text, "file") for text in texts if text]
    prompts = []
    for number, row in enumerate(_rows(path), start=1):
        text, category = row.get("prompt"), row.get("category") or "file"
        if not isinstance(text, str) or not text.strip() or not isinstance(category, str):
            raise DataError(f"{path}, row {number}: 'prompt' or 'category' is no text.")
        prompts.append(Prompt(text.strip(), category))
    return prompts


def read_pairs(path: Path) -> pa.Table:
    """Read preference pairs: Parquet or JSONL with `prompt`, and both sides' image tokens or features.

    Tokens of a discrete model are in `chosen_z` and `rejected_z`, features of a continuous one in
    `chosen_features` and `rejected_features`, as L lists of D numbers. Further columns of the PAIRS schema
    are kept, missing ones are null.

    Raises:
        DataError: the file is missing, unreadable, of another kind, or a row is not complete.
    """
    rows = []
    for number, row in enumerate(_rows(path), start=1):
        tokens = bool(row.get("chosen_z") and row.get("rejected_z"))
        if not isinstance(row.get("prompt"), str) or not (tokens or _same_features(row)):
            raise DataError(
                f"{path}, row {number}: a pair needs 'prompt' (text) and either the image tokens "
                "'chosen_z' and 'rejected_z' (lists of integers) or the features 'chosen_features' and "
                "'rejected_features' (L lists of D finite numbers each, of one shape). The pairs table of "
                "a run with a continuous model holds no features: they are in its folder features/."
            )
        weight = row.get("weight")
        if weight is not None and not (isinstance(weight, int | float) and 0 < weight < math.inf):
            raise DataError(f"{path}, row {number}: 'weight' is {weight!r}; it is a finite number above 0.")
        kept = {name: row.get(name) for name in PAIRS.names}
        rows.append({**kept, "prompt_id": prompt_id(row["prompt"])})
    try:
        return pa.Table.from_pylist(rows, schema=PAIRS)
    except pa.ArrowException as error:
        raise DataError(f"{path} does not fit the table of pairs: {error}.") from error


def _same_features(row: Mapping[str, Any]) -> bool:
    """Say whether a row holds two matrices of finite numbers of one shape."""
    try:
        chosen, rejected = (
            np.asarray(row.get(f"{side}_features"), dtype=np.float32) for side in ("chosen", "rejected")
        )
    except (TypeError, ValueError):  # ragged lists, texts
        return False
    finite = bool(np.isfinite(chosen).all() and np.isfinite(rejected).all())
    return finite and chosen.ndim == 2 and chosen.shape == rejected.shape and chosen.size > 0


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    if path.suffix == ".parquet":
        with disk_errors(path, "reading"):
            data = path.read_bytes()
        yield from from_parquet(data, path).to_pylist()
    elif path.suffix == ".jsonl":
        for number, line in enumerate(_read_text(path).splitlines(), start=1):
            if line.strip():
                yield _json_row(path, number, line)
    else:
        raise DataError(f"{path}: files of this kind are not read; use .jsonl or .parquet.")


def _json_row(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise DataError(f"{path}, line {number} is not valid JSON: {error}.") from error
    if not isinstance(row, dict):
        raise DataError(f"{path}, line {number} is not a JSON object.")
    return row


def _read_text(path: Path) -> str:
    with disk_errors(path, "reading"):
        data = path.read_bytes()
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text: {error}.") from error
