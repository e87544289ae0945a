"""Asks libraries for attacks, judges the answers, and keeps every figure on disk as it comes."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bench.peers.calling import Libraries
from bench.peers.environments import WORK
from bench.peers.samples import ROUNDING, Samples, samples

BATCH, SEED, WARM = 128, 0, 4


@dataclass(frozen=True)
class Cell:
    """One question put to every library: a model, a norm, and a budget or None."""

    model: str
    norm: float
    eps: float | None = None


@dataclass
class Measurements:
    """Figures by what was asked, from the file they were kept in; asks only for what is missing.

    `most` bounds the samples of every request; `model` leaves out the cells of the others.
    """

    libraries: Libraries
    most: int | None = None
    model: str | None = None
    file: Path = WORK / "measured.jsonl"
    held: dict[str, dict[str, Any]] = field(default_factory=dict)
    given: dict[tuple[str, int, int], Samples] = field(default_factory=dict)

    def __post_init__(self) -> None:
        lines = self.file.read_text().splitlines() if self.file.exists() else []
        for row in map(json.loads, lines):
            self.held[_key(row)] = row

    def measure(
        self, section: str, cell: Cell, library: str, attack: str, *, samples: int,
        part: int = 0, repeat: int = 0, **options: Any,
    ) -> dict[str, Any]:  # fmt: skip
        """One attack on so many samples, judged; from the file where it is there.

        `part` k: not the first `samples` but those after k times as many.
        """
        count = samples if self.most is None else min(samples, self.most)
        asked = {
            "section": section, "model": cell.model, "norm": f"{cell.norm:g}", "eps": cell.eps,
            "library": library, "attack": attack, "options": options, "samples": count,
            "part": part, "repeat": repeat, "threads": self.libraries.threads,
        }  # fmt: skip
        if _key(asked) not in self.held:
            warm = section in ("speed", "curve", "profile") and repeat == 0
            self._keep(asked | self._attacked(cell, library, attack, options, count, part, warm))
        return self.held[_key(asked)]

    def among(self, cells: Sequence[Cell]) -> list[Cell]:
        """The cells of the model that is asked for, all where none is."""
        return [cell for cell in cells if self.model in (None, cell.model)]

    def project(self, shape: tuple[int, int], library: str, name: str) -> dict[str, Any]:
        """The time of one l1 projection of standard normal rows, and how far from float64's."""
        asked = {
            "section": "projection", "shape": list(shape), "library": library, "name": name,
            "threads": self.libraries.threads,
        }  # fmt: skip
        if _key(asked) not in self.held:
            self._keep(asked | self._projected(shape, library, name))
        return self.held[_key(asked)]

    def _samples(self, cell: Cell, count: int, part: int) -> Samples:
        if (cell.model, count, part) not in self.given:
            self.given[cell.model, count, part] = samples(cell.model, count, part * count)
        return self.given[cell.model, count, part]

    def _attacked(
        self, cell: Cell, library: str, attack: str, options: Any, count: int, part: int,
        warm: bool,
    ) -> dict[str, Any]:  # fmt: skip
        given, out = self._samples(cell, count, part), WORK / "points" / f"found-{os.getpid()}.npz"
        request = {
            "attack": attack, "model": str(given.file), "points": str(given.points),
            "norm": "inf" if math.isinf(cell.norm) else cell.norm, "eps": cell.eps,
            "options": options, "seed": SEED, "batch": BATCH, "samples": count, "out": str(out),
        }  # fmt: skip
        if warm:  # sessions and compiled kernels are made at the first call
            self.libraries.ask(library, request | {"samples": WARM})
        answer = self.libraries.ask(library, request)
        with np.load(out) as held:
            points = held["x_adv"]
        if "grid" in options:
            over = given.smallest(points, cell.norm) > np.add(options["grid"], ROUNDING)[:, None]
            figures = {"robust": over.mean(axis=1).tolist()}
        else:
            figures = given.verdict(points, cell.norm, cell.eps).figures()
        passes = (answer["forward"] + answer["backward"]) / count
        return {**answer, "passes": passes, "looked": given.looked, **figures}

    def _projected(self, shape: tuple[int, int], library: str, name: str) -> dict[str, Any]:
        rows = np.random.default_rng(SEED).standard_normal(shape).astype(np.float32)
        radius = 0.1 * float(np.abs(rows).sum(axis=1).mean())
        points, out = WORK / "points" / "rows.npz", WORK / "points" / f"found-{os.getpid()}.npz"
        points.parent.mkdir(parents=True, exist_ok=True)
        np.savez(points, x=rows)
        request = {
            "attack": "project", "name": name, "points": str(points), "eps": radius,
            "repeats": 7, "out": str(out),
        }  # fmt: skip
        answer = self.libraries.ask(library, request)
        with np.load(out) as held:
            apart = np.abs(held["x_adv"] - projected_by_bisection(rows.astype(np.float64), radius))
        return {**answer, "farthest from bisection": float(apart.max())}

    def _keep(self, row: dict[str, Any]) -> None:
        self.held[_key(row)] = row
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with self.file.open("a") as kept:
            kept.write(json.dumps(row) + "\n")
        shown = {k: v for k, v in row.items() if k not in ("all", "looked", "threads")}
        print(json.dumps(shown), flush=True)


def projected_by_bisection(rows: np.ndarray, radius: float) -> np.ndarray:
    """The projection on the l1 ball by its definition: soften by the tau that meets the radius."""
    low, high = np.zeros(len(rows)), np.abs(rows).max(axis=1)
    for _ in range(100):
        tau = (low + high) / 2
        over = np.maximum(np.abs(rows) - tau[:, None], 0).sum(axis=1) > radius
        low, high = np.where(over, tau, low), np.where(over, high, tau)
    return np.sign(rows) * np.maximum(np.abs(rows) - high[:, None], 0)


def _key(row: dict[str, Any]) -> str:
    names = (
        "section", "model", "norm", "eps", "library", "attack", "options", "samples", "part",
        "repeat", "threads", "shape", "name",
    )  # fmt: skip
    return json.dumps([row.get(name) or None for name in names], sort_keys=True)


def forget(file: Path, library: str, section: str | None) -> None:
    """Drops a library's rows, of one section or all, so that they are measured anew."""
    if not file.exists():
        return
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    kept = [
        row for row in rows if row["library"] != library or section not in (None, row["section"])
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in kept))
