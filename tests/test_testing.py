"""The shipped checks see what they are for: each with a planted fault."""

from dataclasses import replace

import numpy as np
import pytest

from pertcore.adapters.matrix import MatrixOracle, MatrixPoint, from_matrix
from pertcore.adapters.network import NetworkOracle, NetworkPoint, from_network
from pertcore.errors import InputError
from pertcore.testing import assert_adjoint, assert_in_ball, assert_jvp, assert_oracle, assert_vjp

RNG = np.random.default_rng(2)
WEIGHTS = [RNG.standard_normal((8, 6)), RNG.standard_normal((4, 8))]
BIASES = [RNG.standard_normal(8), RNG.standard_normal(4)]
X = RNG.standard_normal((5, 6))


class Faulty(NetworkOracle):
    """A right network whose points are passed through `plant`."""

    def __init__(self, plant, dtype=np.float64, **changes):
        right = from_network(WEIGHTS, BIASES, activation="tanh", dtype=dtype)
        super().__init__(right.weights, right.biases, right.activation, right.input_shape)
        self.plant = plant
        for name, value in changes.items():
            setattr(self, name, value)

    def linearize(self, x):
        lin = super().linearize(x)
        return self.plant(lin.oracle, lin.value, lin.slopes)


class WrongVjp(NetworkPoint):
    def vjp(self, cotangent):
        wrong = super().vjp(cotangent).copy()
        wrong[..., 2] *= 1.01
        return wrong


class WrongJvp(NetworkPoint):
    def jvp(self, tangent):
        wrong = super().jvp(tangent).copy()
        wrong[..., 2] *= 1.02
        return wrong


class BothWrong(NetworkPoint):
    """The derivative of another network: one hidden unit counts half more, on both sides."""

    @property
    def other(self):
        factor = np.r_[1.5, np.ones(7)].astype(self.value.dtype)
        return NetworkPoint(self.oracle, self.value, tuple(s * factor for s in self.slopes))

    def vjp(self, cotangent):
        return self.other.vjp(cotangent)

    def jvp(self, tangent):
        return self.other.jvp(tangent)


class WrongTake(NetworkPoint):
    def take(self, index):
        return replace(super().take(index), slopes=tuple(s[: len(index)] for s in self.slopes))


class WrongMany(NetworkPoint):
    def vjp(self, cotangent):
        right = super().vjp(cotangent)
        return np.repeat(right[:1], len(right), axis=0) if right.ndim == 3 else right


class CountsBatches(NetworkPoint):
    def vjp(self, cotangent):
        before = self.oracle.calls.vjp
        right = super().vjp(cotangent)
        self.oracle.calls.vjp = before + 1
        return right


class CountsOneCotangent(NetworkPoint):
    def jvp(self, tangent):
        before = self.oracle.calls.jvp
        right = super().jvp(tangent)
        self.oracle.calls.jvp = before + len(self.value)
        return right


class Overwritten(NetworkPoint):
    """Its residuals live in the oracle, where the next point replaces them."""

    def __init__(self, oracle, value, slopes):
        super().__init__(oracle, value, slopes)
        oracle.residuals = slopes

    def vjp(self, cotangent):
        return NetworkPoint(self.oracle, self.value, self.oracle.residuals).vjp(cotangent)


class WritesIntoArgument(NetworkPoint):
    def vjp(self, cotangent):
        right = super().vjp(cotangent)
        cotangent *= 0
        return right


class WrongDtype(NetworkPoint):
    def vjp(self, cotangent):
        return super().vjp(cotangent).astype(np.float16)


class RunsAgain(NetworkPoint):
    def vjp(self, cotangent):
        self.oracle.calls.f += len(self.value)
        return super().vjp(cotangent)


FAULTS = {
    WrongVjp: "adjoint test",
    WrongJvp: "adjoint test",
    BothWrong: "difference quotient says",
    WrongTake: "take: jvp",
    WrongMany: "vjp of 3 at once",
    CountsBatches: "calls.vjp rose by 1",
    CountsOneCotangent: r"calls.jvp rose by 5 for \(co\)tangents \(2, 5\), expected 10",
    Overwritten: "after another point",
    WritesIntoArgument: "wrote into its argument",
    WrongDtype: "vjp: float16",
    RunsAgain: "ran the model",
}


