"""Bundled models and evaluation data of `pertcore demo`: digits of 8 x 8 pixels.

The data are 500 images of "Optical Recognition of Handwritten Digits" (E. Alpaydin and C. Kaynak,
1998, UCI Machine Learning Repository, CC BY 4.0) as shipped with scikit-learn, scaled to [0, 1];
both models were trained on the other 1297 by bench/train_demo.py.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pertcore.oracle import Array

ROOM = Path(__file__).resolve().parent
CLASSIFIER = ROOM / "digits_classifier.onnx"
AUTOENCODER = ROOM / "digits_autoencoder.onnx"
DATA = ROOM / "digits.npz"


def digits() -> tuple[Array, Array]:
    """Held-out images (500, 1, 8, 8) float32 in [0, 1], and their labels (500,) int64."""
    with np.load(DATA, allow_pickle=False) as stored:
        return stored["x"], stored["y"]
