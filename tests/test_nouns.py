"""The nouns at the border: constraints, arrays, counters and results."""

import math
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pertcore.arrays import as_numpy
from pertcore.constraints import (
    Ball,
    Box,
    dual_order,
    parse_bounds,
    parse_eps,
    parse_norm,
    parse_number,
    parse_partition,
)
from pertcore.errors import (
    BackendError,
    CapabilityError,
    InputError,
    ModelError,
    PertcoreError,
    PertcoreWarning,
)
from pertcore.oracle import Calls
from pertcore.result import ADVICE, AttackResult, Status


@pytest.mark.parametrize(
    ("norm", "order"),
    [
        *[("inf", math.inf), ("Linf", math.inf), (" l2 ", 2.0), ("l1", 1.0), ("1.5", 1.5)],
        *[("l3", 3.0), (2, 2.0), (math.inf, math.inf), (1, 1.0), (np.float32(2), 2.0)],
    ],
)
def test_norms(norm, order):
    assert parse_norm(norm) == order


@pytest.mark.parametrize("norm", ["two", "l", 0.5, "0.9", math.nan, -1, "", "nan"])
def test_what_is_no_norm_is_refused_and_shown(norm):
    with pytest.raises(InputError, match="p >= 1") as caught:
        parse_norm(norm)
    assert repr(norm) in str(caught.value)


@given(st.floats(1.001, 1e6))
def test_dual_orders_are_dual(p):
    q = dual_order(p)
    assert math.isclose(1 / p + 1 / q, 1, rel_tol=1e-9)
    assert math.isclose(dual_order(q), p, rel_tol=1e-6)


def test_dual_orders_at_the_ends():
    assert dual_order(1) == math.inf
    assert dual_order(math.inf) == 1


@pytest.mark.parametrize(
    ("text", "number"),
    [("8/255", 8 / 255), (" 8 / 255 ", 8 / 255), ("0.1", 0.1), ("1e-3", 1e-3), (2, 2.0)],
)
def test_numbers(text, number):
    assert parse_number(text, "eps") == number


@pytest.mark.parametrize("text", ["a", "1/0", "8//255", "", None])
def test_what_is_no_number_is_refused(text):
    with pytest.raises(InputError, match="eps="):
        parse_number(text, "eps")


@pytest.mark.parametrize("eps", [0.25, "1/4", [0.25, 0.25, 0.25], np.float32(0.25)])
def test_eps_is_one_float64_a_sample(eps):
    parsed = parse_eps(eps, 3)
    assert parsed.dtype == np.float64
    np.testing.assert_array_equal(parsed, [0.25] * 3)
    parsed[0] = 1


@pytest.mark.parametrize("eps", [-1e-9, [0.1, -2, 0.1], math.nan, math.inf, "x", [1, 2], [[1]] * 3])
def test_what_is_no_budget_is_refused(eps):
    with pytest.raises(InputError, match="eps"):
        parse_eps(eps, 3)


def test_a_ball_of_fewer_samples():
    ball = Ball(2.0, np.array([1.0, 2, 3])).take(np.array([2, 0]))
    assert ball.norm == 2
    np.testing.assert_array_equal(ball.eps, [3, 1])


def test_no_bounds_is_unbounded():
    box = parse_bounds(None, (3,), np.float32)
    assert not box.bounded
    assert (box.lo, box.hi) == (-math.inf, math.inf)
    assert Box(0.0, math.inf).bounded


def test_scalar_bounds_stay_numbers_and_arrays_become_flat():
    assert parse_bounds((0, 1), (2, 2), np.float32) == Box(0.0, 1.0)
    box = parse_bounds((0, np.ones((2, 1))), (2, 2), np.float32)
    assert box.lo.shape == box.hi.shape == (4,)
    assert box.hi.dtype == np.float32


@given(st.floats(-1e6, 1e6), st.floats(0, 1e6), st.sampled_from([np.float32, np.float64]))
def test_bounds_round_inward_by_less_than_one_float(lo, width, dtype):
    hi = lo + width + 1
    box = parse_bounds((lo, hi), (1,), dtype)
    assert lo <= box.lo <= box.hi <= hi
    assert dtype(box.lo) == box.lo
    assert float(np.nextafter(dtype(box.lo), dtype(-np.inf))) < lo
    assert float(np.nextafter(dtype(box.hi), dtype(np.inf))) > hi


@pytest.mark.parametrize("bounds", [(1, 0), (0,), 3, ("a", "b"), (0, [1, 2]), (math.nan, 1)])
def test_what_is_no_box_is_refused(bounds):
    with pytest.raises(InputError, match="bounds="):
        parse_bounds(bounds, (3,), np.float32)


