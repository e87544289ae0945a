"""Trains the models that `pertcore demo` ships, by hand: python -m bench.train_demo.

A convolutional classifier and an autoencoder on scikit-learn's digits (8 x 8, scaled to [0, 1]),
written to pertcore/demo/ as standard ONNX together with the held-out images and labels. PyTorch
fits the weights. The seed fixes split, order and weights.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from bench.sequential import export

ROOM = Path(__file__).resolve().parent.parent / "pertcore" / "demo"
HELD_OUT = 500
IMAGE = (1, 8, 8)


def digits(seed: int) -> list[Any]:
    """x_train, x_test, y_train, y_test: float32 (n, 1, 8, 8) in [0, 1] and int64 (n,)."""
    data = load_digits()
    x = (data.images[:, None] / 16.0).astype(np.float32)
    y = data.target.astype(np.int64)
    return train_test_split(x, y, test_size=HELD_OUT, random_state=seed, stratify=y)


def classifier() -> torch.nn.Sequential:
    return torch.nn.Sequential(
        torch.nn.Conv2d(1, 16, 3, padding=1),
        torch.nn.ReLU(),
        torch.nn.Conv2d(16, 24, 3, stride=2, padding=1),
        torch.nn.ReLU(),
        torch.nn.Flatten(),
        torch.nn.Linear(24 * 16, 10),
    )


def autoencoder() -> torch.nn.Sequential:
    return torch.nn.Sequential(
        torch.nn.Flatten(),
        torch.nn.Linear(64, 96),
        torch.nn.ReLU(),
        torch.nn.Linear(96, 20),
        torch.nn.Linear(20, 96),
        torch.nn.ReLU(),
        torch.nn.Linear(96, 64),
        torch.nn.Sigmoid(),
        torch.nn.Unflatten(1, IMAGE),
    )


def fit(model: torch.nn.Module, x: torch.Tensor, y: torch.Tensor, epochs: int, loss: Any) -> None:
    """Adam with a one-cycle learning rate over shuffled batches of 64."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=1e-4)
    batches = -(-len(x) // 64)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 6e-3, total_steps=epochs * batches)
    for _ in range(epochs):
        for index in torch.randperm(len(x)).split(64):
            optimizer.zero_grad()
            loss(model(x[index]), y[index]).backward()
            optimizer.step()
            schedule.step()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=ROOM)
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    torch.set_num_threads(1)
    x, x_test, y, y_test = (torch.from_numpy(part) for part in digits(options.seed))

    reader, coder = classifier(), autoencoder()
    fit(reader, x, y, 40, torch.nn.functional.cross_entropy)
    fit(coder, x, x, 150, torch.nn.functional.mse_loss)
    with torch.no_grad():
        accuracy = float((reader(x_test).argmax(1) == y_test).float().mean())
        error = float(torch.nn.functional.mse_loss(coder(x_test), x_test))
    print(f"held-out accuracy {accuracy:.4f}, autoencoder mean squared error {error:.5f}")

    origin = f"scikit-learn digits, seed {options.seed}"
    onnx.save(
        export(reader, IMAGE, "logits", (10,), f"{origin}, held-out accuracy {accuracy:.4f}"),
        options.out / "digits_classifier.onnx",
    )
    onnx.save(
        export(
            coder, IMAGE, "restored", IMAGE, f"{origin}, held-out mean squared error {error:.5f}"
        ),
        options.out / "digits_autoencoder.onnx",
    )
    np.savez_compressed(options.out / "digits.npz", x=x_test.numpy(), y=y_test.numpy())


if __name__ == "__main__":
    main()
