"""The boundary of every attack: what the user gave, checked once and brought to one form."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from pertcore.arrays import as_numpy, beside, contiguous, to_host
from pertcore.attacks.levels import Levels, parse_levels
from pertcore.attacks.options import number, positive
from pertcore.attacks.placing import ball_beside, box_beside, brought
from pertcore.attacks.registry import ATTACKS, Attack
from pertcore.closed_form.metrics import Metric, checked, mse
from pertcore.constraints import (
    Ball,
    Box,
    Partition,
    parse_bounds,
    parse_eps,
    parse_norm,
    parse_partition,
)
from pertcore.errors import CapabilityError, InputError
from pertcore.oracle import Array, Oracle
from pertcore.solvers.problem import Goal


@dataclass(frozen=True)
class Given:
    """Checked arguments: x (n, *sample) in the oracle's dtype, y or None, ball, box, mask, goal,
    and the levels that x_adv must be on."""

    x: Array
    y: Array | None
    ball: Ball
    box: Box
    free: Array | None
    partition: Partition | None
    goal: Goal
    metrics: dict[str, Metric]
    peak: float
    levels: Levels | None
    restore: Any
    warnings: tuple[str, ...]


def prepare(
    attack: Attack, oracle: Oracle, x: Any, y: Any, *, eps: Any, norm: Any, bounds: Any,
    targeted: bool, mask: Any, partition: Any, task: str | None, decision: Any, threshold: Any,
    goal: str | None, loss: Any, metrics: Any, peak: Any, levels: Any, options: dict[str, Any],
    numpy_only: Iterable[str] = (),
) -> Given:  # fmt: skip
    """Everything checked before any model run; InputError or CapabilityError otherwise.

    `loss` is what the user named, None where he left it to the attack. `numpy_only`:
    what the caller does with x that no device can.
    """
    _check_oracle(attack, oracle)
    if targeted and not attack.aims:
        raise InputError(
            f"targeted=True: attack {attack.name!r} moves the output as far as it can, to no "
            "target; take 'iterated-quadratic', 'linear' or 'pgd'"
        )
    counted = parse_norm(norm, zero=True) == 0
    own = {"a callable loss": callable(loss), "levels": levels is not None, "norm=0": counted}
    numpy_only = [*(name for name, used in own.items() if used), *numpy_only]
    points, restore, warnings = brought(x, attack, oracle, numpy_only)
    points = _checked_x(points, oracle, warnings)
    box = box_beside(points, parse_bounds(bounds, oracle.input_shape, oracle.dtype))
    _check_inside(points, box)
    ball = _ball(attack, eps, norm, len(points), box)
    kind = _task(attack, task, oracle, y, loss, warnings)
    labels = _checked_y(y, oracle, len(points), kind, targeted)
    if bounds is None and len(oracle.input_shape) == 3:
        warnings.append(
            "bounds=None: x_adv may leave the range of valid images; give bounds=(0, 1) or such"
        )
    groups = _partition(attack, partition, oracle.input_shape, options)
    wanted = Goal(
        task=kind, loss=_loss(attack, kind, loss, options, goal), targeted=bool(targeted),
        decision=number("decision", decision), direction=goal, members=_members(oracle),
        threshold=threshold if threshold is None else number("threshold", threshold),
        own_answer=y is None,
    )  # fmt: skip
    return Given(
        x=points, y=beside(points, labels), ball=ball_beside(points, ball), box=box,
        free=beside(points, _checked_mask(mask, points, groups)),
        partition=groups, goal=wanted, metrics=_metrics(kind, metrics),
        peak=positive("peak", peak), levels=parse_levels(levels, box, points), restore=restore,
        warnings=tuple(warnings),
    )  # fmt: skip


def _metrics(kind: str, given: Any) -> dict[str, Metric]:
    own = {"mse": mse} if kind == "regression" else {}
    return {**own, **checked(given)}


def _check_oracle(attack: Attack, oracle: Any) -> None:
    if not hasattr(oracle, "linearize") and not hasattr(oracle, "capabilities"):
        raise InputError(
            f"oracle is a {type(oracle).__name__}: give pertcore.from_onnx(path), another adapter, "
            "or an object that follows pertcore.oracle.Oracle"
        )
    if attack.tangents and "jvp" not in oracle.capabilities:
        raise CapabilityError(
            f"attack {attack.name!r} needs J u beside J^T v and this oracle offers "
            f"{sorted(oracle.capabilities)}: add jvp, or wrap it with pertcore.from_function"
        )
    if "vjp" not in oracle.capabilities and not attack.blind:
        raise CapabilityError(
            f"attack {attack.name!r} needs J^T v and this oracle offers "
            f"{sorted(oracle.capabilities)}: add vjp, or wrap it with pertcore.from_function"
        )


def _ball(attack: Attack, eps: Any, norm: Any, n: int, box: Box) -> Ball:
    order = parse_norm(norm, zero=True)
    if order == 0:
        _check_counting(attack, norm, box)
    if attack.subset and not math.isinf(order):
        raise InputError(f"norm={norm!r}: subset attacks are for the linf norm")
    if eps is None and not attack.minimum_norm:
        raise InputError(f"eps=None: attack {attack.name!r} needs a budget, such as eps='8/255'")
    if eps is None:
        return Ball(order, np.full(n, math.inf))
    return Ball(order, parse_eps(eps if isinstance(eps, str) else as_numpy(eps, "eps")[0], n))


def _check_counting(attack: Attack, norm: Any, box: Box) -> None:
    if not attack.counts:
        able = ", ".join(repr(name) for name, row in ATTACKS.items() if row.counts)
        raise InputError(
            f"norm={norm!r}: attack {attack.name!r} takes 'linf', 'l2', 'l1' or any p >= 1; 0, "
            f"the number of changed features, is for {able}"
        )
    if not (np.all(np.isfinite(box.lo)) and np.all(np.isfinite(box.hi))):
        raise InputError(
            f"norm={norm!r} needs finite bounds=(lo, hi): a single feature that may go anywhere "
            "can nearly always change the answer"
        )


def _partition(
    attack: Attack, partition: Any, shape: tuple[int, ...], options: dict[str, Any]
) -> Partition | None:
    if not attack.subset:
        if partition is not None:
            raise InputError(f"partition given: attack {attack.name!r} takes none; 'pixel' does")
        return None
    groups = parse_partition("pixels" if partition is None else partition, shape)
    steps = options.get("steps", 1)
    if steps > groups.count:
        raise InputError(f"steps={steps}: the partition has {groups.count} subsets to change")
    return groups


def _loss(attack: Attack, kind: str, named: Any, options: dict[str, Any], goal: Any) -> Any:
    if goal is not None and goal not in ("minimise", "maximise"):
        raise InputError(f"goal={goal!r}: allowed are 'minimise' and 'maximise'")
    if goal is not None and not callable(named):
        raise InputError(f"goal={goal!r}: it is for callable losses; loss={named!r} has its own")
    if kind == "classification":
        return named or attack.own_loss or options.get("loss") or "margin"
    if attack.own_loss or attack.minimum_norm:
        raise InputError(f"attack={attack.name!r} is for classifiers, and this is a regression")
    if isinstance(named, str) and named != "squared_error":
        raise InputError(f"loss={named!r}: regression takes 'squared_error' or a callable loss")
    return named or "squared_error"


def _checked_x(x: Array, oracle: Oracle, warnings: list[str]) -> Array:
    if x.dtype.kind != "f":
        raise InputError(
            f"x has dtype {x.dtype}: expected floats in the units of the model; divide integers "
            "by their scale first, such as x / 255"
        )
    if x.ndim != len(oracle.input_shape) + 1 or x.shape[1:] != tuple(oracle.input_shape):
        raise InputError(
            f"x has shape {x.shape}: the model takes (n, {_listed(oracle.input_shape)}), the "
            "batch first and channels where the model wants them"
        )
    if len(x) == 0:
        raise InputError("x has no samples: give at least one")
    if not np.all(np.isfinite(x)):
        at = tuple(int(i) for i in np.argwhere(~np.isfinite(x))[0])
        raise InputError(f"x[{_listed(at)}] is {to_host(x[at])}: clean inputs are finite numbers")
    stored = contiguous(x, oracle.dtype)
    if x.dtype != oracle.dtype and not np.array_equal(stored.astype(x.dtype), x):
        warnings.append(
            f"x was rounded from {x.dtype} to the model's {np.dtype(oracle.dtype)}: the ball is "
            "around the rounded x"
        )
    return stored


def _members(oracle: Oracle) -> int | None:
    return getattr(oracle, "ensemble_size", None)


def _listed(numbers: Any) -> str:
    return ", ".join(str(number) for number in numbers)


def _check_inside(x: Array, box: Box) -> None:
    flat = x.reshape(len(x), -1)
    outside = (flat < box.lo) | (flat > box.hi)
    if np.any(outside):
        row, column = (int(i) for i in np.argwhere(outside)[0])
        ends = (to_host(box.lo), to_host(box.hi))
        lo, hi = (np.broadcast_to(end, flat.shape[1])[column] for end in ends)
        raise InputError(
            f"x has {int(outside.sum())} values outside bounds, the first in sample {row}: "
            f"{to_host(flat[row, column])}, allowed there are {lo} to {hi}; rescale x or give the "
            "bounds of its units"
        )


def _task(
    attack: Attack, task: str | None, oracle: Oracle, y: Any, loss: Any, warnings: list[str]
) -> str:  # fmt: skip
    if task is not None:
        if task not in ("classification", "regression"):
            raise InputError(f"task={task!r}: allowed are 'classification' and 'regression'")
        return task
    if loss == "squared_error":
        return "regression"
    if y is not None:
        given = as_numpy(y, "y")[0]
        if given.dtype.kind != "f":
            return "classification"
        if given.ndim == 1 and np.array_equal(given, np.floor(given)):
            raise InputError(
                f"y has dtype {given.dtype} and whole numbers: give integer classes, "
                "y.astype(int), or say task='regression' if they are values"
            )
        return "regression"
    if attack.regression:
        return "regression"
    if attack.minimum_norm or _members(oracle) is not None:
        return "classification"
    axes = [size for size in oracle.output_shape if size != 1]
    same = math.prod(oracle.output_shape) == math.prod(oracle.input_shape)
    several = len(getattr(oracle, "outputs", ())) > 1
    if len(axes) < 2 and not (same and axes) and not several:
        return "classification"
    warnings.append(
        f"outputs of shape {tuple(oracle.output_shape)} and no y: attacked as regression; say "
        "task='classification' if they are class scores"
    )
    return "regression"


def _checked_y(y: Any, oracle: Oracle, n: int, kind: str, targeted: bool) -> Array | None:
    if y is None:
        if targeted:
            raise InputError("targeted=True needs y, the wanted classes (n,)")
        return None
    labels = as_numpy(y, "y")[0]
    if len(np.atleast_1d(labels)) != n or labels.ndim == 0:
        raise InputError(f"y has shape {labels.shape}: expected one entry for each of {n} samples")
    outputs = math.prod(oracle.output_shape)
    if kind == "regression":
        if labels.size != n * outputs:
            raise InputError(f"y has shape {labels.shape}: the model gives (n, {outputs})")
        flat = np.ascontiguousarray(labels.reshape(n, outputs), dtype=oracle.dtype)
        if not np.all(np.isfinite(flat)):
            raise InputError("y is not finite: targets are finite numbers")
        return flat
    if labels.dtype.kind not in "iu" or labels.ndim != 1:
        raise InputError(
            f"y has dtype {labels.dtype} and shape {labels.shape}: expected integer classes "
            f"({n},); take the argmax of one-hot labels, or say task='regression'"
        )
    classes = max(2, outputs // (_members(oracle) or 1))
    if labels.min() < 0 or labels.max() >= classes:
        wrong = labels[(labels < 0) | (labels >= classes)][0]
        raise InputError(f"y has label {wrong}: the model has classes 0 to {classes - 1}")
    return np.ascontiguousarray(labels, dtype=np.int64)


def _checked_mask(mask: Any, x: Array, layers: Any) -> Array | None:
    free = None if layers is None or layers.labels.min() >= 0 else (layers.labels >= 0)[None]
    if mask is not None:
        given = as_numpy(mask, "mask")[0]
        if given.dtype != bool:
            raise InputError(f"mask has dtype {given.dtype}: expected bool, True = may change")
        try:
            np.broadcast_to(given, x.shape)
        except ValueError:
            raise InputError(
                f"mask has shape {given.shape}: it must broadcast to x, {x.shape}"
            ) from None
        rows = len(x) if given.ndim == x.ndim and len(given) > 1 else 1
        allowed = np.broadcast_to(given, (rows, *x.shape[1:])).reshape(rows, -1)
        free = allowed if free is None else allowed & free
    if free is None:
        return None
    return np.ascontiguousarray(free, dtype=x.dtype)
