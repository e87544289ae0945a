"""The loader on a stand-in for CuPy that runs what it is given: geometry, arguments, refusals."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from pertcore.errors import BackendError, DeviceMemoryError, InputError
from pertcore.kernels.catalogue import ROWS, kernel, load
from pertcore.kernels.cuda import device, launch
from tests.kernels.cuda import fake_cupy
from tests.kernels.cuda.bounds import allowed
from tests.kernels.cuda.test_on_the_cpu import blank, tried
from tests.kernels.test_parity import check_equal


@pytest.fixture
def cupy(machine, monkeypatch):
    fake = fake_cupy.module(machine.folder, room=1 << 22)
    monkeypatch.setitem(sys.modules, "cupy", fake)
    device._module.cache_clear()
    yield fake
    device._module.cache_clear()


def moved(values, number=0):
    return tuple(fake_cupy.on(number, v) if isinstance(v, np.ndarray) else v for v in values)


@pytest.mark.parametrize("name", ROWS)
def test_a_kernel_runs_where_its_arrays_are(cupy, name):
    args, outs = tried(name, 33, np.float32)[0]
    wanted, found, there = blank(outs), blank(outs), moved(blank(outs))
    kernel(name)(*args, *found)
    load(name, "numba")(*args, *wanted)
    kernel(name)(*moved(args), *there)
    for a, b, c in zip(found, wanted, there, strict=True):
        assert np.array_equal(a, b, equal_nan=a.dtype.kind == "f"), "NumPy arrays stay with Numba"
        assert isinstance(c, cupy.ndarray)
        check_equal(np.asarray(c), b, allowed(name, "float32"), name)


def test_arrays_in_two_places_are_refused(cupy):
    x, eps = np.ones((2, 3), np.float32), np.ones(2)
    for first, second, said in (
        (moved([x])[0], eps, "CUDA device 0 and the CPU"),
        (moved([x])[0], moved([eps], 1)[0], "CUDA device 0 and CUDA device 1"),
    ):
        with pytest.raises(InputError, match=said):
            kernel("project_2")(first, second, moved([x])[0])


def test_strided_arrays_are_refused(cupy):
    wide = moved([np.ones((2, 6), np.float32)])[0]
    with pytest.raises(InputError, match="contiguous"):
        kernel("project_2")(wide[:, ::2], moved([np.ones(2)])[0], moved([np.ones((2, 3))])[0])


def test_a_device_without_room_says_so(cupy, machine, monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", fake_cupy.module(machine.folder, room=10))
    args, outs = tried("project_box_p", 33, np.float32)[0]
    with pytest.raises(DeviceMemoryError, match="device 0 is out of memory"):
        kernel("project_box_p")(*moved(args), *moved(blank(outs)))


def test_without_cupy_the_version_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(BackendError, match="cupy-cuda13x"):
        device.run("pgd_inf", np.ones((1, 1)))


def test_an_empty_batch_starts_nothing(cupy):
    x, eps = moved([np.ones((0, 3), np.float32), np.ones(0)])
    kernel("project_2")(x, eps, x.copy())


def test_the_batch_does_not_change_the_threads():
    for name, how in launch.LAUNCHES.items():
        told = [40] * len(how.sizes)
        (one, slices), threads = launch.geometry(how, 1, told)
        assert launch.geometry(how, 1000, told) == ((1000, slices), threads), name
        assert one == 1 and threads % launch.WARP == 0 and threads <= launch.THREADS


def test_long_rows_of_independent_entries_are_cut_in_slices():
    how = launch.LAUNCHES["pgd_inf"]
    assert launch.geometry(how, 2, [1]) == ((2, 1), 32)
    assert launch.geometry(how, 2, [150528]) == ((2, 74), 256)
    assert launch.geometry(how, 2, [10**9]) == ((2, launch.MOST_SLICES), 256)
