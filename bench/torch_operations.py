"""The same steps written as torch operations, the way attack libraries write them, to compare with.

Each function takes the kernel's arguments as tensors and returns its result; eps broadcasts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

Tensor = torch.Tensor


def _column(eps: Tensor, like: Tensor) -> Tensor:
    return eps.to(like.dtype)[:, None]


def dual_step_inf(g: Tensor, eps: Tensor) -> Tensor:
    return -_column(eps, g) * g.sign()


def dual_step_2(g: Tensor, eps: Tensor) -> Tensor:
    return -_column(eps, g) * g / (g.norm(dim=1, keepdim=True) + 1e-12)


def dual_step_p(g: Tensor, eps: Tensor, p: float) -> Tensor:
    w = g.abs() ** (1 / (p - 1))
    return -_column(eps, g) * g.sign() * w / w.norm(p=p, dim=1, keepdim=True)


def project_inf(delta: Tensor, eps: Tensor) -> Tensor:
    e = _column(eps, delta)
    return torch.clamp(delta, -e, e)


def project_1(delta: Tensor, eps: Tensor) -> Tensor:
    e = _column(eps, delta)
    a = delta.abs()
    falling = a.sort(dim=1, descending=True).values
    count = torch.arange(1, a.shape[1] + 1, dtype=a.dtype)
    tau = (falling.cumsum(1) - e) / count
    last = (falling > tau).sum(1, keepdim=True) - 1
    return delta.sign() * (a - tau.gather(1, last).clamp(min=0)).clamp(min=0)


def project_2(delta: Tensor, eps: Tensor) -> Tensor:
    norm = delta.norm(dim=1, keepdim=True)
    return delta * torch.clamp(_column(eps, delta) / (norm + 1e-12), max=1)


def pgd_inf(
    x: Tensor, x_t: Tensor, g: Tensor, step: Tensor, eps: Tensor, lo: float, hi: float
) -> Tensor:
    e = _column(eps, x)
    delta = torch.clamp(x_t - _column(step, x) * g.sign() - x, -e, e)
    return torch.clamp(x + delta, lo, hi)


def pgd_2(
    x: Tensor, x_t: Tensor, g: Tensor, step: Tensor, eps: Tensor, lo: float, hi: float
) -> Tensor:
    delta = x_t - _column(step, x) * g / (g.norm(dim=1, keepdim=True) + 1e-12) - x
    norm = delta.norm(dim=1, keepdim=True)
    return torch.clamp(x + delta * torch.clamp(_column(eps, x) / norm, max=1), lo, hi)


def lmo_box_2(g: Tensor, x: Tensor, eps: Tensor, lo: float, hi: float) -> Tensor:
    low, high = lo - x, hi - x
    small, large = torch.zeros(len(x), 1), torch.full((len(x), 1), 1e6)
    for _ in range(40):
        t = (small + large) / 2
        over = torch.clamp(-t * g, low, high).norm(dim=1, keepdim=True) > _column(eps, x)
        small, large = torch.where(over, small, t), torch.where(over, t, large)
    return torch.clamp(-small * g, low, high)


def finish_inf(x: Tensor, z: Tensor, eps: Tensor, lo: float, hi: float) -> Tensor:
    e = _column(eps, x)
    return torch.clamp(torch.clamp(z, x - e, x + e), lo, hi)


OPERATIONS: dict[str, Callable[..., Any]] = {
    f.__name__: f
    for f in (
        dual_step_inf,
        dual_step_2,
        dual_step_p,
        project_inf,
        project_1,
        project_2,
        pgd_inf,
        pgd_2,
        lmo_box_2,
        finish_inf,
    )
}


def as_tensor(value: Any) -> Any:
    """A tensor on the same memory for an array, anything else as it is."""
    return torch.from_numpy(value) if hasattr(value, "__array__") else value
