"""What a derivative of an ONNX network costs: beside its forward pass, and beside PyTorch.

Run `python -m bench.onnx [--out FILE] [--quick]`. The same weights everywhere; contestants
alternate (A B A B ...) in one run; minima and medians of the rounds. Ratios of minima, beside
their targets. With one thread the clock counts the processor time of this process, which others
on the machine do not add to (but for the caches they share); with two, it is the wall's.

joint    value and J^T v by the graph that `pertcore.differentiate` writes, the batch as a whole
split    `linearize(x)`, then `vjp(v)`, in pieces where that pays: the loss may stand between
jvp      `linearize(x)`, then `jvp(u)`
torch    value and input gradient: eager, channels_last, torch.compile
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

import pertcore as pc
from bench.machine import machine_facts
from bench.networks import deep_transformer, network, resnet50, to_onnx
from pertcore.adapters.onnx import kept
from pertcore.adapters.onnx.sessions import CPU, open_session

Run = Callable[[], Any]
CELLS = ("mlp", "lenet5", "resnet20", "vgg")
BATCHES = (1, 32, 256)
# A contestant's turn: long enough that what the one before left in the caches does not count.
LEAST_SECONDS = 2e-2
# All rounds of a cell together take so long at least: short turns need more of them on a machine
# that others use.
LEAST_CELL = 15.0
CONVOLUTIONAL = ("lenet5", "resnet20", "vgg")
# The largest accepted time of the split form over that of the joint graph, on such networks.
SPLIT = 1.05


def target(name: str, batch: int) -> float:
    """The largest accepted time of value and J^T v over that of the forward pass."""
    if name == "mlp":
        return 2.2 if batch == 1 else 2.0
    if name == "lenet5":
        return 2.9
    return 2.6 if batch > 32 else 2.4


def alternate(runs: dict[str, Run], rounds: int, threads: int) -> dict[str, list[float]]:
    """Seconds a call of each contestant, round by round, `rounds` of them at least."""
    clock = time.process_time if threads == 1 else time.perf_counter
    repeats = {}
    for name, run in runs.items():
        run()
        run()
        started = clock()
        run()
        repeats[name] = max(1, int(LEAST_SECONDS / (clock() - started)))
    times: dict[str, list[float]] = {name: [] for name in runs}
    begun = time.perf_counter()
    while rounds > 0 or time.perf_counter() - begun < LEAST_CELL:
        rounds -= 1
        for name, run in runs.items():
            started = clock()
            for _ in range(repeats[name]):
                run()
            times[name].append((clock() - started) / repeats[name])
    return times


def ours(model: Any, x: np.ndarray, v: np.ndarray, threads: int) -> dict[str, Run]:
    forward = open_session(model, threads, CPU)
    joint = open_session(pc.differentiate(model, mode="value_and_vjp").model, threads, CPU)
    oracle = pc.from_onnx(model, threads=threads)
    u = np.ascontiguousarray(x[::-1])
    return {
        "forward": lambda: forward.run(None, {"x": x}),
        "joint": lambda: joint.run(None, {"x": x, "ct_y": v}),
        "split": lambda: oracle.linearize(x).vjp(v),
        "jvp": lambda: oracle.linearize(x).jvp(u),
    }


def gradient(module: Any, x: torch.Tensor, v: torch.Tensor) -> Run:
    def run() -> tuple[torch.Tensor, torch.Tensor]:
        leaf = x.detach().requires_grad_()
        value = module(leaf)
        return value, torch.autograd.grad(value, leaf, v)[0]

    return run


def theirs(
    module: Any, x: np.ndarray, v: np.ndarray, threads: int, compiled: bool
) -> tuple[dict[str, Run], dict[str, str]]:
    """PyTorch's runs, and why any is missing."""
    torch.set_num_threads(threads)
    given, cotangent = torch.from_numpy(x), torch.from_numpy(v)
    runs, missing = {"eager": gradient(module, given, cotangent)}, {}
    if x.ndim == 4:
        last = module.to(memory_format=torch.channels_last)
        laid = given.to(memory_format=torch.channels_last)
        runs["channels_last"] = gradient(last, laid, cotangent)
    else:
        missing["channels_last"] = "inputs are no images"
    if not compiled:
        missing["compile"] = "left out on request"
    elif shutil.which("g++") is None and shutil.which("clang++") is None:
        missing["compile"] = "no C++ compiler"
    else:
        torch._dynamo.reset()
        run = gradient(torch.compile(module, dynamic=False), given, cotangent)
        run()
        runs["compile"] = run
    return runs, missing


