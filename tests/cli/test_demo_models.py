"""The shipped models and data: small, standard, and as good as their makers say."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest

from pertcore.demo import AUTOENCODER, CLASSIFIER, DATA, digits


def test_they_are_small() -> None:
    assert sum(path.stat().st_size for path in (CLASSIFIER, AUTOENCODER, DATA)) < 200_000


@pytest.mark.parametrize("path", [CLASSIFIER, AUTOENCODER], ids=lambda path: path.stem)
def test_they_are_standard_onnx(path) -> None:  # type: ignore[no-untyped-def]
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    assert model.ir_version <= 10
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 18)]
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "n"


def test_data_are_images_in_the_unit_box() -> None:
    x, y = digits()
    assert x.shape == (500, 1, 8, 8) and x.dtype == np.float32 and y.dtype == np.int64
    assert x.min() == 0 and x.max() == 1
    assert np.bincount(y, minlength=10).min() >= 40


def test_classifier_is_accurate() -> None:
    x, y = digits()
    session = onnxruntime.InferenceSession(CLASSIFIER, providers=["CPUExecutionProvider"])
    logits = session.run(None, {"image": x})[0]
    assert np.mean(logits.argmax(1) == y) > 0.96
    assert not np.allclose(np.exp(logits).sum(1), 1)


def test_autoencoder_restores() -> None:
    x, _ = digits()
    session = onnxruntime.InferenceSession(AUTOENCODER, providers=["CPUExecutionProvider"])
    restored = session.run(None, {"image": x})[0]
    assert restored.shape == x.shape
    assert np.mean((restored - x) ** 2) < 0.006 < 0.1 * np.mean((x - x.mean(0)) ** 2) + 0.006
