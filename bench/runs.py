"""Long runs: peak memory of every kind as the data grow, and workers of a Ray cluster.

Run `python -m bench.runs [memory|ray] [--out FILE]`; both by default.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper, save

import pertcore as pc
from bench.machine import machine_facts
from pertcore.demo import CLASSIFIER

ROOT = Path(__file__).resolve().parent.parent
SIZES = (1_000, 10_000, 100_000)
KINDS = {
    "attack": ["--eps", "0.1", "--attack", "fgsm"],
    "curve": ["--eps", "0.1", "--points", "4", "--attack", "fgsm"],
    "robustness": ["--attack", "deepfool"],
}
BLOCK = 1_000
RAY_SAMPLES, RAY_STEPS = 288, 10
COMMAND = "import sys; from pertcore.cli.app import main; sys.exit(main(sys.argv[1:]))"


def peak(arguments: list[str]) -> tuple[float, float]:
    """Peak resident memory in MB and wall seconds of one `pertcore` process."""
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-c", COMMAND, *arguments], stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"pertcore {' '.join(arguments)} ended with {process.returncode}")
    return used.ru_maxrss / 1e3, time.perf_counter() - started


def synthetic(path: Path, samples: int, shape: tuple[int, ...]) -> None:
    """Uniform samples in a .npy file, written block by block."""
    rng = np.random.default_rng(0)
    whole = np.lib.format.open_memmap(path, "w+", np.float32, (samples, *shape))
    for start in range(0, samples, BLOCK):
        stop = min(start + BLOCK, samples)
        whole[start:stop] = rng.random((stop - start, *shape))
    whole.flush()


def memory(folder: Path) -> list[dict[str, Any]]:
    """Each kind of run on the bundled classifier with everything written, as the data grow."""
    rows = []
    for samples in SIZES:
        data = folder / f"{samples}.npy"
        synthetic(data, samples, (1, 8, 8))
        for kind, flags in KINDS.items():
            out = folder / f"{kind}-{samples}"
            megabytes, seconds = peak(
                [kind, str(CLASSIFIER), "--inputs", str(data), *flags, "--bounds", "0,1",
                 "--out", str(out)]
            )  # fmt: skip
            row = {"kind": kind, "samples": samples, "peak MB": megabytes, "seconds": seconds}
            print(row, flush=True)
            rows.append(row)
    return rows


def heavy_model(path: Path, layers: int = 8, width: int = 96) -> None:
    """Convolutions on 3 x 32 x 32 with weights of a generator: some 15 ms a sample on one core."""
    rng, nodes, weights, last = np.random.default_rng(0), [], [], "x"
    channels = 3
    for k in range(layers):
        kernel = rng.standard_normal((width, channels, 3, 3)) * np.sqrt(2 / (9 * channels))
        weights.append(numpy_helper.from_array(kernel.astype(np.float32), f"w{k}"))
        nodes.append(helper.make_node("Conv", [last, f"w{k}"], [f"c{k}"], pads=[1, 1, 1, 1]))
        nodes.append(helper.make_node("Relu", [f"c{k}"], [f"r{k}"]))
        last, channels = f"r{k}", width
    out = rng.standard_normal((width, 10)).astype(np.float32)
    weights.append(numpy_helper.from_array(out, "out"))
    nodes.append(helper.make_node("GlobalAveragePool", [last], ["pooled"]))
    nodes.append(helper.make_node("Flatten", ["pooled"], ["flat"]))
    nodes.append(helper.make_node("MatMul", ["flat", "out"], ["y"]))
    kind = TensorProto.FLOAT
    graph = helper.make_graph(
        nodes, "heavy", [helper.make_tensor_value_info("x", kind, ["n", 3, 32, 32])],
        [helper.make_tensor_value_info("y", kind, ["n", 10])], weights,
    )  # fmt: skip
    opset = [helper.make_opsetid("", 17)]
    save(helper.make_model(graph, opset_imports=opset, ir_version=9), path)


def on_ray(folder: Path) -> dict[str, Any]:
    """The same run with one worker and with two, one thread each, whole processes timed."""
    model, data = folder / "heavy.onnx", folder / "heavy.npy"
    heavy_model(model)
    synthetic(data, RAY_SAMPLES, (3, 32, 32))
    oracle, x = pc.from_onnx(model, threads=1), np.load(data)[:32]
    oracle(x)
    started = time.perf_counter()
    oracle(x)
    forward = (time.perf_counter() - started) / len(x)
    seconds = {}
    for workers in (1, 2):
        _, seconds[workers] = peak(
            ["attack", str(model), "--inputs", str(data), "--eps", "1e-4", "--bounds", "0,1",
             "--attack", "pgd", "--steps", str(RAY_STEPS), "--batch-size", "4", "--engine", "ray",
             "--workers", str(workers), "--out", str(folder / f"ray-{workers}")]
        )  # fmt: skip
    return {
        "samples": RAY_SAMPLES, "steps": RAY_STEPS, "forward ms a sample": 1e3 * forward,
        "seconds": seconds, "two workers over one": seconds[1] / seconds[2],
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", nargs="?", choices=["memory", "ray"])
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "results" / "runs.json")
    arguments = parser.parse_args()
    found: dict[str, Any] = {}
    if arguments.out.exists():
        found = json.loads(arguments.out.read_text())
    found["machine"] = machine_facts()
    with tempfile.TemporaryDirectory() as folder:
        if arguments.part in (None, "memory"):
            found["memory"] = memory(Path(folder))
        if arguments.part in (None, "ray"):
            found["ray"] = on_ray(Path(folder))
    arguments.out.write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps({k: v for k, v in found.items() if k != "machine"}, indent=1))


if __name__ == "__main__":
    main()
