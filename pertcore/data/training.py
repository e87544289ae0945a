"""Perturbed batches on the fly, for adversarial training: `perturbed`."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pertcore.arrays import taken_apart
from pertcore.attacks.options import whole
from pertcore.attacks.registry import Attack, find
from pertcore.attacks.run import attack as perturb
from pertcore.errors import InputError, PertcoreWarning
from pertcore.oracle import Oracle


def perturbed(
    loader: Iterable[Any],
    model: Any,
    attack: str | Attack = "pgd",
    *,
    rng: int = 0,
    **settings: Any,
) -> Perturbed:
    """The batches of a loader, each perturbed against the model as it is when it is asked for.

    loader: whatever gives (x, y), (x, y, ...) or x alone, over and over, such as a torch
    DataLoader; x (n, *sample), y (n,) classes or (n, *out) floats. model: a torch.nn.Module, which
    is attacked in evaluation mode and left as it was, without gradients, or any oracle. attack,
    and settings such as eps, norm, bounds and steps, as `pertcore.attack` takes them. A pass over
    the result is one over the loader and gives (x_adv, y, ...) of the same kinds; each pass has
    random numbers of its own, decided by rng and the number of passes before.

    Training on the worst of a ball is Madry et al. 2018. Samples that are wrong before the attack
    come back as they are. Raises InputError for an unknown attack at once, for wrong settings and
    for a batch that is neither a tuple nor an array when it comes.
    """
    row = attack if isinstance(attack, Attack) else find(attack)
    for name in ("first_index", "evaluate_on", "callback"):
        if name in settings:
            raise InputError(f"{name}={settings[name]!r}: perturbed has no such argument")
    if not hasattr(loader, "__iter__"):
        raise InputError(f"loader is a {type(loader).__name__}: give batches, as a DataLoader does")
    return Perturbed(loader, model, row, whole("rng", rng, 0), settings)


@dataclass(eq=False)
class Perturbed:
    """What `perturbed` returns; passes counts those that were begun."""

    loader: Iterable[Any]
    model: Any
    attack: Attack
    seed: int
    settings: dict[str, Any]
    passes: int = 0
    oracle: Oracle | None = field(default=None, repr=False)

    def __len__(self) -> int:
        """Batches in a pass, where the loader knows it."""
        return len(self.loader)  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[Any]:
        seed = int(np.random.default_rng([self.seed, self.passes]).integers(2**63))
        self.passes += 1
        done = 0
        for batch in self.loader:
            x, rest = taken_apart(batch)
            x_adv = self._perturbed(x, rest[0] if rest else None, seed, done)
            done += len(x)
            yield (x_adv, *rest) if rest else x_adv

    def _perturbed(self, x: Any, y: Any, seed: int, first: int) -> Any:
        if self.oracle is None:
            self.oracle = _oracle(self.model, tuple(x.shape[1:]))
        with warnings.catch_warnings():
            # said of the first batch is enough: the rest of a training run would repeat it
            if first or self.passes > 1:
                warnings.simplefilter("ignore", PertcoreWarning)
            result = perturb(
                self.oracle, x, y, attack=self.attack, rng=seed, first_index=first, **self.settings
            )
        return result.x_adv


def _oracle(model: Any, shape: tuple[int, ...]) -> Oracle:
    if hasattr(model, "linearize"):
        return model
    if not hasattr(model, "named_parameters"):
        raise InputError(
            f"model is a {type(model).__name__}: give a torch.nn.Module, or pertcore.from_torch, "
            "pertcore.from_jax, ... of it"
        )
    from pertcore.adapters.torch.adapter import from_torch

    return from_torch(model, input_shape=shape)
