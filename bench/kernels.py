"""Every kernel of the catalogue: ns per element, share of the copy bandwidth, NumPy, torch.

Run `python -m bench.kernels [--out FILE] [--only NAME ...]`. One thread; contestants alternate
(A B A B ...), medians are printed. The limit is a copy of as many bytes as the kernel must move,
over as much memory as it touches: `of copy` 1.0 means that the machine allows no more. `x plain`
is the time of exact rounding over that of the same step in plain arithmetic. The kernels of the
quadratic follow, at sizes of their own: `bench.quadratic`.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from bench.machine import copy_arrays, machine_facts
from bench.plain_rounding import PLAIN
from bench.quadratic import line as quadratic_line
from bench.quadratic import measure_quadratic
from pertcore.kernels.catalogue import DATA_ROWS, GEOMETRY, Row, load

SIZES = ((64, 784), (256, 3072), (16, 150528))
CASES = Path(__file__).parent.parent / "tests" / "kernels"
LEAST_SECONDS = 2e-3
NUMPY_ELEMENTS = 200_000
SLOW = 1.0


def cases_of(row: Row, n: int, d: int) -> Any:
    """The arguments and results of the row's first case at this size, in float32."""
    file, function = row.cases.split(":")
    spec = importlib.util.spec_from_file_location(file, CASES / f"{file}.py")
    if spec is None or spec.loader is None:
        raise FileNotFoundError(CASES / f"{file}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return getattr(module, function)(np.random.default_rng(0), n, d, np.float32)[0]


def repeats_of(run: Callable[[], Any]) -> int:
    """How often to call `run` so that it lasts LEAST_SECONDS; the first call compiles."""
    run()
    started = time.perf_counter()
    run()
    return max(1, int(LEAST_SECONDS / (time.perf_counter() - started)))


def alternate(runs: dict[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    """Seconds a call of each contestant, round by round."""
    repeats = {name: repeats_of(run) for name, run in runs.items()}
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            started = time.perf_counter()
            for _ in range(repeats[name]):
                run()
            times[name].append((time.perf_counter() - started) / repeats[name])
    return times


def torch_run(row: Row, args: tuple[Any, ...]) -> Callable[[], Any] | None:
    """The row in torch operations, where torch is installed and the row has them."""
    if importlib.util.find_spec("torch") is None:
        return None
    import torch

    from bench.torch_operations import OPERATIONS, as_tensor

    torch.set_num_threads(1)
    if row.name not in OPERATIONS:
        return None
    tensors = tuple(as_tensor(a) for a in args)
    return lambda: OPERATIONS[row.name](*tensors)


def numpy_seconds_per_element(row: Row, n: int, d: int) -> float:
    """The definition on as many rows as hold NUMPY_ELEMENTS; slow ones are run once."""
    args, outs = cases_of(row, max(1, min(n, NUMPY_ELEMENTS // d)), d)
    count = _elements(outs)
    times = []
    for _ in range(3):
        started = time.perf_counter()
        load(row.name, "numpy")(*args, *outs)
        times.append(time.perf_counter() - started)
        if times[-1] > SLOW:
            break
    return min(times) / count


def _elements(outs: tuple[Any, ...]) -> int:
    return max(o.size for o in outs)


def measure(row: Row, n: int, d: int, rounds: int) -> dict[str, Any]:
    args, outs = cases_of(row, n, d)
    count = _elements(outs)
    source, target = copy_arrays(4 * count * row.moved)
    compiled = load(row.name, "numba")
    runs: dict[str, Callable[[], Any]] = {
        "copy": lambda: np.copyto(target, source),
        "numba": lambda: compiled(*args, *outs),
    }
    other = torch_run(row, args)
    if other is not None:
        runs["torch"] = other
    if row.name in PLAIN:
        runs["plain"] = lambda: PLAIN[row.name](*args, *outs)
    times = alternate(runs, rounds)
    middle = {name: statistics.median(values) for name, values in times.items()}
    ratios = [a / b for a, b in zip(times["copy"], times["numba"], strict=True)]
    return {
        "kernel": row.name,
        "n": n,
        "d": d,
        "ns_per_element": middle["numba"] / count * 1e9,
        "spread": [min(times["numba"]) / count * 1e9, max(times["numba"]) / count * 1e9],
        "copy_ns_per_element": middle["copy"] / count * 1e9,
        "fraction_of_copy_bandwidth": statistics.median(ratios),
        "numpy_ratio": numpy_seconds_per_element(row, n, d) / (middle["numba"] / count),
        "torch_ratio": middle["torch"] / middle["numba"] if "torch" in middle else None,
        "time_over_plain": middle["numba"] / middle["plain"] if "plain" in middle else None,
    }


def line(figures: dict[str, Any]) -> str:
    torch_ratio, plain = figures["torch_ratio"], figures["time_over_plain"]
    size = f"{figures['n']}x{figures['d']}"
    return (
        f"{figures['kernel']:<20} {size:>10} {figures['ns_per_element']:8.3f} ns/el "
        f"{figures['fraction_of_copy_bandwidth']:6.2f} of copy "
        f"{figures['numpy_ratio']:8.1f} x NumPy "
        + (f"{torch_ratio:8.1f} x torch" if torch_ratio else "")
        + (f" {plain:5.2f} x plain" if plain else "")
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=None, help="write the figures as JSON")
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--only", nargs="*", default=None, help="names of kernels, or quadratic")
    arguments = parser.parse_args()
    facts = machine_facts()
    print(json.dumps(facts, indent=1))
    found = _earlier(arguments.out)
    chosen = [r for r in GEOMETRY + DATA_ROWS if r.name in (arguments.only or [r.name])]
    rows = []
    for row in chosen:
        for n, d in SIZES:
            rows.append(measure(row, n, d, arguments.rounds))
            print(line(rows[-1]), flush=True)
    if rows:
        found |= {"machine": facts, "rows": rows}
    if not arguments.only or "quadratic" in arguments.only:
        rows = []
        for figures in measure_quadratic():
            rows.append(figures)
            print(quadratic_line(figures), flush=True)
        found["quadratic"] = {"machine": facts, "rows": rows}
    if arguments.out is not None:
        arguments.out.write_text(json.dumps(found, indent=1) + "\n")


def _earlier(out: Path | None) -> dict[str, Any]:
    """What the file holds, so that a run of the quadratic alone leaves the rest as it is."""
    return {} if out is None or not out.exists() else dict(json.loads(out.read_text()))


if __name__ == "__main__":
    main()
