"""CuPy arrays through a model: no copy by the host, the same values; on host memory, without a GPU.

The provider is ONNX Runtime's CPU under the name of the CUDA one, and CuPy is device_arrays.py:
what is tested is which memory is read and written, not that a GPU does.
"""

from __future__ import annotations

import numpy as np
import pytest

from pertcore.adapters.onnx import sessions
from pertcore.adapters.onnx.adapter import from_onnx
from pertcore.errors import CapabilityError, DeviceMemoryError, InputError, ModelError
from tests import device_arrays
from tests.adapters.onnx.models import small_net
from tests.adapters.onnx.test_oracle import mixing

CUDA = "CUDAExecutionProvider"
RNG = np.random.default_rng(0)
X = RNG.standard_normal((6, 1, 8, 8)).astype(np.float32)
SEED = RNG.standard_normal((6, 3)).astype(np.float32)
SEEDS = RNG.standard_normal((2, 6, 3)).astype(np.float32)


@pytest.fixture
def copies(monkeypatch):
    """The list of host copies made; CuPy and the provider stand in while the test runs."""
    return device_arrays.installed(monkeypatch)


def lent(values):
    return device_arrays.of(values.copy())


def on_gpu(**more):
    return from_onnx(small_net(), providers=[CUDA], **more)


def test_no_step_of_an_oracle_copies_through_the_host(copies):
    here, there = from_onnx(small_net(), threads=1), on_gpu()
    x, seed, seeds, tangent = map(lent, (X, SEED, SEEDS, X))
    copies.clear()
    lin = there.linearize(x)
    few = lin.take(lent(np.array([4, 1, 2])))
    found = [
        there(x), lin.value, lin.vjp(seed), lin.vjp(seeds), lin.jvp(tangent), few.value,
        few.vjp(device_arrays.of(SEED[:3].copy())),
    ]  # fmt: skip
    assert copies == []
    near = here.linearize(X)
    part = near.take(np.array([4, 1, 2]))
    wanted = [
        here(X), near.value, near.vjp(SEED), near.vjp(SEEDS), near.jvp(X), part.value,
        part.vjp(SEED[:3]),
    ]  # fmt: skip
    for a, b in zip(found, wanted, strict=True):
        assert isinstance(a, device_arrays.Array) and a.dtype == b.dtype
        np.testing.assert_allclose(a.held, b, rtol=1e-5, atol=1e-6)


def test_a_copy_through_the_host_is_counted(copies):
    """The counter sees what the test above says there is none of."""
    lin = on_gpu().linearize(X)
    lin.vjp(SEED)
    assert {"numpy", "placed"} <= set(copies)
    copies.clear()
    lent(X).get()
    assert copies == ["get (6, 1, 8, 8)"]
    with pytest.raises(TypeError, match="implicit"):
        np.asarray(lent(X))


def test_a_later_write_to_x_does_not_change_the_products(copies):
    x = lent(X)
    lin = on_gpu().linearize(x)
    before = lin.vjp(lent(SEED)).held.copy()
    x.held[...] = 9
    np.testing.assert_array_equal(lin.vjp(lent(SEED)).held, before)


def test_a_value_lives_as_long_as_its_array(copies):
    pulled = on_gpu().linearize(lent(X)).vjp(lent(SEED))
    before = pulled.held.copy()
    for _ in range(20):
        on_gpu().linearize(lent(X * 3)).vjp(lent(SEED))
    np.testing.assert_array_equal(pulled.held, before)


def test_an_empty_batch_stays_on_its_device(copies):
    lin = on_gpu().linearize(lent(X[:0]))
    assert lin.vjp(lent(SEED[:0])).shape == (0, 1, 8, 8)
    assert isinstance(on_gpu()(lent(X[:0])), device_arrays.Array)


def test_mixed_devices_are_one_clear_error(copies):
    with pytest.raises(InputError, match="x is on CUDA device 0 and the model runs on the CPU"):
        from_onnx(small_net())(lent(X))
    with pytest.raises(InputError, match="CUDA device 1 and the model runs on CUDA device 0"):
        on_gpu().linearize(device_arrays.of(X, number=1))
    with pytest.raises(InputError, match="is a NumPy array and the model was linearised at a CuPy"):
        on_gpu().linearize(lent(X)).vjp(SEED)
    with pytest.raises(InputError, match="is a CuPy array and the model was linearised at a NumPy"):
        on_gpu().linearize(X).jvp(lent(X))


def test_a_model_that_runs_in_turns_asks_for_numpy(copies):
    oracle = from_onnx(mixing(), providers=[CUDA])
    with pytest.raises(CapabilityError, match="give NumPy arrays"):
        oracle(lent(np.ones((2, *oracle.input_shape), np.float32)))


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("BFCArena: Failed to allocate memory for requested buffer of size 8", DeviceMemoryError),
        ("CUDA failure 2: out of memory ; GPU=0", DeviceMemoryError),
        ("CUDA failure 209: no kernel image", ModelError),
    ],
)
def test_a_full_device_is_told_from_a_broken_model(said, kind):
    assert type(sessions.refused(RuntimeError(said), "run")) is kind
