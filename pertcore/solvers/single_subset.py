"""(17) to (20): the one subset of a partition that moves the linearised output most, p = inf."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from pertcore.closed_form.quadratic_subsets import ENUMERATED, best_subset_quadratic
from pertcore.constraints import Partition
from pertcore.oracle import Array
from pertcore.solvers.local_subsets import subset_columns
from pertcore.solvers.quadratic import EXACT, Maximum, Question, in_parts, settled
from pertcore.solvers.stored import Stored


def best_subset(question: Question, partition: Partition, method: str) -> Maximum:
    """The subset S and its signs that make norm_2(c + J eta)^2 largest, eta zero outside S.

    Where the signs of every subset can all be tried, the maximum is exact, box and c included;
    else it is a lower bound and `upper` is inf. method="paper" is the greedy rule (20) with
    neither box nor c.
    """
    if method == "paper":
        question = replace(question, offset=None, lo=-math.inf, hi=math.inf)
    return settled(question, in_parts(question, lambda part: _best(part, partition, method)))


def _best(question: Question, partition: Partition, method: str) -> Maximum:
    labels = partition.labels
    most = int(np.bincount(labels[labels >= 0]).max())
    lifted = question.boxed or question.offset is not None
    stored, whole = _columns(question, partition, most)
    middle, half = question.room()
    rows = stored.columns * half[:, :, None].astype(stored.dtype)
    if lifted:
        # One more column a subset, what is there without its signs; theirs are read against it.
        rest = _sums(stored.columns * middle[:, :, None].astype(stored.dtype), partition)
        rest += question.level()[:, None] if whole else 0
        rows = np.concatenate([rows, rest], axis=1)
        numbers = np.concatenate([labels, np.arange(partition.count)])
        partition = Partition(numbers, partition.count)
    chosen, signs, value = best_subset_quadratic(
        rows, partition, method="paper" if method == "paper" else "exact"
    )
    d = len(labels)
    if lifted:
        signs = signs[:, :d] * signs[np.arange(len(signs)), d + chosen][:, None]
    eta = np.where(labels == chosen[:, None], middle, 0) + half * signs
    exact = method != "paper" and most + lifted <= ENUMERATED
    exact = exact and (whole or question.offset is None)
    upper = value if exact else np.full(len(value), math.inf)
    return Maximum(eta, value, upper, EXACT if exact else "none")


def _columns(question: Question, partition: Partition, most: int) -> tuple[Stored, bool]:
    """The columns and True; or, where they do not fit and the model is local, shorter ones with
    the same products inside each subset, which know nothing of c, and False."""
    if most < ENUMERATED and not question.fits():
        short = subset_columns(question.given, partition, max_memory=question.max_memory)
        if short is not None:
            return Stored(short), False
    return question.stored(), True


def _sums(columns: Array, partition: Partition) -> Array:
    """The sum of the columns (n, d, K) of every subset, (n, S, K)."""
    order = np.argsort(partition.labels, kind="stable")
    free = order[np.count_nonzero(partition.labels < 0) :]
    first = np.searchsorted(partition.labels[free], np.arange(partition.count))
    return np.add.reduceat(columns[:, free], first, axis=1)
