"""What every library is given, and the verdict on what it gives back."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch

from bench.models import data_folder
from bench.peers.counted import counted
from bench.peers.environments import WORK

# How far a point may lie outside ball or box and still count: libraries round in float32.
ROUNDING = 1e-6
BATCH = 128


@dataclass(frozen=True)
class Samples:
    """Test images that the model gets right, x (n, *sample) in [0, 1] and y (n,).

    `looked` is how many it took to find them: n / looked is the clean accuracy.
    """

    name: str
    file: Path
    x: np.ndarray
    y: np.ndarray
    looked: int

    @property
    def points(self) -> Path:
        """The file in which a library finds x and y."""
        place = WORK / "points" / f"{self.name}-{os.getpid()}.npz"
        place.parent.mkdir(parents=True, exist_ok=True)
        np.savez(place, x=self.x, y=self.y)
        return place

    @cached_property
    def _judges(self) -> tuple[Any, Any]:
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads, settings.log_severity_level = 1, 3
        return onnxruntime.InferenceSession(self.file, settings), counted(self.file)

    def classes(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Classes (n,) by ONNX Runtime itself and by the PyTorch module."""
        session, module = self._judges
        given = session.get_inputs()[0]
        batch = given.shape[0] if isinstance(given.shape[0], int) else BATCH
        with torch.no_grad():
            by_torch = [module(torch.from_numpy(p)).numpy().argmax(1) for p in _parts(x, BATCH)]
        by_onnx = [session.run(None, {given.name: p})[0].argmax(1) for p in _parts(x, batch)]
        return np.concatenate(by_onnx), np.concatenate(by_torch)

    def verdict(self, x_adv: np.ndarray, norm: float, eps: float | None) -> Verdict:
        """Norms and success recomputed from x_adv; nothing is taken from the library.

        A point is fooled where ONNX Runtime or PyTorch says so: the two differ by rounding, and
        a smallest perturbation shall not be lost by that.
        """
        delta = (x_adv.astype(np.float64) - self.x).reshape(len(self.x), -1)
        norms = np.linalg.norm(delta, ord=norm, axis=1)
        outside = np.maximum(x_adv - 1.0, -x_adv.astype(np.float64)).reshape(len(delta), -1)
        beyond = np.maximum(outside.max(axis=1), 0)
        if eps is not None:
            beyond = np.maximum(beyond, norms - eps)
        by_onnx, by_torch = self.classes(np.ascontiguousarray(x_adv, dtype=np.float32))
        fooled = (by_onnx != self.y) | (by_torch != self.y)
        return Verdict(fooled & (beyond <= ROUNDING), norms, beyond)

    def smallest(self, points: np.ndarray, norm: float) -> np.ndarray:
        """Of every sample the smallest norm (n,) of its points (n, m, *sample) that fool; inf
        where none does."""
        found = np.full(len(self.x), np.inf)
        for k in range(points.shape[1]):
            verdict = self.verdict(points[:, k], norm, None)
            found = np.where(verdict.success, np.minimum(found, verdict.norms), found)
        return found


@dataclass(frozen=True)
class Verdict:
    """success (n,) bool, float64 norms (n,), and by how much ball or box are left (n,)."""

    success: np.ndarray
    norms: np.ndarray
    beyond: np.ndarray

    def figures(self) -> dict[str, Any]:
        """The shares and medians that a table shows; who stands has an infinite norm."""
        found = np.where(self.success, self.norms, np.inf)
        median = float(np.median(found))
        return {
            "success": float(self.success.mean()),
            "median norm": median if np.isfinite(median) else None,
            "outside exactly": float((self.beyond > 0).mean()),
            "farthest outside": float(self.beyond.max(initial=0)),
        }


def samples(name: str, count: int, begin: int = 0) -> Samples:
    """`count` test images that the model `name` classifies as labelled, the first `begin` of such
    left out."""
    folder = data_folder()
    if folder is None:
        raise SystemExit(
            "bench.peers needs the trained models and test images: a folder with models/*.onnx and "
            "datasets/mnist.npz, cifar10_test5k.npz, named by PERTCORE_DATA or lying at "
            "../shared/data beside the repository"
        )
    x, y = _test_images(folder, name)
    whole = Samples(name, folder / "models" / f"{name}.onnx", x, y, len(x))
    looked = min(len(x), 4 * (begin + count))
    by_onnx, by_torch = whole.classes(x[:looked])
    right = np.flatnonzero((by_onnx == y[:looked]) & (by_torch == y[:looked]))
    before = int(right[begin - 1]) + 1 if begin else 0
    right = right[begin : begin + count]
    seen = int(right[-1]) + 1 - before
    return Samples(name, whole.file, np.ascontiguousarray(x[right]), y[right], seen)


def _parts(x: np.ndarray, size: int) -> list[np.ndarray]:
    return [x[begin : begin + size] for begin in range(0, len(x), size)]


def _test_images(folder: Path, name: str) -> tuple[np.ndarray, np.ndarray]:
    if name.startswith("mnist"):
        with np.load(folder / "datasets" / "mnist.npz") as held:
            return held["x_test"][:, None] / np.float32(255), held["y_test"].astype(np.int64)
    with np.load(folder / "datasets" / "cifar10_test5k.npz") as held:
        x = held["x"].transpose(0, 3, 1, 2) / np.float32(255)
        return np.ascontiguousarray(x), held["y"].astype(np.int64)