def test_pixels_join_the_channels():
    planes = parse_partition("pixels", (3, 2, 2))
    assert planes.count == 4
    np.testing.assert_array_equal(planes.labels.reshape(3, 2, 2), [[[0, 1], [2, 3]]] * 3)
    last = parse_partition("pixels", (2, 2, 3))
    np.testing.assert_array_equal(last.labels, np.repeat(np.arange(4), 3))
    assert parse_partition("pixels", (5,)).count == 5


def test_a_partition_with_frozen_entries():
    partition = parse_partition(np.array([[0, -1], [2, 0]]), (2, 2))
    assert partition.count == 2
    np.testing.assert_array_equal(partition.labels, [0, -1, 1, 0])


@pytest.mark.parametrize(
    "partition", ["rows", [[0.0, 1], [1, 0]], [0, 1], [[-1, -1], [-1, -1]], [[-2, 0], [0, 0]]]
)
def test_what_is_no_partition_is_refused(partition):
    with pytest.raises(InputError, match="partition"):
        parse_partition(partition, (2, 2))


def test_arrays_come_in_as_numpy_and_go_out_as_they_came():
    values = np.arange(3.0)
    array, restore = as_numpy(values, "x")
    assert array is values
    assert restore(values) is values
    array, restore = as_numpy([[1, 2], [3, 4]], "x")
    assert array.shape == (2, 2)


def test_torch_tensors_come_in_without_a_copy_and_go_out_as_tensors():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    tensor = torch.arange(3.0, requires_grad=True)
    array, restore = as_numpy(tensor, "x")
    assert array.ctypes.data == tensor.data_ptr()
    back = restore(array * 2)
    assert isinstance(back, torch.Tensor)
    assert back.device == tensor.device
    np.testing.assert_array_equal(back.numpy(), [0, 2, 4])


@pytest.mark.parametrize("values", [["a"], [[1], [1, 2]], np.array([None]), np.array([1j])])
def test_what_is_no_array_is_refused(values):
    with pytest.raises(InputError, match="x"):
        as_numpy(values, "x")


def test_errors_are_pertcores_and_pythons_own():
    kinds = {InputError: ValueError, CapabilityError: NotImplementedError}
    kinds |= {BackendError: RuntimeError, ModelError: ValueError}
    for ours, builtin in kinds.items():
        assert issubclass(ours, PertcoreError)
        assert issubclass(ours, builtin)
    assert issubclass(PertcoreWarning, UserWarning)


def test_calls_subtract_and_copy():
    calls = Calls(5, 3, 1)
    before = calls.copy()
    calls.f += 2
    assert calls - before == Calls(2, 0, 0)


def result(**changes):
    n = 4
    fields = {
        "x_adv": np.zeros((n, 2)),
        "delta": np.zeros((n, 2)),
        "success": np.array([True, False, False, True]),
        "status": np.array([Status.OK, Status.MAX_STEPS, Status.CLEAN_ERROR, Status.OK]),
        "norms": np.array([0.1, 0.2, 0.0, 0.3]),
        "margin": np.array([-1.0, 1, -2, -1]),
        "before": np.arange(n),
        "after": np.arange(n)[::-1],
        "loss_before": np.ones(n),
        "loss_after": np.zeros(n),
        "calls": Calls(f=40, vjp=36),
        "seconds": 0.5,
        "exact": True,
        "task": "classification",
        "settings": {"attack": "alg1", "norm": math.inf},
    }
    return AttackResult(**fields | changes)


def test_clean_errors_are_outside_the_fooling_ratio_and_not_robust():
    shown = result()
    assert shown.fooling_ratio == 2 / 3
    assert shown.robust_accuracy == 1 / 4
    np.testing.assert_array_equal(shown.attackable, [True, True, False, True])


def test_summary_and_table():
    summary = result().summary()
    assert summary["samples"] == 4
    assert summary["clean errors"] == 1
    assert summary["fooled"] == 2
    assert summary["median norm of the fooled"] == pytest.approx(0.2)
    assert summary["forward per sample"] == 10
    assert summary["backward per sample"] == 9
    text = str(result(exact=False, warnings=("the outputs sum to one",)))
    for part in ("alg1", "approximated", "warning: the outputs sum to one", "status MAX_STEPS"):
        assert part in text


def test_a_result_without_samples_or_success_has_no_figures_but_no_warning_either():
    nobody = {
            "success": np.zeros(0, bool), "status": np.zeros(0, int), "norms": np.zeros(0),
            "loss_before": np.zeros(0), "loss_after": np.zeros(0),
        }  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        empty = result(**nobody)
        assert math.isnan(empty.fooling_ratio)
        assert math.isnan(empty.robust_accuracy)
        assert "nan" in str(empty)


def test_every_status_has_advice():
    assert set(ADVICE) == set(Status)
