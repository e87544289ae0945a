"""Signs that a flag does not mean what its writer meant: said as warnings, never refused."""

from __future__ import annotations

import math
from typing import Protocol

import numpy as np

from pertcore.cli.arguments import AttackArguments, numbers
from pertcore.cli.problem import Problem
from pertcore.constraints import parse_norm
from pertcore.oracle import Array
from pertcore.result import Status

FEW = 10
FILLED = 0.02  # share of the box that the inputs fill


class Judged(Protocol):
    """A result of any kind: its task, and how its samples ended, (n,)."""

    @property
    def task(self) -> str: ...

    @property
    def status(self) -> Array: ...


def doubts(arguments: AttackArguments, problem: Problem, result: Judged) -> list[str]:
    """Warnings about the budget and about the clean answers, in the words of the command line."""
    unused = []
    if arguments.threshold is not None and result.task == "classification":
        unused.append("--threshold is for regressions and was not used: this is a classification")
    logits = math.prod(problem.oracle.output_shape) // len(arguments.models)
    if arguments.decision is not None and logits > 1:
        unused.append("--decision is for models of a single logit and was not used")
    return [
        *unused,
        *_units(arguments, problem),
        *_budget(arguments, problem),
        *_clean_answers(problem, result),
    ]


def _units(arguments: AttackArguments, problem: Problem) -> list[str]:
    box, (lowest, _), (highest, _) = arguments.box(), problem.inputs.lowest, problem.inputs.highest
    if box is None or highest - lowest > FILLED * (box[1] - box[0]):
        return []
    return [
        f"the inputs hold {lowest:g} to {highest:g}, a small part of --bounds {arguments.bounds}: "
        "are these the same units? Images are read as 0 to 1; --scale 1 takes what is stored"
    ]


def _budget(arguments: AttackArguments, problem: Problem) -> list[str]:
    box = arguments.box()
    if box is None or arguments.eps is None:
        return []
    d, p = math.prod(problem.inputs.shape), parse_norm(arguments.norm, zero=True)
    if p == 0:  # a count of features, whatever the box
        return []
    widest = (box[1] - box[0]) * (1.0 if math.isinf(p) else d ** (1 / p))
    if max(numbers(arguments.eps, "--eps")) <= widest:
        return []
    return [
        f"--eps {arguments.eps} is more than --bounds {arguments.bounds} is wide, so every input "
        "is allowed: eps is in the units of the samples after --scale, 8/255 for images in [0, 1]"
    ]


def _clean_answers(problem: Problem, result: Judged) -> list[str]:
    if problem.labels is None or problem.targets is not None or result.task != "classification":
        return []
    n, wrong = len(result.status), int(np.sum(result.status == Status.CLEAN_ERROR))
    if n < FEW or 2 * wrong <= n:
        return []
    return [
        f"{wrong} of {n} samples are misclassified before the attack: check --labels, --scale, "
        "--layout, --mean and --std, and that --output holds class scores"
    ]
