"""`attack`: check, take the clean prediction, run the recipe, and verify on the user's model."""

from __future__ import annotations

import time
import warnings as python_warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from pertcore.arrays import beside, device_memory, library, to_host
from pertcore.attacks.checks import (
    RANDOM,
    check_budget,
    check_model,
    check_stages,
    check_standing,
    check_statuses,
)
from pertcore.attacks.levels import on_levels
from pertcore.attacks.options import whole
from pertcore.attacks.prepare import Given, prepare
from pertcore.attacks.registry import Attack, find
from pertcore.attacks.transfer import check_target, transferred
from pertcore.attacks.verify import Verified, clean_answer, differences, joined, verify
from pertcore.chunked import chunked
from pertcore.closed_form import sampling
from pertcore.closed_form.metrics import Metric, psnr
from pertcore.errors import DeviceMemoryError, InputError, PertcoreWarning
from pertcore.oracle import Array, Calls, Oracle
from pertcore.result import AttackResult, Certificate, Stage
from pertcore.solvers.problem import Problem, mask_rows

DETERMINISTIC_CHUNK = 32


@dataclass(frozen=True)
class Progress:
    """What a callback is told: samples done of total, the step of the batch, who is active."""

    done: int
    total: int
    step: int
    steps: int
    active: int


def attack(
    oracle: Oracle,
    x: Any,
    y: Any = None,
    *,
    attack: str | Attack = "alg1",
    eps: Any = None,
    norm: float | str = "inf",
    bounds: Any = None,
    targeted: bool = False,
    mask: Any = None,
    partition: Any = None,
    task: str | None = None,
    decision: float = 0.0,
    threshold: float | None = None,
    goal: str | None = None,
    metrics: Mapping[str, Metric] | None = None,
    peak: float = 1.0,
    levels: int | None = None,
    evaluate_on: Oracle | None = None,
    rng: int | np.random.Generator = 0,
    first_index: int | Array = 0,
    batch_size: int | None = None,
    deterministic: bool = False,
    callback: Callable[[Progress], None] | None = None,
    **options: Any,
) -> AttackResult:
    """Perturb every sample of x inside its ball and box, and verify the result on the oracle.

    x: (n, *sample) floats, any array that speaks DLPack; y: (n,) integer classes (wanted classes
    with `targeted`), or (n, *out) floats for regression; None takes the model's own answer. eps:
    the budget in the units of x, a number, (n,) numbers or text such as "8/255"; None only for
    minimum-norm attacks. norm: order p >= 1, "linf", "l2". bounds: (lo, hi), numbers or arrays;
    None is unbounded. mask: bool, True = may change, broadcasts to x. partition: for subset
    attacks, "pixels" or integers of the sample's shape, -1 = frozen. task: "classification" or
    "regression" where the default guess is wrong. decision: a single logit above it is class 1.
    threshold: regression succeeds once its loss is there. goal: what a callable loss wants,
    "minimise" or "maximise"; None reads its attribute `goal`, else "minimise". metrics: name ->
    metric(f, y) -> (n,), taken at x_adv and kept in the result, f and y (n, K); a regression has
    mse, psnr_in and psnr_out by itself, for which `peak` is the largest value of a signal.
    levels: x_adv is on as many values, evenly spaced from lo to hi of the bounds, as x must be:
    256 is a picture of 8 bits, and what is verified is what can be stored.
    evaluate_on: another model of the same samples and classes, which the attack does not see; the
    result's `transfer` says what it makes of the examples. rng: a
    seed or Generator; the random numbers of a sample depend on the seed and its place alone, which
    is first_index + i, or first_index[i] where it is (n,) integers; a call without the place 0
    continues a data set and does not check the model again. batch_size: samples in flight,
    halved, with a warning, where a device has no room for them.
    deterministic: the model runs in padded chunks of one size on one thread: the same seed gives
    the same bits. callback: told of every step (`Progress`). Further options are
    the attack's own: `pertcore.attacks.pgd.options` lists them with their defaults.

    Raises InputError for a wrong call before any model run, CapabilityError where the oracle
    lacks a derivative.
    """
    row = attack if isinstance(attack, Attack) else find(attack)
    chosen = row.checked(options)
    size = batch_size if batch_size is None else whole("batch_size", batch_size, 1)
    seed = _seed(rng)
    given = prepare(
        row, oracle, x, y, eps=eps, norm=norm, bounds=bounds, targeted=targeted, mask=mask,
        partition=partition, task=task, decision=decision, threshold=threshold, goal=goal,
        loss=chosen.get("loss") if "loss" in options else None, metrics=metrics, peak=peak,
        levels=levels, options=chosen,
        numpy_only=["evaluate_on"] * (evaluate_on is not None) + ["deterministic"] * deterministic,
    )  # fmt: skip
    if "loss" in chosen:
        chosen["loss"] = given.goal.loss
    model = chunked(oracle, DETERMINISTIC_CHUNK) if deterministic else oracle
    places = _places(first_index, len(given.x))
    run = _Run(row, chosen, model, given, seed, places, callback)
    if evaluate_on is not None:
        check_target(evaluate_on, oracle)
    started, before = time.perf_counter(), model.calls.copy()
    step = size or len(given.x)
    verified = joined(run.batches(step))
    settings = {
        "attack": row.name, "norm": given.ball.norm, "eps": eps, "bounds": bounds,
        "task": given.goal.task, "targeted": targeted, "decision": given.goal.decision,
        "threshold": threshold, "goal": goal, "peak": given.peak, "levels": levels,
        "masked": mask is not None,
        "partition": partition if partition is None or isinstance(partition, str) else "given",
        "seed": seed, "first_index": int(places[0]), "batch_size": batch_size,
        "deterministic": deterministic, "transferred": evaluate_on is not None, **chosen,
    }  # fmt: skip
    seconds = time.perf_counter() - started
    result = _result(verified, given, run, model.calls - before, seconds, settings)
    if evaluate_on is None:
        return result
    seen = transferred(evaluate_on, given.x, verified.x_adv, given.y, given.goal, step)
    return replace(result, transfer=seen)


