"""What a figure was measured on: processor, memory, versions, and how fast this machine copies."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np

PACKAGES = ("numpy", "scipy", "numba", "llvmlite", "onnx", "onnxruntime", "torch")
COPY_BYTES = (1 << 20, 1 << 23, 1 << 26)


def machine_facts() -> dict[str, Any]:
    """Processor, cores, caches, memory, system, versions, and copy bandwidth in GB/s by size."""
    return {
        "processor": _line("/proc/cpuinfo", "model name") or platform.processor(),
        "cores": os.cpu_count(),
        "load_before": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "caches": _caches(),
        "memory": _line("/proc/meminfo", "MemTotal"),
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in PACKAGES},
        "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "copy_GB_per_s": {f"{size >> 10} KiB": copy_bandwidth(size) / 1e9 for size in COPY_BYTES},
    }


def copy_bandwidth(footprint: int = 1 << 26, rounds: int = 9) -> float:
    """Bytes read plus written per second by one thread copying half of `footprint` to the other.

    Compare a kernel with the figure at its own footprint: all the arrays it touches.
    """
    source, target = copy_arrays(footprint)
    repeats = max(1, (1 << 25) // footprint)
    times = []
    for _ in range(rounds):
        started = time.perf_counter()
        for _ in range(repeats):
            np.copyto(target, source)
        times.append((time.perf_counter() - started) / repeats)
    return 2 * source.nbytes / statistics.median(times)


def copy_arrays(footprint: int) -> tuple[np.ndarray, np.ndarray]:
    """A source and a target that together hold `footprint` bytes, touched once."""
    count = max(1, footprint // 8)
    return np.ones(count, np.float32), np.zeros(count, np.float32) + 1


def _line(path: str, key: str) -> str | None:
    file = Path(path)
    if not file.exists():
        return None
    for line in file.read_text().splitlines():
        if line.startswith(key):
            return line.partition(":")[2].strip()
    return None


def _caches() -> dict[str, str]:
    folder = Path("/sys/devices/system/cpu/cpu0/cache")
    found = {}
    for index in sorted(folder.glob("index*")) if folder.exists() else []:
        level, kind = ((index / name).read_text().strip() for name in ("level", "type"))
        found[f"L{level} {kind.lower()}"] = (index / "size").read_text().strip()
    return found


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
