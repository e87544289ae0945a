"""adv-lib 0.2.8: PGD, APGD, FMN, sigma-zero, DDN, DeepFool and its l1 projection."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import torch

from bench.peers.counted import stand_in_for_torchvision
from bench.peers.serving import Rows, Task, serve, torch_attempt

stand_in_for_torchvision()
# adv-lib imports visdom to draw progress in a browser, which nobody asks for here.
sys.modules["visdom"] = SimpleNamespace(Visdom=object)  # type: ignore[assignment]

from adv_lib import attacks  # noqa: E402
from adv_lib.utils.projections import l1_ball_euclidean_projection  # noqa: E402


def pgd(task: Task, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    steps, relative = task.options["steps"], task.options["rel_step_size"] / task.options["steps"]
    return attacks.pgd_linf(task.model, x, y, task.eps, steps=steps, relative_step_size=relative)


def apgd(task: Task, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    steps = task.options["steps"]
    return attacks.apgd(
        task.model, x, y, task.eps, task.norm, n_iter=steps, loss_function=task.options["loss"]
    )


def fmn(task: Task, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    options = dict(task.options)
    if "max_stepsize" in options:
        options["\N{GREEK SMALL LETTER ALPHA}_init"] = options.pop("max_stepsize")
    return attacks.fmn(task.model, x, y, task.norm, **options)


def sigma_zero(task: Task, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return attacks.sigma_zero(task.model, x, y, **task.options)


def ddn(task: Task, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Without rounding to 256 levels, which the others do not do either."""
    return attacks.ddn(task.model, x, y, levels=None, **task.options)


def deepfool(task: Task, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return attacks.df(task.model, x, y, norm=task.norm, **task.options)


def sorted_projection(rows: Rows, radius: float) -> Rows:
    return l1_ball_euclidean_projection(torch.from_numpy(rows), radius).numpy()


ATTACKS = {
    "pgd": pgd, "apgd": apgd, "fmn": fmn, "sigma_zero": sigma_zero, "ddn": ddn,
    "deepfool": deepfool,
}  # fmt: skip

if __name__ == "__main__":
    serve(torch_attempt(ATTACKS), {"l1": sorted_projection})
