"""Every CUDA kernel on a card: the values of the CPU, as tests/kernels/cuda asks of the shim."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pertcore.kernels.catalogue import ROWS, load

pytest.importorskip("numba", reason="Numba is not installed: its kernels are what is compared with")
cupy = pytest.importorskip(
    "cupy", reason="CuPy is not installed: pip install cupy-cuda13x", exc_type=ImportError
)


def _no_card() -> str:
    try:
        return "" if cupy.cuda.runtime.getDeviceCount() else "CuPy sees no GPU here"
    except cupy.cuda.runtime.CUDARuntimeError as error:
        return f"CuPy sees no GPU here: {error}"


NO_CARD = _no_card()
pytestmark = pytest.mark.skipif(bool(NO_CARD), reason=NO_CARD)


class Card:
    """Runs kernels on copies of NumPy arrays; what a kernel wrote comes back."""

    def run(self, name: str, *args: Any) -> None:
        there = [cupy.asarray(a) if isinstance(a, np.ndarray) else a for a in args]
        load(name, "cuda")(*there)
        for mine, theirs in zip(args, there, strict=True):
            if isinstance(mine, np.ndarray) and mine.flags.writeable:
                mine[...] = theirs.get()


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("name", ROWS)
def test_a_kernel_gives_the_values_of_the_cpu(name, dtype):
    """Within the bounds of tests/kernels/cuda/bounds.py: equal for p = inf, 2 ulps else."""
    from tests.kernels.cuda.test_on_the_cpu import check

    check(Card(), name, dtype)


@pytest.mark.parametrize("name", ROWS)
def test_the_same_launch_gives_the_same_bits(name):
    from tests.kernels.cuda.test_on_the_cpu import blank, tried

    args, outs = tried(name, 1025, np.float32)[0]
    once, again = blank(outs), blank(outs)
    Card().run(name, *args, *once)
    Card().run(name, *args, *again)
    assert all(a.tobytes() == b.tobytes() for a, b in zip(once, again, strict=True))
