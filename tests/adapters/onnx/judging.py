"""What must hold between the products of any oracle, a sample at a time."""

import numpy as np


def rows(array):
    return array.reshape(len(array), -1).astype(np.float64)


def relative(a, b):
    """Norm of a - b a sample, as a fraction of that of b; zero where both are."""
    off, size = np.linalg.norm(rows(a) - rows(b), axis=1), np.linalg.norm(rows(b), axis=1)
    return np.divide(off, size, out=np.where(off > 0, np.inf, 0.0), where=size > 0)


def judge(oracle, x, *, tangents=3):
    """Adjoint products, many as each alone, samples of a batch as those alone; returns the sample
    whose gradient is the largest."""
    rng, n = np.random.default_rng(1), len(x)
    lin = oracle.linearize(x)
    us = rng.standard_normal((tangents, *x.shape)).astype(oracle.dtype)
    vs = rng.standard_normal((tangents, *lin.value.shape)).astype(oracle.dtype)
    pushed, pulled = lin.jvp(us[0]), lin.vjp(vs[0])
    left = np.sum(rows(pushed) * rows(vs[0]), axis=1)
    right = np.sum(rows(pulled) * rows(us[0]), axis=1)
    pairs = ((pushed, vs[0]), (pulled, us[0]))
    scale = sum(np.linalg.norm(rows(a), axis=1) * np.linalg.norm(rows(b), axis=1) for a, b in pairs)
    # A saturated softmax cancels a few digits of either product.
    assert np.all(np.abs(left - right) <= 1e-4 * np.abs(left) + 1e-5 * scale)
    for many, product, seeds in ((lin.jvp(us), lin.jvp, us), (lin.vjp(vs), lin.vjp, vs)):
        alone = np.stack([product(seed) for seed in seeds])
        assert np.all(relative(many.swapaxes(0, 1), alone.swapaxes(0, 1)) <= 1e-4)
    # A unit may lie on the other side of its kink when a batch is rounded otherwise: most agree.
    last = [oracle.linearize(x[i : i + 1]).vjp(vs[0][i : i + 1]) for i in (0, n // 2, n - 1)]
    assert np.median(relative(pulled[[0, n // 2, n - 1]], np.concatenate(last))) <= 1e-4
    lengths = np.linalg.norm(rows(pulled), axis=1)
    assert np.max(lengths) > 0
    return x[np.argmax(lengths)]
