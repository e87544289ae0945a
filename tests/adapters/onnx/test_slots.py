"""Small batches of one size, one after the other, in memory that stays: the same numbers, and what
was given out is never written to again."""

import gc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from onnx import helper

from pertcore.adapters.onnx import engine, kept, slots
from pertcore.adapters.onnx.adapter import from_onnx
from pertcore.errors import ModelError
from tests.adapters.onnx.models import model, small_net, value, weight
from tests.adapters.onnx.test_blocks import TAILS, network


def small(*nodes):
    made = [helper.make_node(op, inputs, [out]) for op, *inputs, out in nodes]
    third = weight("third", np.full((1,), 1 / 3, np.float32))
    return model(made, [value("x", ["N", 1, 8, 8])], [value("y", None)], [third])


NETS = {
    "convolution": small_net(),
    "blocks": network(TAILS["largest"]),
    "the value is a residual": small(("Exp", "x", "y")),
    "x is a residual": small(("Sin", "x", "y")),
    "x is the value": small(("Mul", "x", "third", "y")),
}


@pytest.fixture(params=NETS)
def oracle(request):
    kept.forget()
    return from_onnx(NETS[request.param], threads=1)


def some(oracle, count, n=3, seed=0):
    """Batches of points, cotangents and tangents."""
    rng = np.random.default_rng(seed)
    draw = lambda *shape: rng.standard_normal((count, n, *shape)).astype(np.float32)  # noqa: E731
    return list(
        zip(draw(*oracle.input_shape), draw(*oracle.output_shape), draw(*oracle.input_shape))
    )


def lease(lin):
    return lin.held[0].keeps


def products(lin, v, u):
    return lin.value.copy(), lin.vjp(v), lin.jvp(u), lin.vjp(v)


def plain(oracle, monkeypatch, batches):
    """What the same engine gives without slots."""
    with monkeypatch.context() as patch:
        patch.setattr(slots.Slots, "again", lambda self, n: False)
        lins = [oracle.linearize(x) for x, _, _ in batches]
        assert all(lease(lin) is None for lin in lins)
        return [products(lin, v, u) for lin, (_, v, u) in zip(lins, batches)]


def equal(found, wanted):
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_same_bits(oracle, monkeypatch):
    batches = some(oracle, 6)
    wanted = plain(oracle, monkeypatch, batches)
    for i, (x, v, u) in enumerate(batches):
        lin = oracle.linearize(x)
        assert isinstance(lease(lin), slots.Lease) == (i >= 2)
        equal(products(lin, v, u), wanted[i])
        np.testing.assert_allclose(
            lin.vjp(np.stack([v, -v]))[0], wanted[i][1], rtol=1e-4, atol=1e-5
        )
        del lin


def test_what_was_given_out_stays(oracle, monkeypatch):
    batches = some(oracle, 8)
    wanted = plain(oracle, monkeypatch, batches)
    given = []
    for x, v, u in batches:
        lin = oracle.linearize(x)
        found = products(lin, v, u)
        given.append((lin.value, *found[1:]))
        x[:], v[:], u[:] = 7, 7, 7
    for found, expected in zip(given, wanted):
        equal(found, expected)
        found[0][:] = found[1][:] = 0


def test_two_at_once_do_not_meet(oracle, monkeypatch):
    batches = some(oracle, 7)
    wanted = plain(oracle, monkeypatch, batches)
    lins = []
    for x, _, _ in batches:
        lins.append(oracle.linearize(x))
        x[:] = 7  # What is the caller's.
    assert sum(isinstance(lease(lin), slots.Lease) for lin in lins) > 1
    for lin, (_, v, u), expected in zip(lins, batches, wanted):
        equal(products(lin, v, u), expected)


def test_a_slot_goes_back_when_nobody_reads_it(oracle):
    ((x, v, _),) = some(oracle, 1)
    for _ in range(3):
        lin = oracle.linearize(x)
    slot = lease(lin).slot
    part = lin.take(np.array([1]))
    del lin
    another = oracle.linearize(x)
    assert lease(another) is None or lease(another).slot is not slot
    part.vjp(v[:1])  # Gathered: what it reads is its own now.
    again = [oracle.linearize(x) for _ in range(slots.EACH)]
    assert any(lease(other) is not None and lease(other).slot is slot for other in again)


def test_samples_taken_from_a_slot(oracle, monkeypatch):
    batches = some(oracle, 5, n=6)
    wanted = plain(oracle, monkeypatch, batches)
    parts = []
    for x, _, _ in batches:
        parts.append(oracle.linearize(x).take(np.array([4, 0, 3])))
    for part, (_, v, _), expected in zip(parts, batches, wanted):
        np.testing.assert_allclose(
            part.vjp(v[[4, 0, 3]]), expected[1][[4, 0, 3]], rtol=1e-5, atol=1e-6
        )


