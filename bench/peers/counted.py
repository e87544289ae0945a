"""A model in PyTorch that counts its own passes, the same for every library that runs it."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import torch


class Counted(torch.nn.Module):
    """The logits of `inner`, and per-sample counts: forward runs and pulled-back cotangents.

    A batch of n counts n; c cotangents in one backward pass count c n.
    """

    def __init__(self, inner: torch.nn.Module) -> None:
        super().__init__()
        self.inner, self.forward_runs, self.backward_runs = inner, 0, 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Scores (n, K) of x (n, *sample)."""
        self.forward_runs += len(x)
        score = self.inner(x)
        if score.requires_grad:
            score.register_hook(self._pulled)
        return score

    def _pulled(self, cotangent: torch.Tensor) -> None:
        # Several cotangents at once (`is_grads_batched`) come as one tensor that hides how many;
        # taking the hidden axis out shows it, and adds an axis of 1 where there is none.
        plain = torch._remove_batch_dim(cotangent, 1, 1, 0)
        self.backward_runs += plain.numel() // plain.shape[-1]


def counted(file: Path) -> Counted:
    """The ONNX classifier by onnx2torch, in evaluation mode, its weights frozen.

    Frozen, because some libraries call `backward()`, which would differentiate the weights too.
    """
    stand_in_for_torchvision()
    from onnx2torch import convert

    return Counted(convert(str(file))).eval().requires_grad_(False)


def stand_in_for_torchvision() -> None:
    """onnx2torch imports one of its operators and adv-lib its models; neither is used here."""
    if "torchvision" not in sys.modules:
        whole: Any = ModuleType("torchvision")
        operators: Any = ModuleType("torchvision.ops")
        operators.roi_align, whole.ops, whole.models = None, operators, None
        sys.modules |= {"torchvision": whole, "torchvision.ops": operators}
