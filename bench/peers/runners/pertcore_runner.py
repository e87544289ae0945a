"""pertcore from the ONNX file, or with `--torch` from the same PyTorch module as the others."""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import pertcore as pc
from bench.peers.counted import Counted, counted
from bench.peers.serving import Rows, serve
from pertcore.closed_form.projections import project_ball
from pertcore.kernels import catalogue


class Clocked:
    """An oracle, or its linearisation, and the processor seconds that the model itself took."""

    def __init__(self, inner: Any, clock: list[float]) -> None:
        self.inner, self.clock = inner, clock

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def _timed(self, run: Callable[..., Any], *given: Any) -> Any:
        started = time.process_time()
        found = run(*given)
        self.clock[0] += time.process_time() - started
        return found

    def __call__(self, x: Rows) -> Rows:
        return self._timed(self.inner, x)

    def linearize(self, x: Rows) -> Clocked:
        return Clocked(self._timed(self.inner.linearize, x), self.clock)

    def vjp(self, v: Rows) -> Rows:
        return self._timed(self.inner.vjp, v)

    def take(self, index: Rows) -> Clocked:
        return Clocked(self._timed(self.inner.take, index), self.clock)


class Kernels:
    """The processor seconds that pertcore's kernels took; measuring adds a little to each call."""

    def __init__(self) -> None:
        self.seconds, self.load = 0.0, catalogue.load

    def __call__(self, name: str, backend: str) -> Callable[..., Any]:
        return partial(self._timed, self.load(name, backend))

    def _timed(self, kernel: Callable[..., Any], *given: Any) -> None:
        started = time.process_time()
        kernel(*given)
        self.seconds += time.process_time() - started


class Models:
    """Oracles by file, loaded once; a module counts for itself, an ONNX oracle by its calls."""

    def __init__(self, *, by_torch: bool) -> None:
        self.by_torch, self.kernels = by_torch, Kernels()
        catalogue.load = self.kernels  # type: ignore[assignment]
        self.held: dict[tuple[str, int], tuple[Clocked, Counted | None]] = {}

    def oracle(self, request: dict[str, Any], shape: tuple[int, ...]) -> Any:
        key = request["model"], request["threads"]
        if key not in self.held:
            file = Path(request["model"])
            if self.by_torch:
                module = counted(file)
                self.held[key] = Clocked(pc.from_torch(module, input_shape=shape), [0.0]), module
            else:
                self.held[key] = Clocked(pc.from_onnx(file, threads=key[1]), [0.0]), None
        return self.held[key]

    def attempt(self, request: dict[str, Any], x: Rows, y: Rows) -> tuple[Rows, dict[str, float]]:
        oracle, module = self.oracle(request, x.shape[1:])
        before = self._spent(oracle, module)
        options, common = dict(request["options"]), {"bounds": (0, 1), "rng": request["seed"]}
        if request["attack"] == "curve":
            common |= {"eps": options.pop("grid"), "attack": options.pop("by")}
            found = pc.curve(oracle, x, y, norm=request["norm"], **common, **options)
            x_adv = found.x_adv[:, None]
        else:
            common |= {"norm": request["norm"], "eps": request["eps"]}
            x_adv = pc.attack(oracle, x, y, attack=request["attack"], **common, **options).x_adv
        after = self._spent(oracle, module)
        return x_adv, {name: after[name] - before[name] for name in after}

    def _spent(self, oracle: Clocked, module: Counted | None) -> dict[str, float]:
        forward, backward = oracle.calls.f, oracle.calls.vjp
        if module is not None:
            forward, backward = module.forward_runs, module.backward_runs
        return {
            "forward": forward, "backward": backward, "model seconds": oracle.clock[0],
            "kernel seconds": self.kernels.seconds,
        }  # fmt: skip


def thresholded(rows: Rows, radius: float) -> Rows:
    return project_ball(rows, np.full(len(rows), radius), 1.0)


if __name__ == "__main__":
    warnings.simplefilter("ignore", pc.PertcoreWarning)
    serve(Models(by_torch="--torch" in sys.argv).attempt, {"l1": thresholded})