def test_the_value_and_what_was_taken_own_their_memory():
    oracle = from_onnx(small_net(), threads=1)
    ((x, v, _),) = some(oracle, 1, n=64)
    lin = oracle.linearize(x)
    whole = lin.vjp(v)
    lin.value[:] = 7
    np.testing.assert_array_equal(lin.vjp(v), whole)
    part = lin.take(np.arange(0, 64, 2))
    part.vjp(v[::2])
    inner = part.take(np.arange(1, 32, 2))
    sizes = [held.numpy().nbytes for held in part.held[0].residuals.values()]
    del lin, part
    gc.collect()
    rubbish = [np.full(size, 255, np.uint8) for size in sizes * 20]
    np.testing.assert_array_equal(inner.vjp(v[2::4]), whole[2::4])
    assert len(rubbish) == 20 * len(sizes)


def test_a_residual_that_is_the_value_keeps_its_own():
    x = np.zeros((2, 1, 8, 8), np.float32)
    lin = from_onnx(NETS["the value is a residual"], threads=1).linearize(x)
    lin.value[:] = 5
    np.testing.assert_array_equal(lin.vjp(np.ones_like(x)), 1)


def test_threads_may_share_a_linearisation_and_an_oracle(oracle, monkeypatch):
    batches = some(oracle, 40)
    wanted = plain(oracle, monkeypatch, batches)
    for _ in range(3):
        shared = oracle.linearize(batches[0][0])
    assert isinstance(lease(shared), slots.Lease)

    def one(i):
        x, v, u = batches[i]
        equal(products(oracle.linearize(x), v, u), wanted[i])
        equal([shared.vjp(batches[0][1])], wanted[0][1:2])
        return i

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(one, range(40))) == list(range(40))


def test_large_batches_and_changing_ones_get_none(oracle):
    n = slots.LARGEST // (4 * int(np.prod(oracle.input_shape))) + 1
    x = np.zeros((n, *oracle.input_shape), np.float32)
    oracle._divides = False
    for size in (n, n, n, 1, 2, 1, 2, 3, 1):
        assert lease(oracle.linearize(x[:size])) is None


def test_few_sizes_are_kept(oracle):
    made = oracle._engine._slots
    for n in range(1, 3 * slots.SIZES):
        for _ in range(4):
            oracle.linearize(np.zeros((n, *oracle.input_shape), np.float32))
    many = [oracle.linearize(np.zeros((2, *oracle.input_shape), np.float32)) for _ in range(9)]
    assert len({id(lease(lin).slot) for lin in many if lease(lin) is not None}) > slots.EACH
    del many
    assert len(made._free) <= slots.SIZES
    assert all(len(free) <= slots.EACH for free in made._free.values())


def test_sizes_that_depend_on_the_data_get_none():
    """The columns that any sample needs, so that a residual is (N, how many)."""
    nodes = [
        helper.make_node("Abs", ["x"], ["a"]),
        helper.make_node("ReduceSum", ["a", "axes"], ["t"], keepdims=0),
        helper.make_node("Greater", ["t", "one"], ["g"]),
        helper.make_node("NonZero", ["g"], ["found"]),
        helper.make_node("Squeeze", ["found", "axes"], ["columns"]),
        helper.make_node("Gather", ["x", "columns"], ["chosen"], axis=1),
        helper.make_node("Mul", ["chosen", "chosen"], ["square"]),
        helper.make_node("ReduceSum", ["square", "last"], ["total"], keepdims=1),
        helper.make_node("Add", ["total", "x"], ["y"]),
    ]
    weights = [weight("axes", np.array([0])), weight("last", np.array([1]))]
    weights += [weight("one", np.array(1, np.float32))]
    net = model(nodes, [value("x", ["N", 4])], [value("y", None)], weights)
    oracle = from_onnx(net, threads=1)
    core = oracle._engine
    assert not core._still
    core.batch_axes = dict.fromkeys(core.residuals, (0, 1))
    del core.__dict__["_still"]
    for count in (1, 3, 2, 4):
        x = np.zeros((5, 4), np.float32)
        x[:, :count] = 2
        lin = oracle.linearize(x)
        assert lease(lin) is None
        np.testing.assert_array_equal(lin.value, 4 * count + x)
        slope = lin.vjp(np.eye(5, 4, dtype=np.float32))
        np.testing.assert_array_equal(slope[0], np.where(np.arange(4) < count, 4, 0) + np.eye(4)[0])


def test_a_run_that_fails_says_so(oracle, monkeypatch):
    (x, v, _), *_ = some(oracle, 1)
    for _ in range(3):
        lin = oracle.linearize(x)
    lin.vjp(v)
    bound = lease(lin).slot.products["vjp"]
    bound._given = np.zeros_like(v)
    monkeypatch.setattr(bound, "_run", lambda *given: 1 / 0)
    with pytest.raises(ModelError, match="division"):
        lin.vjp(v)
    np.testing.assert_array_equal(lin.vjp(v), lin.vjp(v))


def test_no_slots_on_other_devices_or_where_arrays_are_copies(oracle, monkeypatch):
    core = oracle._engine
    assert core._still
    del core.__dict__["_still"]
    with monkeypatch.context() as patch:
        patch.setattr(core, "providers", ["CUDAExecutionProvider"])
        assert not core._still
    del core.__dict__["_still"]
    monkeypatch.setattr(engine, "shares_memory", lambda: False)
    assert not core._still
