"""On a CUDA device: every kernel against the device's own copying, attacks end to end.

Run `make bench-gpu`, or `python -m bench.gpu [kernels|attacks] [--out FILE]`. Writes a dated JSON
file into bench/results/gpu/ and a page into docs/benchmarks/; without a device it says so and ends
with 69. Kernels are timed by events of the device, over several sets of inputs in turn, 64 MB an
array, so that none is in a cache; `of copy` 1.0 means that the device copies as many bytes no
faster. `x CPU` is the time of the Numba version on this machine's processor over the kernel's.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from bench.gpu_attacks import measure_attacks
from bench.kernels import cases_of
from bench.machine import machine_facts
from bench.models import ROOT
from bench.page import table
from pertcore.arrays import to_host
from pertcore.kernels.catalogue import DATA_ROWS, GEOMETRY, QUADRATIC_ROWS, Row, load

UNAVAILABLE = 69  # sysexits.h: a service is not available
WIDE, TALL, SQUARE = (256, 65536), (16384, 1024), (16, 1024)
SETS, ROUNDS, CPU_ROUNDS = 3, 20, 3
RESULTS, PAGES = ROOT / "bench" / "results" / "gpu", ROOT / "docs" / "benchmarks"
Figures = dict[str, Any]
# A function that is timed, and the seconds that one call of it takes.
Timer = Callable[[Callable[[], Any]], float]


def no_device() -> str:
    """Why nothing can be measured here; empty where a device is at hand."""
    try:
        import cupy
    except ImportError as error:
        return f"CuPy does not load ({error}): pip install cupy-cuda13x"
    try:
        count = cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        return f"CuPy sees none: {error}"
    return "" if count else "CuPy sees none"


def by_events(run: Callable[[], Any]) -> float:
    """Seconds between two events of the device, around one call."""
    import cupy

    begin, end = cupy.cuda.Event(), cupy.cuda.Event()
    begin.record()
    run()
    end.record()
    end.synchronize()
    return float(cupy.cuda.get_elapsed_time(begin, end)) / 1e3


def by_clock(run: Callable[[], Any]) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def median(timer: Timer, runs: Sequence[Callable[[], Any]], rounds: int) -> float:
    """Median seconds of `rounds` calls, which take the runs in turn; each is called once before."""
    for run in runs:
        run()
    return statistics.median(timer(runs[i % len(runs)]) for i in range(rounds))


def size_of(row: Row) -> tuple[int, int]:
    """Samples and entries: 64 MB an array; losses are of many samples and few classes."""
    if row in QUADRATIC_ROWS:
        return SQUARE
    return TALL if row.name.endswith(("_loss", "class_differences")) else WIDE


def measure_kernels(
    arrays: Any, timer: Timer, sizes: Callable[[Row], tuple[int, int]] = size_of,
    rounds: int = ROUNDS,
) -> Iterator[Figures]:  # fmt: skip
    """Every row of the catalogue; `arrays` is CuPy. Quadratic rows have no bandwidth beside them,
    since they read their columns many times."""
    for row in GEOMETRY + DATA_ROWS + QUADRATIC_ROWS:
        n, d = sizes(row)
        args, outs = cases_of(row, n, d)
        sets = [tuple(_placed(arrays, a) for a in (*args, *outs)) for _ in range(SETS)]
        kernel, compiled = load(row.name, "cuda"), load(row.name, "numba")
        seconds = median(timer, [partial(kernel, *given) for given in sets], rounds)
        found = {"kernel": row.name, "n": n, "d": d, "us": seconds * 1e6}
        if row not in QUADRATIC_ROWS:
            moved = 4 * row.moved * max(o.size for o in outs)
            copied = copy_seconds(arrays, timer, moved, rounds)
            found |= {"GB_per_s": moved / seconds / 1e9, "of copy": copied / seconds}
        on_cpu = median(by_clock, [partial(compiled, *args, *outs)], CPU_ROUNDS)
        found["x CPU"] = on_cpu / seconds
        yield found


def _placed(arrays: Any, value: Any) -> Any:
    """A new array on the device for each set; numbers as they are."""
    return arrays.asarray(value.copy()) if isinstance(value, np.ndarray) and value.ndim else value


def copy_seconds(arrays: Any, timer: Timer, moved: int, rounds: int) -> float:
    """What the device takes to read and write `moved` bytes in all, by its own copy."""
    pairs = [
        (arrays.zeros(moved // 8, np.float32), arrays.zeros(moved // 8, np.float32))
        for _ in range(SETS)
    ]
    runs = [partial(a.__setitem__, slice(None), b) for a, b in pairs]
    return median(timer, runs, rounds)


def page(found: Figures) -> str:
    """The Markdown page of one file of results."""
    facts = found["machine"]
    text = (
        f"# On {found['device']}, {facts['time'][:10]}\n\n"
        "<!-- written by `python -m bench.gpu` -->\n\n"
        f"Measured by `make bench-gpu`; CUDA driver {found['driver']}, processor "
        f"{facts['processor']} with {facts['cores']} cores, versions {facts['versions']}.\n"
    )
    if "kernels" in found:
        text += (
            "\n## Kernels\n\nfloat32. `of copy`: the time of the device's copy of as many bytes "
            "over the kernel's, `x CPU`: that of the Numba version.\n\n"
        )
        columns = ("kernel", "n", "d", "us", "GB_per_s", "of copy", "x CPU")
        rows = [[_shown(row.get(name)) for name in columns] for row in found["kernels"]]
        text += table(("kernel", "samples", "entries", "us", "GB/s", "of copy", "x CPU"), rows)
    if "attacks" in found:
        told = found["attacks"]
        text += (
            f"\n## PGD, {told['steps']} steps, {told['samples']} images, {told['model']}\n\n"
            "The same step and projection in all, from a random point of the ball. Samples of "
            "pertcore leave the batch as they are fooled, and its answers are checked on the model "
            "within the time.\n\n"
        )
        rows = [[_shown(row[name]) for name in ("who", "images_per_s", "fooled")] for row in
                told["rows"]]  # fmt: skip
        text += table(("who", "images/s", "fooled"), rows)
    return text


def _shown(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", nargs="?", choices=["kernels", "attacks"])
    parser.add_argument("--out", type=Path, default=None)
    arguments = parser.parse_args()
    why = no_device()
    if why:
        print(f"no device: {why}", file=sys.stderr)
        return UNAVAILABLE
    import cupy

    properties = cupy.cuda.runtime.getDeviceProperties(0)
    found: Figures = {
        "machine": machine_facts(),
        "device": properties["name"].decode(),
        "driver": cupy.cuda.runtime.driverGetVersion(),
    }
    if arguments.part in (None, "kernels"):
        found["kernels"] = []
        for row in measure_kernels(cupy, by_events):
            print({name: _shown(value) for name, value in row.items()}, flush=True)
            found["kernels"].append(row)
    if arguments.part in (None, "attacks"):
        found["attacks"] = measure_attacks(cupy)
        print(json.dumps(found["attacks"], indent=1))
    write(found, arguments.out)
    return 0


def write(found: Figures, out: Path | None = None) -> None:
    """The file of results and, where it has its usual place, the page."""
    name = f"{found['machine']['time'][:10]}-{found['device'].lower().replace(' ', '-')}"
    path = out or RESULTS / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found, indent=1, default=to_host) + "\n")
    if out is None:
        PAGES.mkdir(parents=True, exist_ok=True)
        (PAGES / f"{name}.md").write_text(page(found))


if __name__ == "__main__":
    sys.exit(main())
