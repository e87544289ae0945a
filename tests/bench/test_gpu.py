"""The benchmark of a device, without one: it says so; its loops run on a stand-in for CuPy."""

import json
import subprocess
import sys

import numpy as np
import pytest

from bench import gpu, gpu_attacks
from pertcore.kernels.catalogue import DATA_ROWS, GEOMETRY, QUADRATIC_ROWS, ROWS
from tests import device_arrays
from tests.kernels.cuda import shim


@pytest.mark.skipif(not gpu.no_device(), reason="there is a device here")
def test_without_a_device_it_says_so_and_writes_nothing(tmp_path):
    out = tmp_path / "found.json"
    command = [sys.executable, "-m", "bench.gpu", "--out", str(out)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 69 and ended.stdout == ""
    assert ended.stderr.startswith("no device: CuPy ") and ended.stderr.count("\n") == 1
    assert not out.exists()


@pytest.fixture
def cupy(monkeypatch, request):
    if shim.COMPILER is None:
        pytest.skip("g++ is not installed: it runs the CUDA kernels' logic on the CPU")
    folder = request.config.cache.mkdir("pertcore_cuda")
    device_arrays.installed(monkeypatch, folder)
    return sys.modules["cupy"]


def test_every_kernel_is_measured_beside_the_copy(cupy):
    rows = list(gpu.measure_kernels(cupy, gpu.by_clock, sizes=lambda row: (2, 16), rounds=3))
    assert [row["kernel"] for row in rows] == [
        r.name for r in GEOMETRY + DATA_ROWS + QUADRATIC_ROWS
    ]
    assert {row["kernel"] for row in rows} == set(ROWS)
    for row in rows:
        assert row["us"] > 0 and row["x CPU"] > 0
        assert ("of copy" in row) == (ROWS[row["kernel"]] not in QUADRATIC_ROWS)


def test_sets_are_taken_in_turn_and_the_middle_counts():
    calls, ticks = [], iter([9.0, 1.0, 2.0, 50.0, 3.0])

    def timer(run):
        run()
        return next(ticks)

    runs = [lambda: calls.append(0), lambda: calls.append(1)]
    assert gpu.median(timer, runs, 5) == 3.0
    assert calls == [0, 1, 0, 1, 0, 1, 0]


def test_arrays_are_larger_than_a_cache():
    for row in ROWS.values():
        n, d = gpu.size_of(row)
        assert row in QUADRATIC_ROWS or 4 * n * d >= 64 << 20


def test_the_attacks_do_the_same_work(cupy, monkeypatch):
    monkeypatch.setattr(gpu_attacks, "problem", gpu_attacks.digits)
    monkeypatch.setattr(gpu_attacks, "ROUNDS", 1)
    monkeypatch.setattr(gpu_attacks, "EPS", 0.1)
    monkeypatch.setattr(gpu_attacks, "STEP", 0.05)
    found = gpu_attacks.measure_attacks(cupy, samples=32, steps=5, device="cpu")
    names = [row["who"] for row in found["rows"]]
    assert names[:2] == ["pertcore, ONNX Runtime CUDA", "pertcore, ONNX Runtime CPU"]
    fooled = [row["fooled"] for row in found["rows"]]
    assert fooled[0] == fooled[1] > 0
    assert np.allclose(fooled, fooled[0], atol=0.1)
    assert all(row["images_per_s"] > 0 for row in found["rows"])


def test_the_page_has_every_figure(tmp_path, monkeypatch):
    found = {
        "machine": {"time": "2026-11-27T01", "processor": "P", "cores": 2, "versions": {}},
        "device": "Test Card", "driver": 13000,
        "kernels": [
            {"kernel": "pgd_inf", "n": 2, "d": 3, "us": 1.5, "GB_per_s": 2.0, "of copy": 0.875,
             "x CPU": 12.5},
            {"kernel": "mixing", "n": 2, "d": 3, "us": 4.0, "x CPU": 3.0},
        ],
        "attacks": {"model": "m.onnx", "samples": 4, "steps": 7,
                    "rows": [{"who": "pertcore", "images_per_s": 123.4, "fooled": 0.5}]},
    }  # fmt: skip
    monkeypatch.setattr(gpu, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(gpu, "PAGES", tmp_path / "pages")
    gpu.write(found)
    text = (tmp_path / "pages" / "2026-11-27-test-card.md").read_text()
    assert json.loads((tmp_path / "results" / "2026-11-27-test-card.json").read_text()) == found
    assert "| pgd_inf | 2 | 3 | 1.5 | 2 | 0.875 | 12.5 |" in text
    assert "| mixing | 2 | 3 | 4 | - | - | 3 |" in text
    assert "| pertcore | 123 | 0.5 |" in text and "PGD, 7 steps, 4 images, m.onnx" in text