def _seed(rng: Any) -> int:
    if isinstance(rng, np.random.Generator):
        return int(rng.integers(2**63))
    return whole("rng", rng, 0)


def _places(first_index: Any, n: int) -> Array:
    """(n,) int64, the place of each sample in its data set."""
    if not isinstance(first_index, np.ndarray):
        return whole("first_index", first_index, 0) + np.arange(n)
    if first_index.shape != (n,) or first_index.dtype.kind not in "iu" or first_index.min() < 0:
        raise InputError(
            f"first_index has dtype {first_index.dtype} and shape {first_index.shape}: expected a "
            f"whole number >= 0, or ({n},) of them"
        )
    return first_index.astype(np.int64)


@dataclass
class _Run:
    """What the batches of one call share."""

    row: Attack
    options: dict[str, Any]
    oracle: Oracle
    given: Given
    seed: int
    places: Array
    callback: Callable[[Progress], None] | None
    notes: list[str] = field(default_factory=list)
    certificates: list[Certificate] = field(default_factory=list)
    stages: list[Stage] = field(default_factory=list)

    def batches(self, size: int) -> list[Verified]:
        """All samples, `size` at a time, or half of it as often as a device has no room."""
        found: list[Verified] = []
        begin, total = 0, len(self.given.x)
        while begin < total:
            told = self.notes, self.certificates, self.stages
            known = [len(entries) for entries in told]
            taken = min(size, total - begin)
            try:
                with device_memory():
                    found.append(self.batch(begin, begin + taken))
                begin += taken
            except DeviceMemoryError:
                if taken == 1:
                    raise
                for entries, count in zip(told, known, strict=True):
                    del entries[count:]  # type: ignore[attr-defined]
                size = taken // 2
                self.notes.append(
                    f"the device has no room for {taken} samples at a time: {size} were taken; "
                    f"batch_size={size} says so from the start"
                )
        return found

    def batch(self, begin: int, end: int) -> Verified:
        """Attack and verify samples begin to end; the first batch also checks the model."""
        given, oracle, goal = self.given, self.oracle, self.given.goal
        x = given.x[begin:end]
        lin = oracle.linearize(x) if self.row.at_x else None
        value = oracle(x) if lin is None else lin.value
        if begin == 0 and self.places.min() == 0:
            self.notes += check_model(oracle, x, value, goal)
        y = given.y if given.y is None else given.y[begin:end]
        clean = clean_answer(value, y, goal)
        problem = self._problem(x, clean.y, begin)
        made = library(problem.x)
        points, status = problem.x.copy(), made.zeros(len(x), dtype=np.int8)
        left_out = clean.error | clean.broken
        # Who is wrong already leaves at the first judgement; without one he must not begin.
        right = made.arange(len(x)) if lin is not None else np.flatnonzero(~left_out)
        if len(right):
            seen = (problem.take(right),) if lin is None else (problem, lin)
            found = self.row.recipe(*seen, **self.options)
            points[right], status[right] = found[:2]
            if given.levels is not None:
                points[right] = on_levels(
                    problem.take(right), points[right], status[right], given.levels,
                    blind=self.row.blind,
                )  # fmt: skip
            for extra in found[2:]:
                self.certificates.extend([extra] if isinstance(extra, Certificate) else [])
                self.stages.extend(extra if isinstance(extra, tuple) else ())
        points[left_out] = problem.x[left_out]
        verified = verify(oracle, points, status, clean, goal, given.metrics)
        drawn = any(note.startswith(RANDOM) for note in self.notes)
        if begin == 0 and self.places.min() == 0 and not (self.row.blind or drawn):
            self.notes += check_standing(oracle, x, verified.status)
        return verified

    def _problem(self, x: Array, y: Array, begin: int) -> Problem:
        given, rows = self.given, slice(begin, begin + len(x))
        keys = sampling.sample_keys(self.seed, self.places[rows])
        return Problem(
            oracle=self.oracle, x=x.reshape(len(x), -1), y=y, ball=given.ball.take(rows),
            box=given.box, goal=given.goal, index=library(x).arange(len(x)),
            keys=beside(x, keys),
            report=lambda step, steps, active: self._report(begin, len(x), step, steps, active),
            free=mask_rows(given.free, rows), partition=given.partition,
        )  # fmt: skip

    def _report(self, begin: int, size: int, step: int, steps: int, active: int) -> None:
        if self.callback is not None:
            done = begin + size - active
            self.callback(Progress(done, len(self.given.x), step, steps, active))


