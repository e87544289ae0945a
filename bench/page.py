"""docs/benchmarks.md from the files in bench/results: `python -m bench.page`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "bench" / "results"
PAGE = ROOT / "docs" / "benchmarks.md"

HEAD = """# Benchmarks

<!-- written by `python -m bench.page` from bench/results -->

Every figure here is in a file under `bench/results/`, with the machine, the versions and the date
of the measurement. The command in the last column does it again, from a checkout; `make bench` runs
most of them. Times are of two-core virtual machines that had other work: read ratios to one digit.
Models and data that are not bundled are looked for in the folder `PERTCORE_DATA`; without it the
commands use the bundled digits or say what is missing.

"""
# file -> what it holds, the page that discusses it, the command that writes it.
MEASURED = {
    "strength": ("attacks at equal settings", "below", "python -m bench.strength"),
    "attacks": ("what the core adds to the model's own runs", "below", "python -m bench.attacks"),
    "kernels": ("kernels against the speed of copying", "below", "python -m bench.kernels"),
    "onnx": ("value and gradient against a forward pass", "onnx.md", "python -m bench.onnx"),
    "torch_adapter": ("the PyTorch adapter", "pytorch.md", "python -m bench.torch_adapter"),
    "jacobian": ("Jacobians of a million inputs", "regression.md", "python -m bench.jacobian"),
    "certificates": ("certificates at p = inf", "regression.md", "python -m bench.certificates"),
    "regression_quality": (
        "attacks on regressions", "regression.md", "python -m bench.regression quality"
    ),
    "detector": ("attacks on detectors", "detectors.md", "python -m bench.detector"),
    "falsify": ("counterexamples to properties", "falsify.md", "python -m bench.falsify"),
    "paper/classifier-fcnn": ("the paper, made anew; one of its files", "paper.md", "make paper"),
    "peers": ("beside other libraries", "peers.md", "python -m bench.peers"),
}  # fmt: skip
# Outputs up to which a column of J costs more to begin than to read.
SMALL = 16
SHOWN = ("random", "fgsm", "alg1", "bim", "pgd", "deepfool", "minnorm", "pixel")


def stored(name: str) -> Any:
    return json.loads((RESULTS / f"{name}.json").read_text())


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "".join("| " + " | ".join(map(str, line)) + " |\n" for line in lines)


def overview() -> str:
    """A row a file: what, when, on what processor, where it is discussed, how to repeat it."""
    rows = []
    for name, (what, where, command) in MEASURED.items():
        machine = stored(name)["machine"]
        place = f"[{where}]({where})" if where.endswith(".md") else where
        rows.append((what, f"`{name}.json`", machine["time"][:10], place, f"`{command}`"))
    return table(("what", "file", "measured", "discussed", "again"), rows)


def strength() -> str:
    """The attacks on the models of bench.strength: fooling ratio, and passes a sample."""
    models = {k: v for k, v in stored("strength").items() if k != "machine"}
    found = {
        (
            model,
            row["attack"],
        ): f"{row['fooling ratio']:.1%} ({row['forward'] + row['backward']:.0f})"
        for model, part in models.items()
        for row in part["attacks"]
    }
    titles = [
        f"{model.removesuffix('.onnx')}, eps = {part['eps']:.3g}, {part['samples']} images"
        for model, part in models.items()
    ]
    rows = [(f"`{name}`", *(found[model, name] for model in models)) for name in SHOWN]
    return table(("attack", *titles), rows)


def overhead() -> str:
    """Time of Algorithm 1 over that of its bare model runs, where nobody leaves the batch."""
    rows = [
        (
            row["model"].removesuffix(".onnx"),
            row["samples"],
            row["threads"],
            f"{row['ratio, nobody leaves, everything included']:.2f}",
            f"{row['ratio, eps=0.1, everything included']:.2f}",
        )
        for row in stored("attacks")["rows"]
    ]
    columns = ("model", "images", "threads", "nobody fooled", "eps = 0.1, fooled images leave")
    return table(columns, rows)


def kernels() -> str:
    """The median over sizes of each kernel's share of copy bandwidth, and NumPy's time over its."""
    rows: dict[str, list[Any]] = {}
    for row in stored("kernels")["rows"]:
        rows.setdefault(row["kernel"], []).append(row)
    largest = [parts[-1] for parts in rows.values()]
    return table(
        ("kernel", "rows x entries", "share of copy bandwidth", "NumPy takes"),
        [
            (
                f"`{row['kernel']}`",
                f"{row['n']} x {row['d']}",
                f"{row['fraction_of_copy_bandwidth']:.2f}",
                f"{row['numpy_ratio']:.0f} times as long",
            )
            for row in largest
        ],
    )


def quadratic_kernels() -> str:
    """A row a figure that has a goal, the goal beside it; not every size is shown."""
    rows = []
    for row in stored("kernels")["quadratic"]["rows"]:
        name, size = f"`{row['kernel']}`", f"{row.get('n', 1)} x {row.get('d', '')}"
        if "ns_per_column" in row:
            size += f" x {row['outputs']}"
            if row["outputs"] > SMALL:
                share = row["GB_per_s"] / row["product_GB_per_s"]
                rows.append((name, size, f"{share:.2f} of a product's bandwidth", ">= 0.7"))
            else:
                rows.append((name, size, f"{row['ns_per_column']:.0f} ns a column", "<= 15"))
        elif "ns_per_configuration" in row:
            found = f"{row['ns_per_configuration']:.1f} ns a configuration"
            rows.append((name, f"{row['entries']} entries", found, "<= 8"))
        elif row.get("layout") == "planes":
            share = row["sum_ns_per_element"] / row["ns_per_element"]
            rows.append((name, f"{size}, planes", f"{share:.2f} of the speed of a sum", ">= 0.8"))
        elif "layout" in row:
            found = f"{row['ns_per_element']:.2f} ns an entry"
            rows.append((name, f"{size}, {row['layout']}", found, "<= 1.2"))
        elif "taken" in row:
            found = f"{row['ns_per_element']:.2f} ns an entry"
            rows.append((name, f"{row['taken']} of {row['subsets']}", found, "<= 2"))
        elif "fraction_of_copy_bandwidth" in row:
            share = row["fraction_of_copy_bandwidth"]
            rows.append((name, size, f"{share:.2f} of a copy's bandwidth", ">= 0.9"))
        elif row["kernel"] == "certified_signs" and "784x784" in row["matrix"]:
            found = f"{row['milliseconds']:.0f} ms, {row['value_over_best_known']:.3f} of the best"
            rows.append((name, row["matrix"], found, "<= 30 ms, >= 0.99"))
    return table(("kernel", "samples x entries x outputs", "measured", "goal"), rows)


def counterexamples() -> str:
    """A row a benchmark of bench.falsify; seconds with the start of the process."""
    rows = [
        (
            row["benchmark"],
            f"{row['found']} of {row['sat']}",
            _seconds(row["median seconds"]),
            _seconds(row["most seconds"]),
            _seconds(row["fastest tool, median seconds"]),
            row["sooner than the fastest tool"],
            f"{row['replay']} of {row['found'] + row['claimed of unsat']}",
            f"{row['claimed of unsat']} of {row['unsat']}",
        )
        for row in stored("falsify")["summary"]
    ]
    columns = (
        "benchmark", "found", "median seconds", "most", "fastest tool, median", "sooner than it",
        "replay", "claimed where none is",
    )  # fmt: skip
    return table(columns, rows)


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


SECTIONS = (
    (
        "Attacks at their defaults",
        "p = inf, default steps (`alg1` and `bim` 10, `pgd` 40). Share of the correctly classified "
        "images\nthat is fooled, in brackets the forward and backward passes an image.",
        strength,
    ),
    (
        "What the core adds",
        "Time of Algorithm 1 with ten steps over that of its model runs alone, by the wall. Below "
        "1: fooled\nimages left the batch.",
        overhead,
    ),
    (
        "Kernels",
        "At the largest size measured, one thread, beside the bandwidth of copying as many bytes.",
        kernels,
    ),
    (
        "Kernels of the quadratic",
        "Processor time, one thread, each beside the goal that was set before it was built.",
        quadratic_kernels,
    ),
    (
        "Counterexamples",
        "`pertcore falsify --timeout 10` on public instances of VNN-COMP, one after the other, the "
        "start of the\nprocess included. The fastest tool is, instance by instance, the shortest "
        "time of any tool in the\ncompetition, on its machines. Counterexamples are replayed by "
        "a checker that shares no code with\nthe finder; where none exists, the search ran for "
        "seconds, two at once.",
        counterexamples,
    ),
)


def page() -> str:
    parts = [f"\n## {title}\n\n{text}\n\n{rows()}" for title, text, rows in SECTIONS]
    return HEAD + overview() + "".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page())