def agree(runs: dict[str, Run], joint: Run, split: Run) -> float:
    """The largest difference of any gradient from the joint graph's, over its norm."""
    _, wanted = joint()
    found = [split()] + [run()[1].numpy() for run in runs.values()]
    scale = float(np.linalg.norm(wanted))
    return max(float(np.linalg.norm(g - wanted)) / scale for g in found)


def cell(name: str, batch: int, threads: int, rounds: int, compiled: bool) -> dict[str, Any]:
    """One network, batch and number of threads: seconds of all contestants, and ratios."""
    module, model, shape = network(name)
    rng = np.random.default_rng(batch)
    x = rng.random((batch, *shape), np.float32)
    v = rng.standard_normal((batch, 10), np.float32)
    mine = ours(model, x, v, threads)
    others, missing = theirs(module, x, v, threads, compiled)
    difference = agree(others, mine["joint"], mine["split"])
    times = alternate(mine | others, rounds, threads)
    least = {key: min(values) for key, values in times.items()}
    best = min(least[key] for key in others)
    joint = min(least["joint"], least["split"])
    return {
        "network": name, "batch": batch, "threads": threads, "rounds": len(times["forward"]),
        "load": os.getloadavg()[0],
        "minimum": least, "median": {k: statistics.median(t) for k, t in times.items()},
        "spread": {k: max(t) / min(t) for k, t in times.items()},
        "target": target(name, batch),
        "joint over forward": least["joint"] / least["forward"],
        "split over forward": least["split"] / least["forward"],
        "jvp over forward": least["jvp"] / least["forward"],
        "split over joint": least["split"] / least["joint"],
        "eager over ours": least["eager"] / joint, "best torch over ours": best / joint,
        "eager over split": least["eager"] / least["split"],
        "best torch over split": best / least["split"],
        "gradients differ by": difference, "missing": missing,
    }  # fmt: skip


def jacobian(name: str, threads: int, rounds: int) -> dict[str, Any]:
    """The whole Jacobian at one point beside one forward pass of as many samples."""
    _, model, shape = network(name)
    size = int(np.prod(shape))
    oracle = pc.from_onnx(model, threads=threads)
    forward = open_session(model, threads, CPU)
    rng = np.random.default_rng(0)
    point, batch = rng.random((1, *shape), np.float32), rng.random((size, *shape), np.float32)
    rows = np.eye(size, dtype=np.float32).reshape(size, 1, *oracle.output_shape)
    columns = np.eye(size, dtype=np.float32).reshape(size, 1, *shape)
    times = alternate(
        {
            "forward": lambda: forward.run(None, {"x": batch}),
            "vjp": lambda: oracle.linearize(point).vjp(rows),
            "jvp": lambda: oracle.linearize(point).jvp(columns),
        },
        rounds,
        threads,
    )
    least = {key: min(values) for key, values in times.items()}
    return {
        "network": name, "threads": threads, "target": 1.1 if name == "autoencoder" else 1.2,
        "minimum": least, "spread": {k: max(t) / min(t) for k, t in times.items()},
        "vjp over forward": least["vjp"] / least["forward"],
        "jvp over forward": least["jvp"] / least["forward"],
    }  # fmt: skip


