"""pertcore from the ONNX file, or with `--torch` from the same PyTorch module as the others."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np

import pertcore as pc
from bench.peers.counted import Counted, counted
from bench.peers.serving import Rows, serve
from pertcore.closed_form.projections import project_ball


class Models:
    """Oracles by file, loaded once; a module counts for itself, an ONNX oracle by its calls."""

    def __init__(self, *, by_torch: bool) -> None:
        self.by_torch, self.held = by_torch, {}  # type: ignore[var-annotated]

    def oracle(self, request: dict[str, Any], shape: tuple[int, ...]) -> tuple[Any, Counted | None]:
        key = request["model"], request["threads"]
        if key not in self.held:
            file = Path(request["model"])
            module = counted(file) if self.by_torch else None
            self.held[key] = (
                pc.from_torch(module, input_shape=shape)
                if module is not None
                else pc.from_onnx(file, threads=request["threads"]),
                module,
            )
        return self.held[key]

    def attempt(self, request: dict[str, Any], x: Rows, y: Rows) -> tuple[Rows, int, int]:
        oracle, module = self.oracle(request, x.shape[1:])
        before = _counts(oracle, module)
        result = pc.attack(
            oracle, x, y, attack=request["attack"], norm=request["norm"], eps=request["eps"],
            bounds=(0, 1), rng=request["seed"], **request["options"],
        )  # fmt: skip
        after = _counts(oracle, module)
        return result.x_adv, after[0] - before[0], after[1] - before[1]


def _counts(oracle: Any, module: Counted | None) -> tuple[int, int]:
    if module is None:
        return oracle.calls.f, oracle.calls.vjp
    return module.forward_runs, module.backward_runs


def thresholded(rows: Rows, radius: float) -> Rows:
    return project_ball(rows, np.full(len(rows), radius), 1.0)


if __name__ == "__main__":
    warnings.simplefilter("ignore", pc.PertcoreWarning)
    serve(Models(by_torch="--torch" in sys.argv).attempt, {"l1": thresholded})
