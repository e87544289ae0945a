"""Foolbox's classes around an attack of pertcore: it runs, Foolbox clips, judges and hands out."""

from __future__ import annotations

from typing import Any

import eagerpy
import numpy as np
from foolbox.attacks.base import (
    FixedEpsilonAttack,
    MinimizationAttack,
    get_criterion,
    raise_if_kwargs,
)
from foolbox.criteria import Misclassification, TargetedMisclassification
from foolbox.distances import LpDistance

from pertcore.arrays import as_numpy
from pertcore.attacks.registry import Attack
from pertcore.attacks.run import attack as run_attack
from pertcore.closed_form import exact
from pertcore.closed_form.norms import row_norms
from pertcore.constraints import parse_eps, parse_norm
from pertcore.errors import InputError
from pertcore.oracle import Oracle


def oracle_of(fmodel: Any, inputs: Any) -> Oracle:
    """The Foolbox model as an oracle of samples such as `inputs`, by its framework."""
    sample = eagerpy.astensor(inputs)
    if isinstance(sample, eagerpy.PyTorchTensor):
        from pertcore.adapters.torch.adapter import from_torch

        kind = str(sample.raw.dtype).removeprefix("torch.")
        return from_torch(
            fmodel, input_shape=sample.shape[1:], dtype=kind, device=sample.raw.device
        )
    if isinstance(sample, eagerpy.JAXTensor):
        from pertcore.adapters.jax import from_jax

        return from_jax(fmodel, input_shape=sample.shape[1:], dtype=np.dtype(sample.dtype))
    raise InputError(
        f"inputs are {type(sample.raw).__name__}: Foolbox models of PyTorch and JAX can be attacked"
    )


class ExactDistance(LpDistance):
    """Foolbox's l_p distance with pertcore's clipping: inside the ball as stored, for every p."""

    def __call__(self, references: Any, perturbed: Any) -> Any:
        x, z, restore = _pair(references, perturbed)
        return restore(row_norms(z.astype(np.float64) - x, self.p).astype(x.dtype))

    def clip_perturbation(self, references: Any, perturbed: Any, epsilon: float) -> Any:
        """`perturbed` drawn toward `references` until inside the ball; who is inside stays."""
        x, z, restore = _pair(references, perturbed)
        shape, budget = perturbed.shape, parse_eps(epsilon, len(x))
        inside = row_norms(z.astype(np.float64) - x, self.p) <= budget
        drawn = exact.finish(x, z, budget, self.p, -np.inf, np.inf)
        return restore(np.where(inside[:, None], z, drawn).reshape(shape))


def _pair(references: Any, perturbed: Any) -> Any:
    """Two batches as flat NumPy rows, and what turns an array back into the caller's kind."""
    raw = getattr(references, "raw", references)
    x, restore = as_numpy(raw, "references")
    z, _ = as_numpy(getattr(perturbed, "raw", perturbed), "perturbed")
    wrapped = eagerpy.astensor if raw is not references else lambda array: array
    flat = (np.ascontiguousarray(rows.reshape(len(rows), -1)) for rows in (x, z))
    return *flat, lambda array: wrapped(restore(array))


class _Own:
    """What both kinds share: the attack, its settings and the distance of its norm."""

    def __init__(self, attack: Attack, settings: dict[str, Any]) -> None:
        self.attack, self.settings = attack, settings
        self.order = parse_norm(settings.get("norm", "inf"), zero=True)

    @property
    def distance(self) -> ExactDistance:
        """The norm that epsilons are in."""
        return ExactDistance(self.order)

    def repeat(self, times: int) -> Any:
        """The same attack with `times` as many restarts; itself where nothing is random."""
        if "restarts" not in self.attack.options:
            return self
        restarts = times * self.settings.get("restarts", self.attack.options["restarts"])
        return type(self)(self.attack, {**self.settings, "restarts": restarts})

    def found(self, model: Any, inputs: Any, criterion: Any, epsilon: float | None) -> Any:
        x = eagerpy.astensor(inputs)
        y, targeted = _labels(criterion)
        result = run_attack(
            oracle_of(model, x.raw), x.raw, y, attack=self.attack, eps=epsilon,
            bounds=tuple(model.bounds), targeted=targeted, **self.settings,
        )  # fmt: skip
        return eagerpy.astensor(result.x_adv) if x is inputs else result.x_adv


class FixedBudget(_Own, FixedEpsilonAttack):
    """An attack that is given its budget."""

    def run(self, model: Any, inputs: Any, criterion: Any, *, epsilon: float, **kwargs: Any) -> Any:
        """Points inside the ball of `epsilon` and the model's bounds."""
        raise_if_kwargs(kwargs)
        return self.found(model, inputs, criterion, epsilon)


class SmallestNorm(_Own, MinimizationAttack):
    """An attack that looks for the smallest perturbation."""

    def run(
        self, model: Any, inputs: Any, criterion: Any, *, early_stop: float | None = None,  # noqa: ARG002
        **kwargs: Any,
    ) -> Any:  # fmt: skip
        """The nearest points found; `early_stop` is not used, so that one run serves every eps."""
        raise_if_kwargs(kwargs)
        return self.found(model, inputs, criterion, None)


def as_foolbox(attack: Attack, settings: dict[str, Any]) -> FixedBudget | SmallestNorm:
    """The object that `pertcore.interop.foolbox_attack` returns."""
    return (SmallestNorm if attack.minimum_norm else FixedBudget)(attack, settings)


def _labels(criterion: Any) -> tuple[Any, bool]:
    known = get_criterion(criterion)
    if isinstance(known, Misclassification):
        return known.labels.raw, False
    if isinstance(known, TargetedMisclassification):
        return known.target_classes.raw, True
    raise InputError(f"criterion={known!r}: Misclassification or TargetedMisclassification")
