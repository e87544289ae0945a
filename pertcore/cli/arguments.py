"""What was written behind a command that attacks, and its texts read as numbers."""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from pertcore.constraints import parse_number
from pertcore.errors import InputError

WORDS = ("loss", "method", "max_memory")
OPTIONS = (
    "steps", "restarts", "loss", "step_size", "rel_step_size", "rel_alpha", "dither", "overshoot",
    "tolerance", "classes", "refine", "method", "certify", "max_memory",
)  # fmt: skip

# The attack that a command takes where none is named, if not that of `pertcore attack`.
OWN_ATTACK = {"robustness": "deepfool"}


@dataclass(frozen=True, kw_only=True)
class AttackArguments:
    """Every flag of `pertcore attack`, `curve` and `robustness`, which of them it is, and texts
    where a flag is a fraction or a list."""

    models: list[Path]
    kind: str = "attack"
    inputs: str | None = None
    labels: str | None = None
    attack: str = "alg1"
    norm: str = "inf"
    eps: str | None = None
    points: int | None = None
    largest: str | None = None
    bounds: str | None = None
    steps: int | None = None
    restarts: int | None = None
    loss: str | None = None
    step_size: str | None = None
    rel_step_size: str | None = None
    rel_alpha: str | None = None
    dither: str | None = None
    overshoot: str | None = None
    tolerance: str | None = None
    classes: int | None = None
    refine: int | None = None
    method: str | None = None
    certify: bool | None = None
    max_memory: str | None = None
    target: str | None = None
    task: str | None = None
    decision: str | None = None
    threshold: str | None = None
    peak: str | None = None
    partition: str | None = None
    mean: str | None = None
    std: str | None = None
    input: str | None = None
    output: str | None = None
    weights: str | None = None
    freeze: Sequence[str] = ()
    limit: int | None = None
    scale: str | None = None
    layout: str = "nchw"
    batch_size: int = 256
    seed: int = 0
    threads: int | None = None
    finite_differences: bool = False
    straight_through: bool = False
    deterministic: bool = False
    save_8bit: bool = False
    out: str | None = None
    resume: bool = False
    engine: str = "local"
    address: str | None = None
    workers: int | None = None

    def options(self) -> dict[str, Any]:
        """The attack's own options that were given, numbers read."""
        given = {name: getattr(self, name) for name in OPTIONS}
        if self.loss is not None:
            given["loss"] = self.loss.replace("-", "_")
        return {
            name: self.number(name) if isinstance(value, str) and name not in WORDS else value
            for name, value in given.items()
            if value is not None
        }

    def box(self) -> tuple[float, float] | None:
        """--bounds as (lo, hi)."""
        if self.bounds is None:
            return None
        try:
            ends = numbers(self.bounds, "--bounds")
        except InputError:
            ends = []
        if len(ends) != 2 or not ends[0] <= ends[1]:
            raise InputError(f"--bounds {self.bounds}: expected lowest,highest such as 0,1")
        return ends[0], ends[1]

    def number(self, name: str) -> float | None:
        """A flag that holds one number, or None where it was not given."""
        text = getattr(self, name)
        return None if text is None else parse_number(text, f"--{_flag(name)}")

    def command(self) -> str:
        """The command line that repeats this run."""
        words = ["pertcore", self.kind, *(str(model) for model in self.models)]
        for entry in fields(self):
            value = getattr(self, entry.name)
            own = OWN_ATTACK.get(self.kind, entry.default)
            default = own if entry.name == "attack" else entry.default
            if entry.name in ("models", "kind", "resume") or value in (None, default):
                continue
            several = value if isinstance(value, list) else [value]
            for one in several:
                flag = f"--{'no-' if one is False else ''}{_flag(entry.name)}"
                words += [flag, *([] if isinstance(one, bool) else [str(one)])]
        return shlex.join(words)


def numbers(text: str, flag: str) -> list[float]:
    """Numbers separated by commas, each such as 0.5, 1/2 or -inf."""
    ends = {"inf": math.inf, "+inf": math.inf, "-inf": -math.inf}
    return [
        ends[part.strip()] if part.strip() in ends else parse_number(part, flag)
        for part in text.split(",")
    ]


def _flag(name: str) -> str:
    return name.replace("_", "-")
