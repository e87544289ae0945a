"""ART 1.20.1: PGD, APGD, DeepFool and its two l1 projections."""

from __future__ import annotations

import numpy as np
import torch
from art.attacks import evasion
from art.estimators.classification import PyTorchClassifier
from art.utils import projection_l1_1, projection_l1_2

from bench.peers.serving import Task, serve, torch_attempt


def _classifier(task: Task, x: torch.Tensor) -> PyTorchClassifier:
    return PyTorchClassifier(
        task.model, loss=torch.nn.CrossEntropyLoss(), input_shape=tuple(x.shape[1:]),
        nb_classes=10, clip_values=(0.0, 1.0), device_type="cpu",
    )  # fmt: skip


def _norm(task: Task) -> float:
    return np.inf if task.linf else int(task.norm)


def pgd(task: Task, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    steps = task.options["steps"]
    attack = evasion.ProjectedGradientDescent(
        _classifier(task, x), norm=_norm(task), eps=task.eps,
        eps_step=task.options["rel_step_size"] * task.eps / steps, max_iter=steps,
        num_random_init=1, batch_size=len(x), verbose=False,
    )  # fmt: skip
    return torch.from_numpy(attack.generate(x.numpy(), y=y.numpy()))


def apgd(task: Task, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    attack = evasion.AutoProjectedGradientDescent(
        _classifier(task, x), norm=_norm(task), eps=task.eps, eps_step=2 * task.eps,
        max_iter=task.options["steps"], nb_random_init=1, batch_size=len(x), verbose=False,
        loss_type="cross_entropy",
    )  # fmt: skip
    return torch.from_numpy(attack.generate(x.numpy(), y=y.numpy()))


def deepfool(task: Task, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    attack = evasion.DeepFool(
        _classifier(task, x), max_iter=task.options["steps"], epsilon=0.02, nb_grads=10,
        batch_size=len(x), verbose=False,
    )  # fmt: skip
    return torch.from_numpy(attack.generate(x.numpy(), y=y.numpy()))


ATTACKS = {"pgd": pgd, "apgd": apgd, "deepfool": deepfool}

if __name__ == "__main__":
    serve(torch_attempt(ATTACKS), {"l1": projection_l1_1, "l1, second": projection_l1_2})