def _result(
    verified: Verified, given: Given, run: _Run, calls: Calls, seconds: float, settings: Any
) -> AttackResult:
    delta, norms = differences(given.x, verified.x_adv, given.ball.norm)
    figures = dict(verified.metrics)
    if "mse" in figures:
        figures["psnr_in"] = psnr(to_host(np.mean(delta * delta, axis=1)), peak=given.peak)
        figures["psnr_out"] = psnr(figures["mse"], peak=given.peak)
    stages = Stage.joined(run.stages)
    notes = [
        *given.warnings, *run.notes, *check_statuses(verified.status), *check_stages(stages),
        *_budget_doubts(norms, verified, given, run.row),
    ]  # fmt: skip
    for note in dict.fromkeys(notes):
        python_warnings.warn(note, PertcoreWarning, stacklevel=3)
    return AttackResult(
        x_adv=given.restore(verified.x_adv.reshape(given.x.shape)),
        delta=given.restore(delta.reshape(given.x.shape)), success=verified.success,
        status=verified.status, norms=norms, margin=verified.margin, before=verified.before,
        after=verified.after, loss_before=verified.loss_before, loss_after=verified.loss_after,
        metrics=figures, calls=calls, seconds=seconds, exact="exact" in run.oracle.capabilities,
        task=given.goal.task, certificate=Certificate.joined(run.certificates),
        stages=stages,
        warnings=tuple(dict.fromkeys(notes)), settings=settings,
    )  # fmt: skip


def _budget_doubts(norms: Array, verified: Verified, given: Given, row: Attack) -> list[str]:
    """Nothing for attacks whose steps are not meant to fill a ball."""
    if given.goal.task != "classification" or row.minimum_norm or row.subset or row.blind:
        return []
    flat = given.x.reshape(len(given.x), -1)
    return check_budget(norms, verified.status, flat, given.ball, given.box, given.free)
