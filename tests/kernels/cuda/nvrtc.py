"""Compiles CUDA sources with NVRTC, which needs no GPU."""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import re
from pathlib import Path

from pertcore.kernels.cuda import launch


@functools.cache
def library() -> ctypes.CDLL | None:
    """NVRTC from its wheel, or as the system's linker finds it; None where there is none."""
    spec = importlib.util.find_spec("nvidia")
    folders = [] if spec is None else list(spec.submodule_search_locations or ())
    found = [p for f in folders for p in sorted(Path(f).glob("*/lib/libnvrtc.so.*[0-9]"))]
    for name in [*map(str, found), "libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so"]:
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    return None


def compiled(text: str, real: str, target: str) -> tuple[bool, str, bytes]:
    """Whether the source compiles for compute_XX or sm_XX, the log, and the PTX or the CUBIN."""
    nvrtc, program = library(), ctypes.c_void_p()
    assert nvrtc is not None
    options = [*launch.OPTIONS, f"-DREAL={real}", f"--gpu-architecture={target}"]
    options += ["--ptxas-options=-v"] if target.startswith("sm_") else []
    held = (ctypes.c_char_p * len(options))(*(o.encode() for o in options))
    created = nvrtc.nvrtcCreateProgram(
        ctypes.byref(program), text.encode(), b"kernels.cu", 0, None, None
    )
    assert created == 0
    try:
        fine = nvrtc.nvrtcCompileProgram(program, len(options), held) == 0
        log = _read(nvrtc, program, "ProgramLog").decode()
        kind = "CUBIN" if target.startswith("sm_") else "PTX"
        return fine, log, _read(nvrtc, program, kind) if fine else b""
    finally:
        nvrtc.nvrtcDestroyProgram(ctypes.byref(program))


def _read(nvrtc: ctypes.CDLL, program: ctypes.c_void_p, what: str) -> bytes:
    size = ctypes.c_size_t()
    assert getattr(nvrtc, f"nvrtcGet{what}Size")(program, ctypes.byref(size)) == 0
    held = ctypes.create_string_buffer(size.value)
    assert getattr(nvrtc, f"nvrtcGet{what}")(program, held) == 0
    return held.raw[: size.value].rstrip(b"\0") if what != "CUBIN" else held.raw


def used(log: str) -> dict[str, tuple[int, int]]:
    """Registers and spilled bytes of each kernel, from what ptxas says with -v."""
    found = {}
    for part in log.split("Compiling entry function '")[1:]:
        name = part.partition("'")[0]
        spilled = re.search(rf"properties for {name}\n.*?(\d+) bytes spill stores", part)
        registers = re.search(r"Used (\d+) registers", part)
        assert spilled is not None and registers is not None, part
        found[name] = int(registers[1]), int(spilled[1])
    return found
