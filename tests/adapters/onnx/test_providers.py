"""What is said of devices: by a driver and a library that stand in, since none may be here."""

from __future__ import annotations

import ctypes

import onnxruntime
import pytest

from pertcore.adapters.onnx import providers
from pertcore.errors import BackendError

CUDA = providers.CUDA


class Driver:
    """Two cards, or as many as said."""

    def __init__(self, *, start=0, version=13000, count=2):
        self.start, self.version, self.count = start, version, count

    def cuInit(self, flags):
        return self.start

    def cuDriverGetVersion(self, out):
        out._obj.value = self.version

    def cuDeviceGetCount(self, out):
        out._obj.value = self.count

    def cuDeviceGetName(self, buffer, size, number):
        buffer.value = f"Card {number}".encode()

    def cuDeviceTotalMem_v2(self, out, number):
        out._obj.value = 80 << 30


def loading(driver=None, library=None):
    """Opens the driver, and the library of the provider, or fails with their error."""

    def load(name):
        found = driver if name == providers.DRIVER else library
        if isinstance(found, str):
            raise OSError(found)
        return found

    return load


@pytest.fixture
def built_in(monkeypatch):
    known = [CUDA, "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: known)
    monkeypatch.setattr(onnxruntime, "cuda_version", "12.8", raising=False)


def test_without_the_provider_it_says_what_to_install():
    told = providers.providers(loading(Driver()))
    assert told["CPUExecutionProvider"] == "the CPU"
    if CUDA not in onnxruntime.get_available_providers():
        assert "pertcore[onnx-gpu]" in told[CUDA]


def test_every_card_is_named(built_in):
    told = providers.providers(loading(Driver()))[CUDA]
    assert told == "device 0: Card 0, 80 GiB; device 1: Card 1, 80 GiB"


@pytest.mark.parametrize(
    ("driver", "library", "said"),
    [
        (
            Driver(),
            "libcudnn.so.9: cannot open shared object file",
            "libcudnn.so.9 .*of cuDNN .*12",
        ),
        (Driver(), "libcublas.so.12: cannot open shared object file: No", "a part of CUDA .*12.8"),
        (Driver(), "undefined symbol: f", "undefined symbol"),
        ("libcuda.so.1: not there", None, "no NVIDIA driver here"),
        (Driver(start=100), None, "cuInit gives 100"),
        (Driver(count=0), None, "sees no card"),
        (Driver(version=11080), None, "driver is for CUDA 11 and this onnxruntime for CUDA 12"),
    ],
)
def test_it_says_why_a_provider_does_not_load(built_in, driver, library, said):
    with pytest.raises(BackendError, match=said):
        providers._check_library(loading(driver, library))
        providers.cards(loading(driver, library))
    assert providers.providers(loading(driver, library))[CUDA].startswith("does not load: ")


def test_the_driver_of_this_machine_is_asked():
    try:
        assert providers.cards(ctypes.CDLL)
    except BackendError as error:
        assert "driver" in str(error)
