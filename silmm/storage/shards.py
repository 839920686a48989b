"""The run store: files that are the old or the new one, and shards that prove what they hold."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from silmm.errors import DataError
from silmm.storage.atomic_files import atomic_write, disk_errors
from silmm.storage.json_files import read_json, to_json, well_formed

if TYPE_CHECKING:
    import pyarrow as pa












































@dataclass(frozen=True)
class Shards:
    """The shards of one table of one stage: `shard-00000.parquet` with its commit record beside it.

    The record (`shard-00000.json`: SHA-256, bytes, rows, counts) is written after the data, so a
    shard is committed exactly when its record is there. Processes that share the folder never write
    the same file but with the same bytes. `manifest.json` gathers all records at the end.
    """

    folder: Path
    count: int
    suffix: ClassVar[str] = ".parquet"

    def data(self, index: int) -> Path:
        """Return the path of a shard's data."""
        return self.folder / f"shard-{index:05d}{self.suffix}"

    def record_path(self, index: int) -> Path:
        """Return the path of a shard's commit record."""
        return self.data(index).with_suffix(".json")

    def done(self, index: int) -> bool:
        """Say whether a shard is committed (its bytes are checked when they are read)."""
        return self.data(index).is_file() and self.record_path(index).is_file()

    def missing(self) -> list[int]:
        """Return the shards that are still to be done."""
        return [index for index in range(self.count) if not self.done(index)]

    def commit(self, index: int, table: pa.Table, counts: Mapping[str, int] | None = None) -> None:
        """Store a shard and then its record; `counts` says what was left out and why.

        Raises:
            OutOfSpace: the disk is full.
            DataError: the system refused the write.
        """
        from silmm.storage.tables import to_parquet

        self._commit(index, to_parquet(table), table.num_rows, counts or {})

    def _commit(self, index: int, data: bytes, rows: int, counts: Mapping[str, int]) -> None:
        atomic_write(self.data(index), data)
        record = {
            "bytes": len(data),
            "counts": dict(counts),
            "rows": rows,
            "sha256": hashlib.sha256(data).hexdigest(),
            "status": "complete",
        }
        atomic_write(self.record_path(index), to_json(record))

    def read(self, index: int, columns: Sequence[str] | None = None) -> pa.Table:
        """Return a shard, or some of its columns, after checking its bytes against its record.

        Raises:
            DataError: the shard is missing, unreadable or not the one that was committed.
        """
        from silmm.storage.tables import from_parquet

        path = self.data(index)
        with disk_errors(path, "reading"):
            data = path.read_bytes()
        self._check(index, hashlib.sha256(data).hexdigest())
        return from_parquet(data, path, columns)

    def _check(self, index: int, actual: str) -> None:
        path, expected = self.data(index), read_json(self.record_path(index)).get("sha256")
        if actual != expected:
            raise DataError(
                f"{path} is corrupt: its SHA-256 is {actual}, the record says {expected}. "
                "Delete this file and run the same command again: the shard will be made again."
            )

    def tables(self, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """Yield the shards in order, each checked."""
        for index in range(self.count):
            yield self.read(index, columns)

    def table(self, columns: Sequence[str] | None = None) -> pa.Table:
        """Return all shards as one table."""
        import pyarrow as pa

        return pa.concat_tables(self.tables(columns))

    def totals(self) -> dict[str, int]:
        """Return rows and counts summed over the shards' records."""
        totals = {"rows": 0}
        for index in range(self.count):
            record = read_json(self.record_path(index))
            with well_formed(self.record_path(index)):
                totals["rows"] += int(record["rows"])
                for reason, number in record["counts"].items():
                    totals[reason] = totals.get(reason, 0) + int(number)
        return totals

    def seal(self) -> dict[str, Any]:
        """Write `manifest.json` from the shards' records and return it."""
        shards = {
            self.data(index).name: read_json(self.record_path(index)) for index in range(self.count)
        }
        manifest = {"shards": shards, "status": "complete", "totals": self.totals()}
        path = self.folder / "manifest.json"
        data = to_json(manifest)
        if not (path.is_file() and path.read_bytes() == data):
            atomic_write(path, data)
        return manifest
