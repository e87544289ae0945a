"""An attack over a data set, batch after batch: memory holds the batch in flight."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from pertcore.attacks.checks import check_statuses
from pertcore.attacks.run import Progress, attack
from pertcore.errors import InputError, PertcoreWarning
from pertcore.oracle import Array, Calls, Oracle
from pertcore.result import AttackResult, Certificate, Stage, Status, Transfer

ROWS = ("success", "status", "norms", "margin", "before", "after", "loss_before", "loss_after")


class Samples(Protocol):
    """n samples that are read when sliced: an array, or a file behind it."""

    def __len__(self) -> int: ...

    def __getitem__(self, part: slice, /) -> Array: ...


@dataclass(frozen=True)
class Batch:
    """Samples `start` onwards, and what the attack made of them."""

    start: int
    x: Array
    result: AttackResult


def attacked_batches(
    oracle: Oracle,
    inputs: Samples,
    y: Array | None,
    *,
    batch_size: int,
    callback: Callable[[Progress], None] | None,
    settings: dict[str, Any],
    left_out: Array | None = None,
) -> Iterator[Batch]:
    """Run `pertcore.attack(oracle, x, y, **settings)` on batch after batch of the inputs.

    The random numbers of a sample do not depend on the batch. Warnings are kept in the results.
    left_out: (n,) bool, samples that come back as they are, with status CLEAN_ERROR.
    """
    if batch_size < 1:
        raise InputError(f"batch_size={batch_size}: a whole number >= 1")
    for start in range(0, len(inputs), batch_size):
        rows = slice(start, min(start + batch_size, len(inputs)))
        yield attacked_batch(
            oracle, inputs, y, rows=rows, callback=callback, settings=settings, left_out=left_out
        )


def attacked_batch(
    oracle: Oracle,
    inputs: Samples,
    y: Array | None,
    *,
    rows: slice,
    callback: Callable[[Progress], None] | None,
    settings: dict[str, Any],
    left_out: Array | None = None,
) -> Batch:
    """Samples `rows` alone; see `attacked_batches`."""
    x = inputs[rows]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PertcoreWarning)
        result = attack(
            oracle, x, None if y is None else y[rows], first_index=rows.start, callback=callback,
            **settings,
        )  # fmt: skip
    whole = result if left_out is None else untouched(result, x, left_out[rows])
    return Batch(rows.start, x, whole)


def untouched(result: AttackResult, x: Array, rows: Array) -> AttackResult:
    """The result with samples `rows`, (n,) bool, as they were: x itself, status CLEAN_ERROR.

    The margin and metrics of those that were attacked are NaN: what is known is that of the point
    given up.
    """
    rows = rows & (result.status != Status.CLEAN_ERROR)
    if not rows.any():
        return result
    kept = ~rows.reshape(-1, *[1] * (x.ndim - 1))
    status = np.where(rows, Status.CLEAN_ERROR, result.status).astype(result.status.dtype)
    return replace(
        result, x_adv=np.where(kept, result.x_adv, x), delta=np.where(kept, result.delta, 0.0),
        success=result.success & ~rows, status=status, norms=np.where(rows, 0.0, result.norms),
        margin=np.where(rows, np.nan, result.margin),
        after=np.where(rows, result.before, result.after),
        loss_after=np.where(rows, result.loss_before, result.loss_after),
        metrics={k: np.where(rows, np.nan, v) for k, v in result.metrics.items()},
        warnings=(*unrelated(result), *check_statuses(status)),
    )  # fmt: skip


def without_points(result: AttackResult) -> AttackResult:
    """The result with x_adv and delta left out, for tables over many batches."""
    return replace(result, x_adv=None, delta=None)


def joined(results: Sequence[AttackResult]) -> AttackResult:
    """The results of batches in order as one, without x_adv and delta.

    Calls and seconds add up; warnings about statuses are counted anew over all samples.
    """
    first = results[0]
    rows: dict[str, Any] = {
        name: np.concatenate([getattr(r, name) for r in results]) for name in ROWS
    }
    calls = Calls(*(sum(getattr(r.calls, kind) for r in results) for kind in ("f", "vjp", "jvp")))
    other = [text for r in results for text in unrelated(r)]
    return replace(
        without_points(first), **rows, metrics=_metrics(results), calls=calls,
        certificate=Certificate.joined([r.certificate for r in results if r.certificate]),
        transfer=Transfer.joined([r.transfer for r in results if r.transfer]),
        stages=Stage.joined([stage for r in results for stage in r.stages]),
        seconds=sum(r.seconds for r in results), exact=all(r.exact for r in results),
        warnings=tuple(dict.fromkeys([*other, *check_statuses(rows["status"])])),
    )  # fmt: skip


def _metrics(results: Sequence[AttackResult]) -> dict[str, Array]:
    names = results[0].metrics
    return {name: np.concatenate([r.metrics[name] for r in results]) for name in names}


def selected(result: AttackResult, rows: Array) -> AttackResult:
    """Samples `rows`, (n,) bool, of a result without points: figures over a part of the data."""
    return replace(
        without_points(result), **{name: getattr(result, name)[rows] for name in ROWS},
        metrics={name: values[rows] for name, values in result.metrics.items()},
        certificate=None if result.certificate is None else result.certificate.take(rows),
        transfer=None if result.transfer is None else result.transfer.take(rows),
    )  # fmt: skip


def unrelated(result: AttackResult) -> list[str]:
    """Its warnings that are not about the statuses of samples."""
    counted = check_statuses(result.status)
    return [text for text in result.warnings if text not in counted]
