"""Parts of a run on disk: one block's rows, points and state, each complete or absent."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from pertcore.errors import BackendError
from pertcore.evaluation.records import ArrayWriter
from pertcore.evaluation.runs.failing import UNKNOWN
from pertcore.oracle import Array

GROUP_ROWS = 1 << 14


@dataclass(frozen=True)
class Block:
    """What is known of samples `start` onwards: a row each, points, and plain JSON state.

    failed: the samples on which the model failed, and why; they have a row all the same. data: a
    digest of the samples, where they come from no file.
    """

    start: int
    columns: dict[str, Any]
    points: Array | None
    state: dict[str, Any]
    failed: dict[int, str] = field(default_factory=dict)
    data: str = ""

    def __len__(self) -> int:
        return len(self.columns["index"])


def write_part(folder: Path, block: Block) -> None:
    """Rows and points first, then the record with their digests: without it they do not count.

    Raises BackendError where the disk takes no more; what was finished before stays.
    """
    import pyarrow
    from pyarrow import parquet

    table = pyarrow.table(block.columns)
    record: dict[str, Any] = {
        "start": block.start, "samples": len(block), "state": block.state, "failed": block.failed,
        "data": block.data,
    }  # fmt: skip
    stem = _stem(folder, block.start)
    try:
        record["rows"] = _placed(
            stem.with_suffix(".parquet"), lambda file: parquet.write_table(table, file)
        )
        if block.points is not None:
            points = np.ascontiguousarray(block.points)
            record["points"] = _placed(
                stem.with_suffix(".npy"), lambda file: np.save(file, points, allow_pickle=False)
            )
        _placed(stem.with_suffix(".json"), lambda file: file.write(json.dumps(record).encode()))
    except OSError as error:
        raise BackendError(
            f"{folder}: cannot write samples {block.start}.. ({error.strerror}): what is finished "
            "is kept; make room and go on with resume=True"
        ) from None


def read_part(folder: Path, rows: slice) -> Block | None:
    """The block of samples `rows`, or None where it is missing, incomplete or damaged."""
    from pyarrow import parquet

    stem, record = _stem(folder, rows.start), recorded(folder, rows.start)
    try:
        whole = record["samples"] == rows.stop - rows.start and all(
            _digest(stem.with_suffix(suffix)) == record[name]
            for name, suffix in (("rows", ".parquet"), ("points", ".npy"))
            if name in record
        )
    except (OSError, ValueError, KeyError):
        return None
    if not whole:
        return None
    table = parquet.read_table(stem.with_suffix(".parquet"))
    columns = {name: table[name].to_numpy() for name in table.column_names}
    points = np.load(stem.with_suffix(".npy"), mmap_mode="r") if "points" in record else None
    failed = {int(index): why for index, why in record["failed"].items()}
    return Block(rows.start, columns, points, record["state"], failed, record["data"])


def recorded(folder: Path, start: int) -> dict[str, Any]:
    """The record of the part that begins at `start`; empty where there is none to read."""
    try:
        record = json.loads(_stem(folder, start).with_suffix(".json").read_text())
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def read_point(folder: Path, start: int, place: int) -> Array:
    """The point of sample `place` out of the part that begins at `start`."""
    points = np.load(_stem(folder, start).with_suffix(".npy"), mmap_mode="r")
    return np.array(points[place - start])


def join_parts(folder: Path, starts: Sequence[int], rows: Path, points: Path) -> None:
    """The parts that begin at `starts` as one Parquet file and one .npy, a part in memory."""
    from pyarrow import parquet

    unfinished = rows.with_name(rows.name + ".part")
    tables = [_stem(folder, start).with_suffix(".parquet") for start in starts]
    # a block on which the model failed throughout lacks most columns
    schema = max((parquet.read_schema(path) for path in tables), key=len)
    with parquet.ParquetWriter(unfinished, schema) as writer:
        for group in _grouped(_completed(parquet.read_table(path), schema) for path in tables):
            writer.write_table(group)
    first = _stem(folder, starts[0]).with_suffix(".npy")
    if first.exists():
        head = np.load(first, mmap_mode="r")
        with ArrayWriter(points, head.shape[1:], head.dtype) as whole:
            for start in starts:
                whole.append(np.load(_stem(folder, start).with_suffix(".npy")))
    unfinished.replace(rows)


def _grouped(tables: Iterable[Any]) -> Iterator[Any]:
    """Small tables put together: readers want row groups of some size."""
    import pyarrow

    held: list[Any] = []
    for table in tables:
        held.append(table)
        if sum(map(len, held)) >= GROUP_ROWS:
            yield pyarrow.concat_tables(held).combine_chunks()
            held = []
    if held:
        yield pyarrow.concat_tables(held).combine_chunks()


def _completed(table: Any, schema: Any) -> Any:
    import pyarrow

    for column in schema:
        if column.name not in table.column_names:
            kind = np.dtype(column.type.to_pandas_dtype()).kind
            table = table.append_column(
                column, pyarrow.array([UNKNOWN[kind]] * len(table), type=column.type)
            )
    return table.select(schema.names)


def _stem(folder: Path, start: int) -> Path:
    return folder / f"{start:012d}"


def _placed(path: Path, write: Callable[[BinaryIO], Any]) -> str:
    """Write under another name, flush to the disk, rename; the file's sha256."""
    part = path.with_name(path.name + ".part")
    with part.open("wb") as file:
        write(file)
        file.flush()
        os.fsync(file.fileno())
    digest = _digest(part)
    part.replace(path)
    return digest


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
