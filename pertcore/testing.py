"""Checks for whoever writes an oracle or an attack: they raise AssertionError with the numbers.

The adjoint test compares J^T v with J u and is blind where both are wrong alike; the difference
quotient compares with the model itself. An oracle needs both.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from pertcore.constraints import parse_eps, parse_norm
from pertcore.oracle import Array, Oracle
from pertcore.quotient import Slopes, judge

CAPABILITIES = {"vjp", "jvp", "take", "exact", "device"}


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise AssertionError(message)


def _close(got: Array, wanted: Array, rtol: float, what: str) -> None:
    """max |got - wanted| <= rtol * max |wanted| per call, NaN equal to NaN."""
    _require(got.shape == wanted.shape, f"{what}: shape {got.shape}, expected {wanted.shape}")
    if got.size == 0:
        return
    scale = float(np.nanmax(np.abs(wanted), initial=0.0))
    apart = np.abs(got.astype(np.float64) - wanted)
    apart[np.isnan(got) & np.isnan(wanted)] = 0
    worst = np.unravel_index(int(np.argmax(apart)), apart.shape)
    _require(
        bool(apart[worst] <= rtol * scale),
        f"{what}: {got[worst]!r} at {tuple(map(int, worst))}, expected {wanted[worst]!r} "
        f"(apart by {apart[worst]:.3g}, allowed {rtol:.3g} of {scale:.3g})",
    )


def _tolerance(rtol: float | None, oracle: Oracle, single: float, double: float) -> float:
    if rtol is not None:
        return rtol
    return single if np.dtype(oracle.dtype) == np.float32 else double


def _normal(rng: np.random.Generator, oracle: Oracle, lead: tuple[int, ...], of: str) -> Array:
    shape = oracle.input_shape if of == "input" else oracle.output_shape
    return rng.standard_normal((*lead, *shape)).astype(oracle.dtype)


def _rows(array: Array) -> Array:
    return array.reshape(len(array), -1).astype(np.float64)


def assert_adjoint(
    oracle: Oracle, x: Array, *, rtol: float | None = None, rng: np.random.Generator | int = 0
) -> None:
    """<v, J u> = <J^T v, u> for random u, v, per sample of x (n, *in), summed in float64.

    Allowed: rtol * max(|v| |J u|, |J^T v| |u|); rtol defaults to 1e-4 (float32), 1e-9 (float64).
    Raises AssertionError. Blind to a jvp and a vjp that are wrong in the same way: see
    `assert_jvp`.
    """
    limit, random = _tolerance(rtol, oracle, 1e-4, 1e-9), np.random.default_rng(rng)
    u = _normal(random, oracle, (len(x),), "input")
    v = _normal(random, oracle, (len(x),), "output")
    lin = oracle.linearize(x)
    ju, jtv, u, v = (_rows(a) for a in (lin.jvp(u), lin.vjp(v), u, v))
    left, right = np.sum(v * ju, axis=1), np.sum(jtv * u, axis=1)
    size = [np.linalg.norm(a, axis=1) for a in (v, ju, jtv, u)]
    allowed = limit * np.maximum(size[0] * size[1], size[2] * size[3])
    bad = np.flatnonzero(~(np.abs(left - right) <= allowed))
    if len(bad):
        i = bad[0]
        raise AssertionError(
            f"adjoint test: sample {i}: <v, J u> = {left[i]:.9g} but <J^T v, u> = {right[i]:.9g} "
            f"(allowed {allowed[i]:.3g}); {len(bad)} of {len(x)} samples disagree"
        )


def assert_jvp(
    oracle: Oracle,
    x: Array,
    *,
    rtol: float | None = None,
    rng: np.random.Generator | int = 0,
    reference: Callable[[Array], Array] | None = None,
) -> None:
    """J u equals the difference quotient of the model along a random u, per sample of x.

    The central quotient is tried with steps of 1e-1 to 1e-6 times the size of x and the best one
    counts; allowed is rtol * |quotient|, rtol 2e-2 (float32), 1e-4 (float64). `reference` is the
    same model in float64, if there is one: then the quotient is sharper and rtol is 1e-3.
    Steps whose rounding noise exceeds the tolerance do not judge. At a kink the left and the
    right slope differ however small the step is: there J u may lie anywhere between the two,
    entry by entry. A step may cross kinks nearby, so a sample that disagrees is tried along two
    more directions; it fails when it disagrees along two of the three. Raises AssertionError.
    """
    random = np.random.default_rng(rng)
    run, limit = _difference_setting(oracle, rtol, reference)

    def trial(rows: Array) -> tuple[Slopes, Array]:
        u = _normal(random, oracle, (len(rows),), "input")
        return Slopes(run, x[rows], u, None), _rows(oracle.linearize(x[rows]).jvp(u))

    judge(trial, len(x), limit, "jvp")


def assert_vjp(
    oracle: Oracle,
    x: Array,
    *,
    rtol: float | None = None,
    rng: np.random.Generator | int = 0,
    reference: Callable[[Array], Array] | None = None,
) -> None:
    """<J^T v, u> equals the difference quotient of <v, f> along u: for oracles without a jvp.

    u is a random direction plus the gradient's own, v random; otherwise like `assert_jvp`.
    """
    random = np.random.default_rng(rng)
    run, limit = _difference_setting(oracle, rtol, reference)

    def trial(rows: Array) -> tuple[Slopes, Array]:
        v = _normal(random, oracle, (len(rows),), "output")
        gradient = oracle.linearize(x[rows]).vjp(v)
        size = np.linalg.norm(_rows(gradient), axis=1).reshape(-1, *[1] * (x.ndim - 1))
        along = gradient / np.where(size > 0, size, 1) * math.sqrt(x[0].size)
        u = (_normal(random, oracle, (len(rows),), "input") + along).astype(oracle.dtype)
        given = np.sum(_rows(gradient) * _rows(u), axis=1, keepdims=True)
        return Slopes(run, x[rows], u, v), given

    judge(trial, len(x), limit, "vjp")


def _difference_setting(
    oracle: Oracle, rtol: float | None, reference: Callable[[Array], Array] | None
) -> tuple[Callable[[Array], Array], float]:
    if reference is not None:
        return lambda z: np.asarray(reference(z.astype(np.float64))), 1e-3 if rtol is None else rtol
    return lambda z: oracle(z.astype(oracle.dtype)), _tolerance(rtol, oracle, 2e-2, 1e-4)


def assert_in_ball(
    x: Array,
    x_adv: Array,
    *,
    norm: float | str,
    eps: Any,
    bounds: Sequence[Any] | None = None,
) -> None:
    """norm_p(x_adv - x) <= eps and lo <= x_adv <= hi, without any slack, judged in float64.

    norm = 0 counts the entries that differ. Both arrays (n, *sample) in the dtype they are stored
    in; eps scalar, text or (n,); bounds
    (lo, hi) as the user gave them. A NaN is outside. Raises AssertionError with the sample, the
    excess and, for boxes, the coordinate.
    """
    _require(x.dtype == x_adv.dtype, f"x_adv is {x_adv.dtype}, x is {x.dtype}: one dtype expected")
    _require(x.shape == x_adv.shape, f"x_adv has shape {x_adv.shape}, x {x.shape}")
    order, budget = parse_norm(norm, zero=True), parse_eps(eps, len(x))
    delta = np.abs(_rows(x_adv) - _rows(x))
    sizes = _norms(delta, order)
    bad = np.flatnonzero(~(sizes <= budget))
    if len(bad):
        i = bad[0]
        raise AssertionError(
            f"sample {i} is outside the ball: l{order:g} norm {sizes[i]!r}, eps {budget[i]!r}, "
            f"excess {sizes[i] - budget[i]:.3g}; {len(bad)} of {len(x)} samples are outside"
        )
    if bounds is not None:
        _assert_in_box(x_adv.astype(np.float64), *(np.asarray(b, np.float64) for b in bounds))


def _norms(size: Array, order: float) -> Array:
    if order == 0:
        return np.where(np.isnan(size).any(axis=1), math.nan, np.count_nonzero(size, axis=1))
    if size.shape[1] == 0 or math.isinf(order):
        return size.max(axis=1, initial=0.0)
    largest = size.max(axis=1, keepdims=True)
    unit = np.where(largest > 0, largest, 1.0)
    # 1 and 2 are summed as they stand: the scaling that saves other orders costs them an ulp.
    if order in (1.0, 2.0):
        return np.linalg.norm(size, ord=order, axis=1)
    return unit[:, 0] * np.sum((size / unit) ** order, axis=1) ** (1 / order)


def _assert_in_box(point: Array, lo: Array, hi: Array) -> None:
    outside = ~((point >= lo) & (point <= hi))
    if np.any(outside):
        where = tuple(int(axis[0]) for axis in np.nonzero(outside))
        low, high = (float(np.broadcast_to(b, point.shape)[where]) for b in (lo, hi))
        raise AssertionError(
            f"entry {where} is outside the box: {float(point[where])!r} not in "
            f"[{low!r}, {high!r}]; {np.count_nonzero(outside)} entries are outside"
        )


def assert_oracle(
    oracle: Oracle,
    x: Array,
    *,
    rtol: float | None = None,
    jvp_rtol: float | None = None,
    reference: Callable[[Array], Array] | None = None,
    runs_per_sample: int = 1,
    rng: np.random.Generator | int = 0,
) -> None:
    """Everything the protocol promises, at the points x (n >= 2, *in), for any oracle.

    Attributes, shapes, c cotangents at once against one by one, `take`, counting, samples that
    do not feel their neighbours, points that survive later ones, inputs left untouched, the
    adjoint test and the difference quotient. `rtol` is for numbers that should agree up to
    rounding (1e-4 for float32, 1e-9 for float64), `jvp_rtol` and `reference` are those of
    `assert_jvp`, `runs_per_sample` is how many models answer one call (the members of an
    ensemble). Raises AssertionError.
    """
    limit, random = _tolerance(rtol, oracle, 1e-4, 1e-9), np.random.default_rng(rng)
    _require(len(x) >= 2, "assert_oracle needs at least two samples")
    x = np.array(x, dtype=oracle.dtype)
    x.flags.writeable = False
    _check_attributes(oracle, x)
    _check_batches(oracle, x, limit)
    for product in ("vjp", "jvp"):
        if product in oracle.capabilities:
            _check_many(oracle, x, product, limit, random)
            _check_counting(oracle, x, product, runs_per_sample, random)
    if "take" in oracle.capabilities:
        _check_take(oracle, x, limit, random)
    if {"vjp", "jvp"} <= oracle.capabilities:
        assert_adjoint(oracle, x, rtol=rtol, rng=random)
    if "jvp" in oracle.capabilities:
        assert_jvp(oracle, x, rtol=jvp_rtol, rng=random, reference=reference)
    else:
        assert_vjp(oracle, x, rtol=jvp_rtol, rng=random, reference=reference)


def _check_attributes(oracle: Oracle, x: Array) -> None:
    _require(isinstance(oracle, Oracle), "the oracle lacks a member of pertcore.oracle.Oracle")
    _require(np.dtype(oracle.dtype) in (np.float32, np.float64), f"dtype {oracle.dtype}")
    found = set(oracle.capabilities)
    _require(found <= CAPABILITIES, f"capabilities {found}: allowed are {CAPABILITIES}")
    _require("vjp" in found, "capabilities: every oracle needs a vjp")
    shape = (len(x), *oracle.input_shape)
    _require(x.shape == shape, f"x has shape {x.shape}, the oracle takes {shape}")
    value, wanted = oracle(x), (len(x), *oracle.output_shape)
    _require(value.shape == wanted, f"oracle(x) has shape {value.shape}, promised {wanted}")
    _require(value.dtype == oracle.dtype, f"oracle(x) is {value.dtype}, promised {oracle.dtype}")


def _check_batches(oracle: Oracle, x: Array, rtol: float) -> None:
    value = oracle(x)
    _close(oracle.linearize(x).value, value, rtol, "linearize(x).value against oracle(x)")
    _close(oracle(x[::-1])[::-1], value, rtol, "samples in reverse order")
    alone = np.concatenate([oracle(x[i : i + 1]) for i in range(len(x))])
    _close(alone, value, rtol, "a sample alone against the same one in a batch")


def _vectors(oracle: Oracle, product: str, lead: tuple[int, ...], rng: Any) -> Array:
    return _normal(rng, oracle, lead, "output" if product == "vjp" else "input")


def _check_many(oracle: Oracle, x: Array, product: str, rtol: float, rng: Any) -> None:
    lin, n = oracle.linearize(x), len(x)
    target = oracle.input_shape if product == "vjp" else oracle.output_shape
    many = _vectors(oracle, product, (3, n), rng)
    kept = many.copy()
    singles = [getattr(lin, product)(v) for v in many]
    _require(np.array_equal(many, kept), f"{product} wrote into its argument")
    oracle.linearize(x[::-1])
    for single in singles:
        _require(
            single.shape == (n, *target) and single.dtype == oracle.dtype,
            f"{product}: {single.dtype} {single.shape}, expected {oracle.dtype} {(n, *target)}",
        )
    for c in (1, 3):
        got = getattr(lin, product)(many[:c])
        _close(got, np.stack(singles[:c]), rtol, f"{product} of {c} at once, after another point")


def _check_counting(oracle: Oracle, x: Array, product: str, runs: int, rng: Any) -> None:
    n, exact = len(x), "exact" in oracle.capabilities
    before = oracle.calls.copy()
    oracle(x)
    lin = oracle.linearize(x)
    made = oracle.calls - before
    _require(made.f == 2 * n * runs, f"calls.f rose by {made.f} for 2 runs of {n} samples")
    _require(made.vjp == made.jvp == 0, "calls: a forward run counted products")
    for lead in ((n,), (2, n)):
        before = oracle.calls.copy()
        getattr(lin, product)(_vectors(oracle, product, lead, rng))
        made = oracle.calls - before
        wanted, counted = math.prod(lead) * runs, getattr(made, product)
        _require(
            counted == wanted,
            f"calls.{product} rose by {counted} for (co)tangents {lead}, expected {wanted}",
        )
        _require(made.f == 0 or not exact, f"{product} ran the model {made.f} times, uncached")


def _check_take(oracle: Oracle, x: Array, rtol: float, rng: Any) -> None:
    lin, before = oracle.linearize(x), oracle.calls.copy()
    index = np.array([len(x) - 1, 0])
    part = lin.take(index)
    again = part.take(np.array([1]))
    made = oracle.calls - before
    _require(made.f == made.vjp == made.jvp == 0, "take ran the model")
    _close(part.value, lin.value[index], rtol, "take: value")
    _close(again.value, lin.value[:1], rtol, "take of a take: value")
    for product in sorted({"vjp", "jvp"} & oracle.capabilities):
        v = _vectors(oracle, product, (len(x),), rng)
        whole = getattr(lin, product)(v)
        _close(getattr(part, product)(v[index]), whole[index], rtol, f"take: {product}")
        _close(getattr(again, product)(v[:1]), whole[:1], rtol, f"take of a take: {product}")
