"""`pertcore jacobian`: what it prints is what a dense SVD says, and what it refuses."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import onnx
import pytest

import pertcore
from pertcore.cli.app import main
from pertcore.demo import AUTOENCODER, DATA, digits

COMMAND = ["jacobian", str(AUTOENCODER), "--inputs", f"{DATA}:x"]


def dense(samples: slice) -> np.ndarray:
    model = pertcore.from_onnx(AUTOENCODER)
    lin = model.linearize(digits()[0][samples])
    eye = np.eye(64, dtype=np.float32).reshape(64, 1, 1, 8, 8)
    columns = lin.jvp(np.repeat(eye, len(lin.value), axis=1))
    return columns.reshape(64, -1, 64).transpose(1, 2, 0).astype(np.float64)


def rows(text: str) -> list[list[float]]:
    lines = [re.findall(r"[\d.]+(?:e[+-]\d+)?", line) for line in text.splitlines() if "│" in line]
    return [[float(cell) for cell in line] for line in lines if line]


def test_norms_and_singular_values_of_the_first_samples(capfd: pytest.CaptureFixture[str]) -> None:
    assert main([*COMMAND, "--limit", "3", "--norm", "1,2", "--count", "4"]) == 0
    text = capfd.readouterr().out
    assert "64 outputs by 64 inputs" in text and "exact up to rounding" in text
    jacobians = dense(slice(3))
    values = np.linalg.svd(jacobians, compute_uv=False)
    shown = np.array(rows(text))
    assert shown[:, 0].tolist() == [0, 1, 2]
    np.testing.assert_allclose(shown[:, 1], np.linalg.norm(jacobians, axis=1).max(1), rtol=1e-5)
    np.testing.assert_allclose(shown[:, 3], values[:, 0], rtol=1e-5)
    np.testing.assert_allclose(shown[:, 5:9], values[:, :4], rtol=1e-5)
    assert np.all(shown[:, 2] >= shown[:, 1]) and np.all(shown[:, 4] >= shown[:, 3])


def test_one_sample_and_its_vectors_in_a_file(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "new" / "vectors.npz"
    flags = ["--index", "7", "--count", "2", "--norm", "2,inf", "--out", str(target)]
    assert main([*COMMAND, *flags]) == 0
    assert str(target) in capfd.readouterr().out
    (jacobian,) = dense(slice(7, 8))
    with np.load(target) as held:
        assert held["index"].tolist() == [7]
        assert held["right"].shape == (1, 2, 1, 8, 8) and held["left"].shape == (1, 2, 1, 8, 8)
        for i in range(2):
            image = jacobian @ held["right"][0, i].ravel()
            expected = held["singular_values"][0, i] * held["left"][0, i].ravel()
            np.testing.assert_allclose(image, expected, atol=1e-4)
        signs = held["vector_inf"][0].ravel()
        assert np.all(np.abs(signs) == 1)
        np.testing.assert_allclose(np.linalg.norm(jacobian @ signs), held["norm_inf"][0], rtol=1e-4)
        assert held["upper_inf"][0] >= held["norm_inf"][0]


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--norm", "0.5"], "--norm 0.5"),
        (["--norm", "two"], "--norm two"),
        (["--count", "65"], "--count 65: a Jacobian of this model has 64"),
        (["--count", "0"], "--count 0"),
        (["--index", "500"], "--index 500: the data has samples 0 to 499"),
        (["--index", "-1"], "--index -1"),
        (["--max-memory", "lots"], "--max-memory lots"),
        (["--out", "vectors.txt"], "--out vectors.txt: expected a file such as"),
        (["--inputs", "nowhere.npy"], "--inputs nowhere.npy"),
        (["--threads", "0"], "--threads 0"),
        (["--limit", "0"], "--limit 0"),
    ],
)
def test_what_is_wrong_is_one_line(
    flags: list[str], told: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main([*COMMAND, "--limit", "500", *flags]) == 2
    shown = capfd.readouterr()
    assert shown.out == "" and shown.err.count("\n") == 1 and told in shown.err


def test_inputs_are_needed(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["jacobian", str(AUTOENCODER)]) == 2
    assert "--inputs is missing" in capfd.readouterr().err


def test_a_jacobian_that_is_not_finite_is_a_warning(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """sqrt has no derivative at 0."""
    info = onnx.helper.make_tensor_value_info
    node = onnx.helper.make_node("Sqrt", ["x"], ["y"])
    graph = onnx.helper.make_graph([node], "g", [info("x", 1, ["n", 4])], [info("y", 1, ["n", 4])])
    opset = onnx.helper.make_opsetid("", 18)
    onnx.save(onnx.helper.make_model(graph, opset_imports=[opset], ir_version=10), tmp_path / "m")
    np.save(tmp_path / "x.npy", np.array([[1, 1, 1, 4], [1, 0, 1, 1]], np.float32))
    given = ["jacobian", str(tmp_path / "m"), "--inputs", str(tmp_path / "x.npy"), "--count", "2"]
    assert main(given) == 0
    shown = capfd.readouterr()
    assert "warning: the Jacobian is not finite at 1 of 2 samples" in shown.err
    assert shown.err.count("\n") == 1 and "nan" in shown.out and "0.5" in shown.out
