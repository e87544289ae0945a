"""Large batches in pieces give what the batch as a whole gives, sample by sample."""

import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper

from pertcore.adapters.onnx.adapter import from_onnx
from pertcore.adapters.onnx.pieces import LEAST, MOST, TOGETHER, pieces, side_by_side
from pertcore.adapters.onnx.sessions import Session
from tests.adapters.onnx.models import model, small_net, value, weight

RNG = np.random.default_rng(0)
N = 2 * MOST + 7
X = RNG.standard_normal((N, 1, 8, 8)).astype(np.float32)
V = RNG.standard_normal((3, N, 3)).astype(np.float32)
U = RNG.standard_normal((2, N, 1, 8, 8)).astype(np.float32)


@pytest.fixture(params=[1, 2, 3])
def oracle(request):
    return from_onnx(small_net(), threads=request.param)


@pytest.fixture
def whole():
    """Points of the same model few enough to be one piece each."""
    alone = from_onnx(small_net(), threads=1)
    return [alone.linearize(X[i : i + MOST]) for i in range(0, N, MOST)]


def joined(whole, kind, vectors):
    starts = range(0, N, MOST)
    found = [getattr(lin, kind)(vectors[:, i : i + MOST]) for lin, i in zip(whole, starts)]
    return np.concatenate(found, axis=1)


def close(found, wanted):
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


@given(st.integers(1, 3000), st.integers(1, 64))
def test_pieces_cover_a_batch_evenly(n, threads):
    parts = pieces(n, threads)
    sizes = [part.stop - part.start for part in parts]
    assert [i for part in parts for i in range(n)[part]] == list(range(n))
    assert max(sizes) <= MOST and max(sizes) - min(sizes) <= 1
    assert len(parts) == 1 or (len(parts) % threads == 0 and min(sizes) >= 1)
    assert len(parts) > 1 or n < 2 * LEAST or threads == 1 or n <= MOST


def test_a_batch_in_pieces_is_the_batch(oracle, whole):
    lin = oracle.linearize(X)
    assert len(lin.held) > 1
    close(lin.value, np.concatenate([part.value for part in whole]))
    close(lin.vjp(V[0]), joined(whole, "vjp", V[:1])[0])
    close(lin.jvp(U[0]), joined(whole, "jvp", U[:1])[0])
    close(lin.vjp(V), joined(whole, "vjp", V))
    close(lin.jvp(U), joined(whole, "jvp", U))
    assert (oracle.calls.f, oracle.calls.vjp, oracle.calls.jvp) == (N, 4 * N, 3 * N)


@pytest.mark.parametrize(
    "index",
    [
        np.arange(N) % 3 == 0,
        RNG.permutation(N),
        np.array([N - 1, 0, 0, MOST, 5, N - 1]),
        np.array([3]),
        np.zeros(0, np.int64),
    ],
    ids=["mask", "shuffled", "repeated", "one", "none"],
)
def test_samples_are_taken_across_pieces_and_again(oracle, index):
    lin = oracle.linearize(X)
    wanted = lin.vjp(V[0])[index]
    taken = lin.take(index)
    close(taken.value, lin.value[index])
    close(taken.vjp(V[0][index]), wanted)
    again = np.arange(len(taken.value))[::-1][: MOST + 3]
    # One not yet gathered, the other gathered already.
    for point in (lin.take(index), taken):
        close(point.take(again).vjp(V[0][index][again]), wanted[again])


@pytest.mark.parametrize("n", [1, 5, 2 * TOGETHER])
def test_many_cotangents_are_divided_and_give_the_same(monkeypatch, n):
    oracle = from_onnx(small_net(), threads=1)
    oracle._divides = False  # One run of the model, whatever n.
    lin = oracle.linearize(np.resize(X, (n, 1, 8, 8)))
    c = 2 * TOGETHER // min(n, TOGETHER) + 3
    v = RNG.standard_normal((c, n, 3)).astype(np.float32)
    u = RNG.standard_normal((c, n, 1, 8, 8)).astype(np.float32)
    wanted = [np.stack([lin.vjp(row) for row in v]), np.stack([lin.jvp(row) for row in u])]
    sizes, run = [], Session.run

    def watched(session, feeds):
        seeds = [feeds[name] for name in feeds if name in ("pc.cotangents", "pc.tangents")]
        sizes.extend(seed.shape()[0] * n for seed in seeds)
        return run(session, feeds)

    monkeypatch.setattr(Session, "run", watched)
    for found, expected in zip((lin.vjp(v), lin.jvp(u)), wanted, strict=True):
        close(found, expected)
    assert sum(sizes) == 2 * c * n and len(sizes) > 2
    assert max(sizes) <= max(TOGETHER, n)


def test_a_model_that_mixes_samples_is_run_whole():
    nodes = [
        helper.make_node("Conv", ["x", "k"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("ReduceMean", ["c", "a"], ["m"]),
        helper.make_node("Sub", ["c", "m"], ["d"]),
        helper.make_node("Mul", ["d", "d"], ["y"]),
    ]
    kernel = weight("k", RNG.standard_normal((2, 1, 3, 3)).astype(np.float32))
    axes = weight("a", np.array([0]))
    ends = [value("x", ["N", 1, 8, 8])], [value("y", ["N", 2, 8, 8])]
    oracle = from_onnx(model(nodes, *ends, [kernel, axes]), threads=2)
    lin = oracle.linearize(X)
    assert any("other samples" in note for note in oracle.notes)
    assert len(lin.held) == 1
    close(lin.value, oracle(X))


def test_products_of_matrices_are_not_divided():
    m = weight("m", RNG.standard_normal((3, 64)).astype(np.float32))
    nodes = [helper.make_node("Gemm", ["x", "m"], ["h"], transB=1)]
    nodes.append(helper.make_node("Tanh", ["h"], ["y"]))
    graph = model(nodes, [value("x", ["N", 64])], [value("y", ["N", 3])], [m])
    assert len(from_onnx(graph, threads=2).linearize(X.reshape(N, 64)).held) == 1


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_side_by_side_keeps_the_order(threads):
    assert side_by_side(threads, lambda i: i * i, range(40)) == [i * i for i in range(40)]


def test_side_by_side_uses_the_threads_it_has():
    barrier = threading.Barrier(3, timeout=20)
    places = side_by_side(3, lambda i: (barrier.wait(), threading.get_ident())[1], range(3))
    assert len(set(places)) == 3 and threading.get_ident() in places


@pytest.mark.parametrize("threads", [1, 2])
def test_side_by_side_raises_what_a_piece_raises(threads):
    def work(i):
        if i == 7:
            raise ValueError("piece 7")
        return i

    with pytest.raises(ValueError, match="piece 7"):
        side_by_side(threads, work, range(8))
