"""What a model does to two random samples: its output's shape, and what would make it lie."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch

from pertcore.adapters.parts import Part
from pertcore.adapters.torch.undisturbed import SEED, Around
from pertcore.errors import CapabilityError

APART = 1e-3
SAMPLES = 2


class Runner(Protocol):
    """What is probed: a run of the model on a tensor (n, *in)."""

    around: Around

    def run(self, x: torch.Tensor) -> torch.Tensor:
        """The chosen output (n, *out)."""

    def parts(self, x: torch.Tensor) -> dict[str, Part]:
        """Where each of several outputs lies in it."""


@dataclass(frozen=True)
class Found:
    """`writes`: the model writes into its input, which must then be a copy."""

    output_shape: tuple[int, ...]
    parts: dict[str, Part]
    writes: bool
    notes: tuple[str, ...]


def probe(runner: Runner, shape: tuple[int, ...], like: torch.Tensor) -> Found:
    """Runs the model on two samples drawn from [0, 1), and on one of them beside another.

    Raises InputError for outputs that are no (n, ...) floats, CapabilityError where the output
    depends on the input but no graph leads there.
    """
    generator = torch.Generator().manual_seed(SEED)
    x = torch.rand(SAMPLES, *shape, generator=generator, dtype=like.dtype).to(like.device)
    random = runner.around.random
    with runner.around.running(graph=False, random=random):
        given = x.clone()
        version = given._version
        value = runner.run(given).detach()
        writes = given._version != version
    with runner.around.running(graph=False, random=random):
        beside = runner.run(torch.cat([x[:1], 1 - x[1:]])).detach()
        parts = runner.parts(x.clone())
    notes = [*_training(runner.around), *_together(runner.around, value[:1], beside[:1])]
    if not _has_graph(runner, x, writes):
        notes.append(_without_graph(runner, x, value, random))
    return Found(tuple(value.shape[1:]), parts, writes, tuple(notes))


def _has_graph(runner: Runner, x: torch.Tensor, writes: bool) -> bool:
    with runner.around.running(graph=True, random=runner.around.random):
        # Made in here: under inference_mode a tensor never takes part in a graph.
        leaf = x.clone().requires_grad_()
        value = runner.run(leaf.clone() if writes else leaf)
        if not value.requires_grad:
            return False
        ones = torch.ones_like(value)
        return torch.autograd.grad(value, leaf, ones, allow_unused=True)[0] is not None


def _without_graph(
    runner: Runner, x: torch.Tensor, value: torch.Tensor, random: list[torch.Tensor]
) -> str:
    with runner.around.running(graph=False, random=random):
        other = runner.run(1 - x).detach()
    if not torch.equal(value, other):
        raise CapabilityError(
            "the model's output depends on the input, but autograd sees no path between them: it "
            "runs under torch.no_grad or inference_mode, detaches, or leaves PyTorch; take that "
            "out, or use pertcore.from_function with a vjp of its own"
        )
    return "the output does not depend on the input: gradients are zero"


def _training(around: Around) -> list[str]:
    if not around.training:
        return []
    return [
        "the module is in training mode: it is run in evaluation mode (no dropout, stored batch "
        "statistics) and put back after every run"
    ]


def _together(around: Around, value: torch.Tensor, beside: torch.Tensor) -> list[str]:
    """Samples must not feel their neighbours: batch statistics at inference make them."""
    layers = [
        name or type(m).__name__
        for root in around.roots
        for name, m in root.named_modules()
        if isinstance(m, torch.nn.modules.batchnorm._BatchNorm) and m.running_mean is None
    ]
    scale = float(value.abs().max()) if value.numel() else 0.0
    gap = float((value - beside).abs().max()) if value.numel() else 0.0
    if not layers and not gap > APART * scale:
        return []
    why = f"layer {layers[0]!r} keeps no running statistics" if layers else "it uses the batch"
    return [
        f"a sample gets another answer beside another one ({why}): samples feel each other, and no "
        "result for one of them is its own"
    ]
