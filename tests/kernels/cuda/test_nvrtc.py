"""Every CUDA source as NVRTC compiles it, without a GPU: no errors, no warnings, no spills."""

from __future__ import annotations

import functools
import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from pertcore.kernels.cuda import launch
from tests.kernels.cuda import nvrtc

pytestmark = pytest.mark.skipif(
    nvrtc.library() is None, reason="NVRTC is not installed: pip install nvidia-cuda-nvrtc"
)
FULL = bool(os.environ.get("PERTCORE_FULL"))
NUMBERS = ("float", "double")
TARGETS = ("compute_80", "compute_90", "sm_90", *(["sm_80"] if FULL else []))
CELLS = [(f, real, target) for f in launch.SOURCES for real in NUMBERS for target in TARGETS]
REGISTERS = 128
"""With 256 threads a block, two blocks find room on a multiprocessor, which has 65,536."""


@functools.cache
def everything() -> dict[tuple[str, str, str], tuple[bool, str, bytes]]:
    """All cells, compiled side by side."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        results = pool.map(lambda c: nvrtc.compiled(launch.source(c[0]), *c[1:]), CELLS)
        return dict(zip(CELLS, results, strict=True))


@pytest.mark.parametrize("cell", CELLS, ids="-".join)
def test_every_source_compiles(cell):
    fine, log, code = everything()[cell]
    assert fine and "warning" not in log, log
    for name in launch.kernels_of(cell[0]):
        assert name.encode() in code


@pytest.mark.parametrize("cell", [c for c in CELLS if c[2].startswith("sm_")], ids="-".join)
def test_every_kernel_keeps_its_numbers_in_registers(cell):
    used = nvrtc.used(everything()[cell][1])
    assert set(used) == set(launch.kernels_of(cell[0]))
    assert all(registers <= REGISTERS and spilled == 0 for registers, spilled in used.values()), (
        used
    )


def test_a_broken_source_is_seen():
    text = launch.source("linf")
    for old, new in (("real move", "reel move"), ("double* eps", "double eps")):
        fine, log, _ = nvrtc.compiled(text.replace(old, new), "float", "compute_90")
        assert not fine and "error" in log


def test_registers_and_spills_are_read():
    spilling = "ptxas info : Compiling entry function 'f' for 'sm_90'\n" + (
        "ptxas info : Function properties for f\n"
        "    8 bytes stack frame, 12 bytes spill stores, 4 bytes spill loads\n"
        "ptxas info : Used 200 registers, used 1 barriers\n"
    )
    assert nvrtc.used(spilling) == {"f": (200, 12)}
