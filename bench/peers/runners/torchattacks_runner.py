"""torchattacks 3.5.1: PGD, APGD, DeepFool, and AutoAttack's four parts."""

from __future__ import annotations

import torch
import torchattacks

from bench.peers.serving import Task, serve, torch_attempt

# AutoAttack's standard version (Croce and Hein 2020; github.com/fra31/auto-attack): 100 steps of
# each gradient part, nine target classes, 5000 queries. torchattacks' class leaves the steps at
# its own default of 10.
STEPS, CLASSES, QUERIES = 100, 10, 5000


def pgd(task: Task, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    steps, relative = task.options["steps"], task.options["rel_step_size"]
    settings = {"eps": task.eps, "alpha": relative * task.eps / steps, "steps": steps}
    kind = torchattacks.PGD if task.linf else torchattacks.PGDL2
    return kind(task.model, **settings)(x, y)


def apgd(task: Task, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    norm = "Linf" if task.linf else "L2"
    attack = torchattacks.APGD(
        task.model, norm=norm, eps=task.eps, steps=task.options["steps"], seed=task.seed
    )
    return attack(x, y)


def deepfool(task: Task, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return torchattacks.DeepFool(task.model, steps=task.options["steps"])(x, y)


def autoattack(task: Task, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """The four parts with the steps of the standard version, survivors alone going on."""
    model = task.model
    shared = {"norm": "Linf" if task.linf else "L2", "eps": task.eps, "seed": task.seed}
    parts = [
        torchattacks.APGD(model, steps=STEPS, loss="ce", **shared),
        torchattacks.APGDT(model, steps=STEPS, n_classes=CLASSES, **shared),
        torchattacks.FAB(model, steps=STEPS, multi_targeted=True, n_classes=CLASSES, **shared),
        torchattacks.Square(model, n_queries=QUERIES, **shared),
    ]
    return torchattacks.MultiAttack(parts)(x, y)


def autoattack_as_shipped(task: Task, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    attack = torchattacks.AutoAttack(
        task.model, norm="Linf" if task.linf else "L2", eps=task.eps, version="standard",
        n_classes=CLASSES, seed=task.seed,
    )  # fmt: skip
    return attack(x, y)


ATTACKS = {
    "pgd": pgd, "apgd": apgd, "deepfool": deepfool, "autoattack": autoattack,
    "autoattack as shipped": autoattack_as_shipped,
}  # fmt: skip

if __name__ == "__main__":
    serve(torch_attempt(ATTACKS), {})
