"""`from_jax`: the oracle's checks, outputs, functions without forward mode, and refusals."""

import numpy as np
import pytest

import pertcore as pc
from pertcore.errors import CapabilityError, InputError
from pertcore.testing import assert_oracle

jax = pytest.importorskip("jax", reason="JAX is not installed")
jnp = jax.numpy


@pytest.fixture
def in_float64():
    before = jax.config.read("jax_enable_x64")
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", before)


def points(*shape, dtype=np.float32):
    return np.random.default_rng(0).random(shape).astype(dtype)


def convolution(x):
    filters = jnp.asarray(np.random.default_rng(1).normal(size=(4, 2, 3, 3)), x.dtype)
    made = jax.nn.gelu(jax.lax.conv(x, filters, (1, 1), "SAME"))
    pooled = jax.lax.reduce_window(made, -jnp.inf, jax.lax.max, (1, 1, 2, 2), (1, 1, 2, 2), "VALID")
    return pooled.reshape(len(x), -1)


@jax.custom_vjp
def backward_only(x):
    return x**3


backward_only.defvjp(lambda x: (x**3, x), lambda x, v: (3 * x**2 * v,))

MODELS = {
    "convolution": (convolution, (2, 6, 6)),
    "attention": (lambda x: jax.nn.softmax(x @ x.swapaxes(1, 2)) @ x, (3, 4)),
    "one number": (lambda x: jnp.sin(x).sum(axis=1), (4,)),
    "itself": (lambda x: x, (4,)),
    "backward only": (backward_only, (3,)),
    "constant in part": (lambda x: jnp.concatenate([x**2, jnp.ones_like(x)], 1), (3,)),
}


@pytest.mark.parametrize("name", list(MODELS))
@pytest.mark.parametrize("jit", [True, False])
def test_the_oracle_keeps_its_promises(name, jit):
    model, shape = MODELS[name]
    assert_oracle(pc.from_jax(model, input_shape=shape, jit=jit), points(5, *shape))


def test_in_float64(in_float64):
    oracle = pc.from_jax(convolution, input_shape=(2, 6, 6), dtype=np.float64)
    assert_oracle(oracle, points(3, 2, 6, 6, dtype=np.float64))


def test_float64_must_be_switched_on():
    with pytest.raises(InputError, match="jax_enable_x64"):
        pc.from_jax(lambda x: x, input_shape=3, dtype=np.float64)


def test_batches_are_padded_to_a_few_sizes():
    sizes = []

    def model(x):
        sizes.append(len(x))
        return x**2

    oracle = pc.from_jax(model, input_shape=3)
    sizes.clear()
    for n in range(1, 40):
        x = points(n, 3)
        np.testing.assert_allclose(oracle(x), x**2, rtol=1e-6)
        np.testing.assert_allclose(oracle.linearize(x).vjp(x), 2 * x * x, rtol=1e-6)
    assert set(sizes) == {1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48}
    assert len(sizes) <= 2 * len(set(sizes))


def test_empty_batches_and_memory():
    oracle = pc.from_jax(lambda x: x * x, input_shape=3)
    none = np.zeros((0, 3), np.float32)
    lin = oracle.linearize(none)
    assert oracle(none).shape == lin.vjp(none).shape == lin.jvp(none).shape == (0, 3)
    x = points(2, 3)
    kept, lin = x.copy(), oracle.linearize(x)
    x[:] = 9
    np.testing.assert_array_equal(lin.vjp(np.ones((2, 3))), 2 * kept)
    assert lin.vjp(np.ones((2, 3))).flags.writeable


@pytest.mark.parametrize(
    ("model", "output"),
    [
        (lambda x: (x, x**2), 1),
        (lambda x: {"a": x, "b": x**2}, "b"),
        (lambda x: [x**2], None),
    ],
)
def test_one_output_is_chosen(model, output):
    oracle = pc.from_jax(model, input_shape=3, output=output)
    x = points(2, 3)
    np.testing.assert_allclose(oracle(x), x**2)


def test_control_flow_in_python_runs_as_it_stands():
    def model(x):
        return x**2 if x.sum() > 0 else -x

    with pytest.raises(CapabilityError, match="jit=False"):
        pc.from_jax(model, input_shape=3)
    assert_oracle(pc.from_jax(model, input_shape=3, jit=False), points(3, 3))


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        (3, {}, "a function"),
        (lambda x: x.argmax(1)[:, None], {}, "int32"),
        (lambda x: x.sum(), {}, "along the first axis"),
        (lambda x: (x, x), {}, "choose one"),
        (lambda x: {"a": x, "b": x}, {"output": "c"}, "'a', 'b'"),
        (lambda x: "text", {}, "choose one|str"),
        (lambda x: x, {"output_shape": 4}, "fn gives"),
        (lambda x: x, {"dtype": "float16"}, "float32 and float64"),
    ],
)
def test_wrong_calls_say_what_is_wrong(model, options, message):
    with pytest.raises(InputError, match=message):
        pc.from_jax(model, input_shape=3, **options)


def test_take_says_why_not():
    lin = pc.from_jax(lambda x: x, input_shape=3).linearize(points(2, 3))
    with pytest.raises(CapabilityError, match="2 samples"):
        lin.take(np.array([0]))


def test_jax_arrays_go_in_and_come_out():
    oracle = pc.from_jax(lambda x: jnp.tanh(x @ jnp.eye(3, 2)), input_shape=3)
    x = jnp.asarray(points(4, 3))
    labels = jnp.argmax(oracle.fn(x), axis=1)
    r = pc.attack(oracle, x, labels, eps=0.1, bounds=(0, 1), attack="pgd")
    for found in (r.x_adv, r.delta):
        assert isinstance(found, jax.Array)
        assert found.shape == x.shape
    with pytest.raises(InputError, match="bfloat16"):
        pc.attack(oracle, x.astype(jnp.bfloat16), labels, eps=0.1, bounds=(0, 1))