def test_the_right_network_passes():
    assert_oracle(Faulty(NetworkPoint), X)
    assert_oracle(Faulty(NetworkPoint, np.float32), X)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("plant", list(FAULTS))
def test_assert_oracle_sees_every_planted_point(plant, dtype):
    with pytest.raises(AssertionError, match=FAULTS[plant]):
        assert_oracle(Faulty(plant, dtype), X)


@pytest.mark.parametrize("plant", [WrongVjp, WrongJvp])
def test_assert_adjoint_sees_one_side_wrong(plant):
    assert_adjoint(Faulty(NetworkPoint), X)
    with pytest.raises(AssertionError, match=r"<v, J u> = \S+ but <J\^T v, u> = \S+ "):
        assert_adjoint(Faulty(plant), X)


def test_only_the_difference_quotient_sees_both_sides_wrong():
    for dtype in (np.float32, np.float64):
        wrong = Faulty(BothWrong, dtype)
        assert_adjoint(wrong, X)
        with pytest.raises(AssertionError, match="difference quotient"):
            assert_jvp(wrong, X)
        with pytest.raises(AssertionError, match="difference quotient"):
            assert_vjp(wrong, X)
        assert_jvp(Faulty(NetworkPoint, dtype), X)
        assert_vjp(Faulty(NetworkPoint, dtype), X)


def test_a_float64_reference_sharpens_a_float32_check():
    class Slightly(NetworkPoint):
        def jvp(self, tangent):
            return super().jvp(tangent) * np.float32(1.005)

    reference = from_network(WEIGHTS, BIASES, activation="tanh", dtype=np.float64)
    wrong = Faulty(Slightly, np.float32)
    assert_jvp(wrong, X)
    with pytest.raises(AssertionError, match="difference quotient"):
        assert_jvp(wrong, X, reference=reference)
    assert_jvp(Faulty(NetworkPoint, np.float32), X, reference=reference)


def test_a_wrong_jvp_of_one_output_is_never_excused_by_rounding():
    """At tiny steps a float32 quotient is noise: none of them may let a 10 % error pass."""

    class TenPercent(MatrixPoint):
        def jvp(self, tangent):
            return super().jvp(tangent) * self.oracle.dtype.type(1.1)

    class Steep(MatrixOracle):
        def linearize(self, x):
            return TenPercent(self, self(x))

    a, b = np.ones((1, 3), np.float32), np.full(1, 50, np.float32)
    for seed in range(50):
        x = np.random.default_rng(seed).standard_normal((2, 3))
        with pytest.raises(AssertionError, match="2 of 2 samples disagree"):
            assert_jvp(Steep(a, b, (3,)), x, rng=seed)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_kinks_at_the_point_accept_what_lies_between_the_slopes(dtype):
    """max(x, 0) at x = 0: any slope in [0, u] is a derivative there, and nothing else is."""
    relu = from_network([np.eye(2), np.eye(2)], [np.zeros(2)] * 2, dtype=dtype)
    assert_jvp(relu, np.zeros((3, 2)))
    assert_jvp(relu, X[:, :2])

    class Outside(NetworkPoint):
        def jvp(self, tangent):
            return super().jvp(tangent) + 2 * abs(tangent)

    wrong = Faulty(Outside, dtype)
    wrong.weights, wrong.biases, wrong.activation = relu.weights, relu.biases, "relu"
    wrong.input_shape = (2,)
    with pytest.raises(AssertionError, match="3 of 3 samples disagree"):
        assert_jvp(wrong, np.zeros((3, 2)))


def test_a_flat_model_has_zero_slopes():
    flat = from_matrix(np.zeros((2, 3)), np.ones(2), dtype=np.float32)
    assert_oracle(flat, X[:, :3])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"capabilities": frozenset({"jvp"})}, "needs a vjp"),
        ({"capabilities": frozenset({"vjp", "magic"})}, "allowed are"),
        ({"input_shape": (7,)}, "takes"),
        ({"calls": None}, "NoneType"),
    ],
)
def test_attributes(changes, message):
    with pytest.raises((AssertionError, AttributeError, InputError), match=message):
        assert_oracle(Faulty(NetworkPoint, **changes), X)