def build_times() -> list[dict[str, Any]]:
    """Seconds from the bytes of a model to its derivative graph; to an oracle, which also loads the
    user's own model and runs it to see that samples do not mix; and to that again."""
    found = []
    models = {
        "resnet50": (to_onnx(resnet50(), (3, 224, 224)), 1.0),
        "6,000 nodes": (deep_transformer(6000), 3.0),
    }
    for name, (model, allowed) in models.items():
        content = model.SerializeToString()
        graphs, fresh, again = [], [], []
        for _ in range(3):
            kept.forget()
            started = time.process_time()
            pc.differentiate(content, mode="value_and_vjp")
            graphs.append(time.process_time() - started)
            for times in (fresh, again):
                started, wall = time.process_time(), time.perf_counter()
                oracle = pc.from_onnx(content, threads=1)
                times.append((time.process_time() - started, time.perf_counter() - wall))
        x = np.zeros((1, *oracle.input_shape), np.float32)
        started = time.process_time()
        oracle.linearize(x).vjp(np.ones((1, *oracle.output_shape), np.float32))
        first = time.process_time() - started
        found.append(
            {
                "model": name, "nodes": len(model.graph.node), "bytes": len(content),
                "graph": min(graphs), "oracle": min(fresh)[0], "wall": min(w for _, w in fresh),
                "again": min(again)[0], "target": allowed,
                "first products, sessions included": first,
            }
        )  # fmt: skip
    return found


def line(row: dict[str, Any]) -> str:
    late = row["network"] in CONVOLUTIONAL and row["split over joint"] > SPLIT
    least = min(row["joint over forward"], row["split over forward"])
    mark = " >" * (least > row["target"]) + " s" * late
    torch_columns = " ".join(
        f"{row['minimum'][key] / row['minimum']['split']:7.2f}"
        if key in row["minimum"]
        else " " * 7
        for key in ("eager", "channels_last", "compile")
    )
    return (
        f"{row['network']:<9} {row['batch']:>4} {row['threads']:>2} "
        f"{row['minimum']['forward'] * 1e3:9.3f} {row['joint over forward']:6.2f} "
        f"{row['split over forward']:6.2f} {row['jvp over forward']:6.2f} {row['target']:6.1f} "
        f"{row['split over joint']:6.2f} {torch_columns} {row['spread']['forward']:6.2f}{mark}"
    )


# ">": neither form meets the target; "s": the split form misses its own.
HEAD = (
    "network      n  T   fwd, ms  joint  split    jvp target  split/ "
    "  eager  chlast compile spread\n"
    "                             /fwd   /fwd   /fwd   /fwd   joint "
    " /split  /split  /split forward"
)


def write(path: Path | None, report: dict[str, Any]) -> None:
    if path is not None:
        path.write_text(json.dumps(report, indent=1) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=None, help="write the figures as JSON")
    parser.add_argument("--rounds", type=int, default=9, help="at least so many a cell")
    parser.add_argument("--threads", nargs="*", type=int, default=[1, 2])
    parser.add_argument("--quick", action="store_true", help="small batches, eager only")
    parser.add_argument("--only", nargs="*", default=CELLS, help="names of networks")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    facts = machine_facts()
    print(json.dumps(facts, indent=1))
    report: dict[str, Any] = {
        "machine": facts,
        "command": " ".join(["python -m bench.onnx", *sys.argv[1:]]),
    }
    print(HEAD)
    report["cells"] = rows = []
    for threads in arguments.threads:
        for name in arguments.only:
            for batch in BATCHES[:2] if arguments.quick else BATCHES:
                row = cell(name, batch, threads, arguments.rounds, not arguments.quick)
                rows.append(row)
                print(line(row), flush=True)
                write(arguments.out, report)
    report["jacobians"] = [
        jacobian(name, threads, arguments.rounds)
        for threads in arguments.threads for name in ("autoencoder", "conv_autoencoder")
    ]  # fmt: skip
    report["build"] = build_times()
    for row in [*report["jacobians"], *report["build"]]:
        print(json.dumps({k: v for k, v in row.items() if k not in ("minimum", "spread")}))
    write(arguments.out, report)


if __name__ == "__main__":
    main()
