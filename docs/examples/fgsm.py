"""FGSM with onnxruntime and NumPy alone, from a file that pertcore wrote once:

    pertcore differentiate model.onnx --mode value_and_vjp -o derivative.onnx
    python fgsm.py derivative.onnx digits.npz 0.1 adversarial.npy

The .npz holds `x`, inputs between 0 and 1 as the model takes them, and `y`, the labels.
"""

import sys

import numpy as np
import onnxruntime


def fgsm(session, x, y, eps):
    """x + eps sign(d cross-entropy / dx), inside 0 and 1 (Goodfellow, Shlens & Szegedy 2015)."""
    point, cotangent = (given.name for given in session.get_inputs())
    logits, gradient = (made.name for made in session.get_outputs())
    nothing = np.zeros((len(x), *session.get_outputs()[0].shape[1:]), x.dtype)
    (f,) = session.run([logits], {point: x, cotangent: nothing})
    softmax = np.exp(f - f.max(axis=1, keepdims=True))
    softmax /= softmax.sum(axis=1, keepdims=True)
    wrong = softmax - np.eye(f.shape[1], dtype=x.dtype)[y]
    (slope,) = session.run([gradient], {point: x, cotangent: wrong})
    moved = np.clip(x + np.float32(eps) * np.sign(slope), 0, 1)
    (after,) = session.run([logits], {point: moved, cotangent: nothing})
    return moved, np.mean(f.argmax(axis=1) == y), np.mean(after.argmax(axis=1) == y)


if __name__ == "__main__":
    derivative, data, budget, target = sys.argv[1:]
    samples = np.load(data)
    running = onnxruntime.InferenceSession(derivative)
    adversarial, before, after = fgsm(running, samples["x"], samples["y"], float(budget))
    np.save(target, adversarial)
    sys.stdout.write(f"right before {before:.1%}, after {after:.1%}\n")
