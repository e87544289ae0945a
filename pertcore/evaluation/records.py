"""The files of a run: x_adv.npy, results.parquet and run.json, each complete or absent."""

from __future__ import annotations

import hashlib
import json
import math
import os
import platform
import tempfile
from collections.abc import Iterable, Sequence
from importlib import metadata
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np

from pertcore.errors import InputError
from pertcore.oracle import Array
from pertcore.result import AttackResult, Status

PACKAGES = ("pertcore", "numpy", "scipy", "numba", "onnx", "onnxruntime", "torch")
CHUNK = 1 << 20


def ready_folder(text: str | Path, flag: str = "--out") -> Path:
    """The folder, made where it is missing, with a file written and removed to prove it.

    Raises InputError where nothing can be written, so that no work is done in vain.
    """
    if not str(text):
        raise InputError(f"{flag} is empty: give a folder, . for this one")
    folder = Path(text)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise InputError(f"{flag} {folder}: cannot write there ({error.strerror})") from None
    return folder


class ArrayWriter:
    """A .npy file that grows batch by batch and gets its name when it is closed.

    Memory holds one batch. The header leaves room for any length of the first axis, so that it
    is rewritten in place when fewer samples than announced were done.
    """

    def __init__(self, path: Path, shape: tuple[int, ...], dtype: Any) -> None:
        self.path, self.shape, self.dtype = path, tuple(shape), np.dtype(dtype)
        self.count = 0
        self.part = path.with_name(path.name + ".part")
        self.file: BinaryIO = self.part.open("wb")
        self._header()

    def append(self, block: Array) -> None:
        """Write (n, *shape) after what is there."""
        self.file.write(np.ascontiguousarray(block, dtype=self.dtype).tobytes())
        self.count += len(block)

    def __enter__(self) -> ArrayWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.file.seek(0)
        self._header()
        self.file.close()
        if error is not None and self.count == 0:
            self.part.unlink()
            return
        self.part.replace(self.path)

    def _header(self) -> None:
        np.lib.format.write_array_header_1_0(
            self.file,
            {
                "descr": np.lib.format.dtype_to_descr(self.dtype),
                "fortran_order": False,
                "shape": (self.count, *self.shape),
            },
        )


def named_rows(first_index: int, n: int, names: Sequence[str]) -> dict[str, Any]:
    """The columns that every kind of row begins with: index (n,), and name where there are any."""
    columns: dict[str, Any] = {"index": np.arange(first_index, first_index + n)}
    if names:
        columns["name"] = np.array(names)
    return columns


def result_columns(
    result: AttackResult,
    first_index: int,
    labels: Array | None = None,
    targets: Array | None = None,
    names: Sequence[str] = (),
) -> dict[str, Any]:
    """The rows of `results.parquet` for one batch, a column a key, in order.

    label: the given label, else the clean prediction; target: the wanted class of a targeted
    attack. Classes are -1 for regression, where the losses tell the story, and the metrics: mse,
    psnr_in, psnr_out. linear_value, linear_upper: its certificate, where there is one. calls:
    runs of the model and of its derivatives per sample, the mean of the batch.
    """
    n = len(result.success)
    given = labels if labels is not None and labels.ndim == 1 else result.before
    columns = named_rows(first_index, n, names)
    columns["label"] = given
    if targets is not None:
        columns["target"] = targets
    per_sample = (result.calls.f + result.calls.vjp + result.calls.jvp) / max(n, 1)
    return columns | {
        "before": result.before,
        "after": result.after,
        "success": result.success,
        "status": np.array([Status(code).name for code in result.status], dtype=str),
        "norm": result.norms,
        "margin": result.margin,
        "loss_before": result.loss_before,
        "loss_after": result.loss_after,
        **result.metrics,
        **_certified(result),
        "calls": np.full(n, per_sample),
    }


def _certified(result: AttackResult) -> dict[str, Any]:
    held = result.certificate
    return {} if held is None else {"linear_value": held.value, "linear_upper": held.upper}


def write_results(path: Path, batches: Sequence[dict[str, Any]]) -> None:
    """All batches of `result_columns` as one Parquet file."""
    import pyarrow
    from pyarrow import parquet

    names = list(batches[0])
    columns = {name: np.concatenate([batch[name] for batch in batches]) for name in names}
    part = path.with_name(path.name + ".part")
    parquet.write_table(pyarrow.table(columns), part)
    part.replace(path)


def write_run(path: Path, facts: dict[str, Any]) -> None:
    """run.json: plain JSON; NaN becomes null, infinity the text "inf"."""
    write_text(path, json.dumps(_plain(facts), indent=2, allow_nan=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """A text file that is complete or absent."""
    part = path.with_name(path.name + ".part")
    with part.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def fingerprint(files: Iterable[Path]) -> dict[str, Any]:
    """Names and sha256 of files; above eight files one digest over names and contents."""
    paths = list(files)
    if len(paths) <= 8:
        return {str(path): _sha256([path]) for path in paths}
    return {f"{len(paths)} files in {paths[0].parent}": _sha256(paths)}


def versions() -> dict[str, str]:
    """Python and the packages that a number can depend on, where installed."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def machine() -> dict[str, Any]:
    """What the run was computed on."""
    return {
        "system": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
    }


def _processor() -> str:
    listing = Path("/proc/cpuinfo")
    if listing.is_file():
        for line in listing.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _sha256(paths: list[Path]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        if len(paths) > 1:
            digest.update(path.name.encode() + b"\0")
        with path.open("rb") as file:
            while chunk := file.read(CHUNK):
                digest.update(chunk)
    return digest.hexdigest()


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else str(value)
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)
