"""One batch, prepared: what every solver and recipe sees of an attack."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pertcore.arrays import contiguous, library
from pertcore.closed_form import losses
from pertcore.constraints import Ball, Box, Partition
from pertcore.errors import InputError
from pertcore.oracle import Array, Linearization, Oracle
from pertcore.result import Status

# Below this share of leavers, dropping them costs more than one useless backward pass for them.
WORTH_TAKING = 0.25

# Two graphs of one model differ by some tens of units in the last place of the largest score.
ROUNDING = 64


@dataclass(frozen=True)
class Goal:
    """What the attack wants: `task` is "classification" or "regression", `loss` what it lowers.

    targeted: y holds wanted classes or values. decision: a single logit above it means class 1.
    threshold: regression succeeds once the user's loss is there; None: once it is worse than at
    x. direction: whether a callable loss is to be "minimise"d or "maximise"d; None asks its
    attribute `goal`. members: how many models of an ensemble speak in one output (n, m, K);
    None: one model. own_answer: y is the model's own answer at x.
    """

    task: str
    loss: str | Callable[..., Any]
    targeted: bool = False
    decision: float = 0.0
    threshold: float | None = None
    direction: str | None = None
    members: int | None = None
    own_answer: bool = False

    def scores(self, value: Array) -> Array:
        """Model output (n, *out) as (n, K), or (n, m, K) for an ensemble."""
        members = () if self.members is None else (self.members,)
        return value.reshape(len(value), *members, -1)

    def rows(self, loss: str | Callable[..., Any], value: Array, y: Array) -> losses.LossRows:
        """Value to minimise, cotangent and margin of every sample, from the output (n, *out)."""
        return losses.evaluate(
            loss, self.scores(value), y, targeted=self.targeted, decision=self.decision,
            goal=self.direction if callable(loss) else None,
        )  # fmt: skip

    @property
    def maximised(self) -> bool:
        """Whether the user's loss is raised: then what is minimised is its negative."""
        if callable(self.loss):
            return (self.direction or getattr(self.loss, "goal", "minimise")) == "maximise"
        return self.loss == "squared_error" and not self.targeted

    def shown(self, minimised: Array) -> Array:
        """The user's loss (n,) from the values that are minimised."""
        return -minimised if self.maximised else minimised

    def past_threshold(self, minimised: Array) -> Array:
        """(n,) bool: the user's loss has reached `threshold`; nobody where there is none."""
        if self.threshold is None:
            return np.zeros_like(minimised, dtype=bool)
        shown = self.shown(minimised)
        return shown >= self.threshold if self.maximised else shown <= self.threshold

    def reached(self, rows: losses.LossRows, value: Array) -> Array:
        """(n,) bool: who may leave; a tie (margin 0) is not fooled, NaN never is.

        A margin inside the rounding of the scores is not trusted: the final verdict is another
        run of the model, perhaps of another graph, and who leaves here cannot move on.
        """
        if self.task == "regression":
            return self.past_threshold(rows.value)
        scale = np.abs(self.scores(value)).reshape(len(value), -1).max(axis=1)
        return rows.margin < -ROUNDING * np.finfo(value.dtype).eps * scale.astype(np.float64)


@dataclass(frozen=True)
class Problem:
    """n samples flattened to (n, d): x, y, ball and box, keys of randomness, model and goal.

    `index` (n,) is each sample's place in the batch this one was taken from.

    `free` is None or a mask (1, d) or (n, d) in the dtype of x, 0 where a feature is frozen.
    `report(step, steps, active)` tells whoever waits how far the batch is.
    """

    oracle: Oracle
    x: Array
    y: Array
    ball: Ball
    box: Box
    goal: Goal
    keys: Array
    index: Array
    report: Callable[[int, int, int], None]
    free: Array | None = None
    partition: Partition | None = None

    def __len__(self) -> int:
        return len(self.x)

    @property
    def eps(self) -> Array:
        return self.ball.eps

    @property
    def norm(self) -> float:
        return self.ball.norm

    def take(self, index: Array) -> Problem:
        """The same problem for fewer samples; `index` is a mask (n,) or positions."""
        free = mask_rows(self.free, index)
        return replace(
            self, x=self.x[index], y=self.y[index], ball=self.ball.take(index),
            keys=self.keys[index], index=self.index[index], free=free,
        )  # fmt: skip

    def subsets(self, steps: int) -> Partition:
        """The partition of a subset attack, with at least `steps` subsets to change."""
        if self.partition is None or steps > self.partition.count:
            count = 0 if self.partition is None else self.partition.count
            raise InputError(f"steps={steps}: the partition has {count} subsets to change")
        return self.partition

    def shaped(self, flat: Array) -> Array:
        return flat.reshape(*flat.shape[:-1], *self.oracle.input_shape)

    def linearize(self, points: Array) -> Linearization:
        return self.oracle.linearize(self.shaped(points))

    def losses(self, loss: str | Callable[..., Any], value: Array) -> losses.LossRows:
        return self.goal.rows(loss, value, self.y)

    def gradient(self, lin: Linearization, cotangent: Array) -> Array:
        """J^T v flattened to (n, d) or (c, n, d), zero at frozen features."""
        rank = 1 if self.goal.members is None else 2
        leading = cotangent.shape[: cotangent.ndim - rank]
        pulled = lin.vjp(cotangent.reshape(*leading, *self.oracle.output_shape))
        flat = contiguous(pulled.reshape(*leading, self.x.shape[1]))
        return flat if self.free is None else flat * self.free


