"""Foolbox 3.3.4: PGD, also over many budgets, FMN, DDN, DeepFool and its l1 projection."""

from __future__ import annotations

import math

import eagerpy
import foolbox
import torch
from foolbox.attacks import fast_minimum_norm

from bench.peers.serving import Rows, Task, serve, torch_attempt

FMN = {
    0: foolbox.attacks.L0FMNAttack, 1: foolbox.attacks.L1FMNAttack,
    2: foolbox.attacks.L2FMNAttack, math.inf: foolbox.attacks.LInfFMNAttack,
}  # fmt: skip


def _run(task: Task, attack: foolbox.Attack, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    model = foolbox.PyTorchModel(task.model, bounds=(0, 1), device="cpu")
    if task.eps is not None:
        return attack(model, x, y, epsilons=task.eps)[1]
    return attack(model, x, y, epsilons=None)[0]


def pgd(task: Task, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    steps, relative = task.options["steps"], task.options["rel_step_size"]
    kind = foolbox.attacks.LinfPGD if task.linf else foolbox.attacks.L2PGD
    return _run(task, kind(steps=steps, rel_stepsize=relative / steps), x, y)


def curve(task: Task, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """PGD at every budget, as Foolbox has it: (n, m, *sample) of m budgets."""
    steps, relative = task.options["steps"], task.options["rel_step_size"]
    kind = foolbox.attacks.LinfPGD if task.linf else foolbox.attacks.L2PGD
    attack = kind(steps=steps, rel_stepsize=relative / steps)
    model = foolbox.PyTorchModel(task.model, bounds=(0, 1), device="cpu")
    return torch.stack(attack(model, x, y, epsilons=task.options["grid"])[1], dim=1)


def fmn(task: Task, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return _run(task, FMN[task.norm](**task.options), x, y)


def ddn(task: Task, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return _run(task, foolbox.attacks.DDNAttack(**task.options), x, y)


def deepfool(task: Task, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    kinds = foolbox.attacks.LinfDeepFoolAttack, foolbox.attacks.L2DeepFoolAttack
    return _run(task, kinds[not task.linf](**task.options), x, y)


def sorted_projection(rows: Rows, radius: float) -> Rows:
    given = eagerpy.astensor(torch.from_numpy(rows))
    radii = eagerpy.full(given, (len(rows),), radius)
    return fast_minimum_norm.project_onto_l1_ball(given, radii).numpy()


ATTACKS = {"pgd": pgd, "curve": curve, "fmn": fmn, "ddn": ddn, "deepfool": deepfool}

if __name__ == "__main__":
    serve(torch_attempt(ATTACKS), {"l1": sorted_projection})
