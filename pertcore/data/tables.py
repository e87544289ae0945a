"""Rows of Parquet files: numeric columns side by side, or one column of lists."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from pertcore.errors import InputError
from pertcore.oracle import Array


def parquet_rows(path: Path, columns: str | None) -> Array:
    """(n, d) from the numeric columns named "a,b,c" (default: all), or from one list column."""
    table = _table(path, columns.split(",") if columns else None, "--inputs")
    kinds = {field.name: _kind(field.type) for field in table.schema}
    strange = [name for name, kind in kinds.items() if kind == "other"]
    if strange:
        raise InputError(
            f"--inputs {path}: column {strange[0]!r} holds {table.schema.field(strange[0]).type}: "
            f"name the numeric columns as {path}:A,B,..."
        )
    if "list" in kinds.values() and len(kinds) > 1:
        raise InputError(
            f"--inputs {path}: columns {', '.join(kinds)}: a column of lists stands alone, name "
            f"it as {path}:COLUMN"
        )
    if table.num_rows == 0 or not kinds:
        raise InputError(f"--inputs {path}: an empty data set: {table.num_rows} rows")
    if "list" in kinds.values():
        return _lists(path, table.column(0).combine_chunks())
    return np.stack([c.to_numpy() for c in table.columns], axis=1)


def parquet_column(path: Path, column: str | None) -> Array:
    """(n,) or (n, k) from one column, the only one where no name is given."""
    table = _table(path, [column] if column else None, "--labels")
    if table.num_columns != 1:
        names = ", ".join(table.column_names)
        raise InputError(f"--labels {path}: several columns, name one as {path}:COLUMN: {names}")
    kind = _kind(table.schema.field(0).type)
    if kind == "other":
        raise InputError(f"--labels {path}: column holds {table.schema.field(0).type}, not numbers")
    if kind == "list":
        return _lists(path, table.column(0).combine_chunks())
    return table.column(0).to_numpy()


def _table(path: Path, columns: list[str] | None, flag: str) -> Any:
    import pyarrow
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path) as file:
            names = file.schema_arrow.names
            missing = [name for name in columns or [] if name not in names]
            if missing:
                raise InputError(
                    f"{flag} {path}: no column {missing[0]!r}, there are {', '.join(names)}"
                )
            return file.read(columns=columns)
    except (pyarrow.ArrowException, OSError) as error:
        first = (str(error).splitlines() or ["unreadable"])[0]
        raise InputError(f"{flag} {path}: cannot be read as Parquet ({first})") from None


def _kind(kind: Any) -> str:
    from pyarrow import types

    if types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind):
        return "number"
    lists = types.is_list(kind) or types.is_fixed_size_list(kind) or types.is_large_list(kind)
    return "list" if lists and _kind(kind.value_type) == "number" else "other"


def _lists(path: Path, column: Any) -> Array:
    from pyarrow import compute

    lengths = compute.list_value_length(column).to_numpy(zero_copy_only=False)
    if len(lengths) and not np.all(lengths == lengths[0]):
        bad = int(np.argmin(lengths == lengths[0]))
        raise InputError(
            f"{path}: row {bad} holds {lengths[bad]} values, row 0 holds {lengths[0]}: every row "
            "needs the same number"
        )
    values = compute.list_flatten(column).to_numpy(zero_copy_only=False)
    return values.reshape(len(column), -1) if len(column) else values.reshape(0, 0)