def mask_rows(free: Array | None, index: Array | slice) -> Array | None:
    """Rows of a mask (n, d); one row (1, d) serves every sample."""
    return free if free is None or len(free) == 1 else free[index]


@dataclass
class Front:
    """Where a batch stands: the samples still in it, their points, and how the others ended."""

    problem: Problem
    rows: Array
    points: Array
    ended: Array
    status: Array
    moved: Array

    @classmethod
    def start(cls, problem: Problem, points: Array | None = None) -> Front:
        begin = problem.x if points is None else points
        n, made = len(problem), library(begin)
        status = made.full(n, int(Status.MAX_STEPS), dtype=np.int8)
        moved = made.zeros(n, dtype=bool)
        return cls(problem, made.arange(n), begin, begin.copy(), status, moved)

    def leave(self, gone: Array, status: Status) -> None:
        """Mark samples as ended; they stay in the arrays until `compact`."""
        self.ended[self.rows[gone]] = self.points[gone]
        self.status[self.rows[gone]] = int(status)

    def compact(self, keep: Array) -> None:
        """Drop everybody outside `keep`, a mask or positions, from the batch."""
        everybody = np.all(keep) if keep.dtype == bool else len(keep) == len(self.rows)
        if not everybody:
            self.rows, self.points = self.rows[keep], self.points[keep]
            self.problem = self.problem.take(keep)

    def finish(self) -> tuple[Array, Array]:
        """Points (n, d) and status (n,) of everybody, those still in the batch included.

        Who never had a gradient, dithered or not, ends as ZERO_GRADIENT.
        """
        self.ended[self.rows] = self.points
        still = (self.status == int(Status.MAX_STEPS)) & ~self.moved
        self.status[still] = int(Status.ZERO_GRADIENT)
        return self.ended, self.status


def judge(front: Front, rows: losses.LossRows, value: Array) -> Array:
    """Mark who is fooled or not finite at the present points; mask (n,) of who stays."""
    fooled = front.problem.goal.reached(rows, value)
    broken = ~np.isfinite(rows.value)
    front.leave(fooled & ~broken, Status.OK)
    front.leave(broken, Status.NONFINITE)
    return ~(fooled | broken)


def narrowed(front: Front, lin: Linearization, keep: Array) -> tuple[Linearization, Array]:
    """The linearisation and the positions it covers: those who stay, where `take` pays.

    Otherwise everybody is covered once more, and `keep` thins the batch after the products.
    """
    leaving = 1 - np.count_nonzero(keep) / max(len(keep), 1)
    if leaving >= WORTH_TAKING and "take" in front.problem.oracle.capabilities:
        kept = np.flatnonzero(keep)
        front.compact(kept)
        return lin.take(kept), kept
    return lin, library(keep).arange(len(keep))


def survivors(front: Front, lin: Linearization, rows: losses.LossRows) -> tuple[Array, Array]:
    """The gradients (m, d) of who neither reached the goal nor broke nor is flat, and which rows
    of `rows` those m samples are; everybody else leaves the batch."""
    keep = judge(front, rows, lin.value)
    if not np.any(keep):
        front.compact(keep)
        return front.problem.x[:0], np.flatnonzero(keep)
    lin, covered = narrowed(front, lin, keep)
    gradient = front.problem.gradient(lin, rows.cotangent[covered])
    keep = leave_flat(front, gradient, keep[covered])
    front.compact(keep)
    whole = gradient if np.all(keep) else contiguous(gradient[keep])
    return whole, covered[keep]


def leave_flat(front: Front, gradient: Array, keep: Array) -> Array:
    """Mark who has a zero or non-finite gradient (n, d); mask of who stays.

    A zero gradient never moves, so such a sample would only cost model runs.
    """
    flat, broken = dead(gradient)
    front.leave(keep & flat, Status.ZERO_GRADIENT)
    front.leave(keep & broken, Status.NONFINITE)
    front.moved[front.rows[keep & ~(flat | broken)]] = True
    return keep & ~(flat | broken)


def dead(gradient: Array) -> tuple[Array, Array]:
    """Whose gradient (n, d) is zero, and whose is not finite, (n,) bool each."""
    top, bottom = gradient.max(axis=1), gradient.min(axis=1)
    return (top == 0) & (bottom == 0), ~np.isfinite(top) | ~np.isfinite(bottom)