def test_an_oracle_without_jvp_is_checked_through_its_vjp():
    only = {"capabilities": frozenset({"vjp", "exact"})}
    assert_oracle(Faulty(NetworkPoint, **only), X)
    with pytest.raises(AssertionError, match="vjp: sample"):
        assert_oracle(Faulty(WrongVjp, **only), X, jvp_rtol=1e-5)


def test_neighbours_must_not_be_felt():
    class Centred(NetworkOracle):
        def linearize(self, x):
            return super().linearize(x - x.mean(axis=0))

    right = Faulty(NetworkPoint)
    wrong = Centred(right.weights, right.biases, "tanh", (6,))
    with pytest.raises(AssertionError, match="a sample alone"):
        assert_oracle(wrong, X)


def test_one_sample_is_too_few():
    with pytest.raises(AssertionError, match="two samples"):
        assert_oracle(Faulty(NetworkPoint), X[:1])


NORMS = [1, 1.5, 2, 3, "inf"]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("norm", NORMS)
def test_ball_to_the_ulp(norm, dtype):
    """One coordinate moves by exactly eps; the next float outward is outside."""
    x = np.zeros((2, 5), dtype)
    eps = dtype(0.1)
    inside = x.copy()
    inside[1, 3] = -eps
    assert_in_ball(x, inside, norm=norm, eps=float(eps))
    outside = inside.copy()
    outside[1, 3] = np.nextafter(inside[1, 3], dtype(-1))
    with pytest.raises(AssertionError, match="sample 1 is outside the ball"):
        assert_in_ball(x, outside, norm=norm, eps=float(eps))


def test_ball_is_judged_in_float64_on_the_stored_numbers():
    """float32(x + eps) - x can equal float32(eps) in float32 and exceed eps in float64."""
    x = np.full((1, 1), 0.1, np.float32)
    x_adv = x + np.float32(8 / 255)
    excess = float(x_adv[0, 0]) - float(x[0, 0]) - 8 / 255
    assert (x_adv - x)[0, 0] <= np.float32(8 / 255) * np.float32(1 + 1e-6)
    assert excess > 0
    with pytest.raises(AssertionError, match="excess"):
        assert_in_ball(x, x_adv, norm="linf", eps="8/255")


def test_eps_belongs_to_the_sample():
    x = np.zeros((2, 3))
    x_adv = x + np.array([[0.1], [0.2]])
    assert_in_ball(x, x_adv, norm="inf", eps=[0.1, 0.2])
    with pytest.raises(AssertionError, match="1 of 2 samples are outside"):
        assert_in_ball(x, x_adv, norm="inf", eps=[0.2, 0.1])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_box_to_the_ulp(dtype):
    x = np.full((1, 2, 2), 0.5, dtype)
    x_adv = x.copy()
    x_adv[0, 1, 0] = 1
    bounds = (np.zeros((2, 2)), 1)
    assert_in_ball(x, x_adv, norm="inf", eps=1, bounds=bounds)
    x_adv[0, 1, 0] = np.nextafter(dtype(1), dtype(2))
    with pytest.raises(AssertionError, match=r"entry \(0, 1, 0\) is outside the box"):
        assert_in_ball(x, x_adv, norm="inf", eps=1, bounds=bounds)


def test_nan_is_outside():
    x = np.zeros((1, 2))
    with pytest.raises(AssertionError, match="outside the ball"):
        assert_in_ball(x, x * np.nan, norm=2, eps=1)
    with pytest.raises(AssertionError, match="outside the box"):
        assert_in_ball(x, x, norm=2, eps=1, bounds=(np.nan, 1))


def test_dtype_and_shape_must_be_those_of_x():
    x = np.zeros((1, 2))
    with pytest.raises(AssertionError, match="one dtype"):
        assert_in_ball(x, x.astype(np.float32), norm=2, eps=1)
    with pytest.raises(AssertionError, match="shape"):
        assert_in_ball(x, x[:, :1], norm=2, eps=1)
