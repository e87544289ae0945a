from __future__ import annotations

import pytest

from tests.kernels.cuda import shim


@pytest.fixture(scope="session")
def machine(request: pytest.FixtureRequest) -> shim.Machine:
    """CUDA on the CPU; what g++ made of a source is kept for the next session."""
    if shim.COMPILER is None:
        pytest.skip("g++ is not installed: it runs the CUDA kernels' logic on the CPU")
    return shim.Machine(request.config.cache.mkdir("pertcore_cuda"))
