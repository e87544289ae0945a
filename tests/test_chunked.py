"""Chunks of one size: the model never sees another batch, and take runs nothing."""

import numpy as np
import pytest

from pertcore.adapters.function import from_function
from pertcore.adapters.network import from_network
from pertcore.chunked import chunked
from pertcore.errors import CapabilityError, InputError, PertcoreWarning
from pertcore.testing import assert_oracle

RNG = np.random.default_rng(11)
WEIGHTS = [RNG.standard_normal((33, 12)), RNG.standard_normal((5, 33))]
BIASES = [RNG.standard_normal(33), RNG.standard_normal(5)]
X = RNG.standard_normal((11, 3, 4)).astype(np.float32)


def network(dtype=np.float32):
    return from_network(WEIGHTS, BIASES, activation="tanh", dtype=dtype, input_shape=(3, 4))


class Watched:
    """A network that writes down the batches it sees and cannot take."""

    def __init__(self):
        self.inner, self.batches, self.threads = network(), [], 2

    def __getattr__(self, name):
        return getattr(self.inner, name)

    @property
    def capabilities(self):
        return frozenset({"vjp", "jvp", "exact"})

    def deterministic(self):
        self.threads = 1
        return self

    def __call__(self, x):
        self.batches.append(len(x))
        return self.inner(x)

    def linearize(self, x):
        self.batches.append(len(x))
        return WatchedPoint(self, self.inner.linearize(x))


class WatchedPoint:
    def __init__(self, oracle, point):
        self.oracle, self.point, self.value = oracle, point, point.value

    def vjp(self, v):
        self.oracle.batches.append(len(v))
        return self.point.vjp(v)

    def jvp(self, u):
        self.oracle.batches.append(len(u))
        return self.point.jvp(u)

    def take(self, index):
        raise CapabilityError("no batch axis")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", [1, 4, 11, 50])
def test_protocol(size, dtype):
    assert_oracle(chunked(network(dtype), size), X)


def test_the_model_sees_one_batch_size_on_one_thread():
    inner = Watched()
    oracle = chunked(inner, 4)
    assert inner.threads == 1
    assert "take" in oracle.capabilities
    assert_oracle(oracle, X)
    assert set(inner.batches) == {4}


def test_bits_do_not_depend_on_who_left():
    oracle = chunked(network(), 4)
    lin, v = oracle.linearize(X), RNG.standard_normal((2, 11, 5)).astype(np.float32)
    whole = lin.vjp(v)
    index = np.array([9, 2, 0])
    np.testing.assert_array_equal(lin.take(index).vjp(v[:, index]), whole[:, index])
    alone = np.array([lin.take(np.array([i])).vjp(v[:1, i : i + 1])[0, 0] for i in range(11)])
    np.testing.assert_array_equal(alone, whole[0])


def test_chunks_that_everybody_left_are_not_run():
    inner = Watched()
    lin = chunked(inner, 4).linearize(X)
    inner.batches.clear()
    lin.take(np.array([1, 3])).vjp(np.ones((2, 5), np.float32))
    assert inner.batches == [4]


def test_differences_are_counted_without_padding():
    with pytest.warns(PertcoreWarning):
        inner = from_function(lambda x: x**2, input_shape=3, dtype=np.float64)
    oracle = chunked(inner, 4)
    oracle.linearize(np.ones((5, 3))).vjp(np.ones((5, 3)))
    assert oracle.calls.f == 5 + 5 * 6
    assert oracle.notes == inner.notes


def test_empty_batch():
    lin = chunked(network(), 4).linearize(X[:0])
    assert lin.value.shape == (0, 5)
    assert lin.vjp(np.zeros((2, 0, 5))).shape == (2, 0, 3, 4)


@pytest.mark.parametrize(
    "call",
    [
        lambda: chunked(network(), 0),
        lambda: chunked(network(), 4).linearize(X).take(np.array([1, 1])),
        lambda: chunked(network(), 4).linearize(X).vjp(np.ones((3, 5))),
    ],
)
def test_wrong_calls_are_refused(call):
    with pytest.raises(InputError):
        call()
