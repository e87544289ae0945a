"""The execution providers and cards that there are, and why one of them is not used."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnxruntime

from pertcore.errors import BackendError

CUDA = "CUDAExecutionProvider"
DRIVER = "libcuda.so.1"
LIBRARY = Path(onnxruntime.__file__).parent / "capi" / "libonnxruntime_providers_cuda.so"
MISSING = re.compile(r"(?P<file>lib[\w.+-]+\.so[\w.]*): cannot open shared object file")
Load = Callable[[str], Any]


def providers(load: Load = ctypes.CDLL) -> dict[str, str]:
    """Every provider of this onnxruntime, and CUDA's where it has none: what it runs on, or why it
    does not load. `load` opens a shared library."""
    found = dict.fromkeys(onnxruntime.get_available_providers(), "in this onnxruntime")
    found["CPUExecutionProvider"] = "the CPU"
    found[CUDA] = _cuda(load, CUDA in found)
    return found


def _cuda(load: Load, built_in: bool) -> str:
    if not built_in:
        return "not in this onnxruntime: pip install pertcore[onnx-gpu] where no onnxruntime is yet"
    try:
        _check_library(load)
        return "; ".join(cards(load))
    except BackendError as error:
        return f"does not load: {error}"


def _check_library(load: Load) -> None:
    """Raises BackendError for a library that the provider needs and that is not found."""
    try:
        load(str(LIBRARY))
    except OSError as error:
        found = MISSING.search(str(error))
        if found is None:
            raise BackendError(str(error)) from error
        part = "cuDNN" if "cudnn" in found["file"] else "CUDA"
        raise BackendError(
            f"{found['file']} is missing, a part of {part}{_built_for()}: install it, or call "
            "onnxruntime.preload_dlls() where pip has installed it"
        ) from error


def _built_for() -> str:
    """The version of CUDA that this onnxruntime names as its own, in parentheses; else nothing."""
    version = getattr(onnxruntime, "cuda_version", "")
    return f" (this onnxruntime is for CUDA {version})" if version else ""


def cards(load: Load = ctypes.CDLL) -> list[str]:
    """The name and memory of every card, by the driver. Raises BackendError where there is none."""
    try:
        driver = load(DRIVER)
    except OSError as error:
        raise BackendError(f"no NVIDIA driver here ({DRIVER} is missing)") from error
    code = driver.cuInit(0)
    if code:
        raise BackendError(f"the NVIDIA driver does not start (cuInit gives {code})")
    version, count = ctypes.c_int(), ctypes.c_int()
    driver.cuDriverGetVersion(ctypes.byref(version))
    driver.cuDeviceGetCount(ctypes.byref(count))
    if not count.value:
        raise BackendError("the NVIDIA driver sees no card")
    wanted = str(getattr(onnxruntime, "cuda_version", "") or "0").partition(".")[0]
    if version.value // 1000 < int(wanted):
        raise BackendError(
            f"the NVIDIA driver is for CUDA {version.value // 1000} and this onnxruntime for CUDA "
            f"{wanted}: update the driver"
        )
    return [f"device {number}: {_card(driver, number)}" for number in range(count.value)]


def _card(driver: Any, number: int) -> str:
    name, memory = ctypes.create_string_buffer(100), ctypes.c_size_t()
    driver.cuDeviceGetName(name, len(name), number)
    driver.cuDeviceTotalMem_v2(ctypes.byref(memory), number)
    return f"{name.value.decode(errors='replace')}, {memory.value / (1 << 30):.0f} GiB"
