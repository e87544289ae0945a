"""ART's evasion attack around an attack of pertcore, and ART's classifiers as oracles."""

from __future__ import annotations

from typing import Any

import numpy as np
from art.attacks.attack import EvasionAttack
from art.estimators import BaseEstimator
from art.estimators.classification.classifier import ClassGradientsMixin, ClassifierMixin
from art.estimators.pytorch import PyTorchEstimator

from pertcore.adapters.function import from_function
from pertcore.attacks.registry import Attack
from pertcore.attacks.run import attack as run_attack
from pertcore.oracle import Array, Oracle
from pertcore.result import AttackResult


def oracle_of(estimator: Any) -> Oracle:
    """The ART classifier as an oracle, by what it can differentiate."""
    shape = tuple(estimator.input_shape)
    if isinstance(estimator, PyTorchEstimator):
        from pertcore.adapters.torch.adapter import from_torch

        return from_torch(_torch_function(estimator), input_shape=shape)
    gradients = isinstance(estimator, ClassGradientsMixin)
    return from_function(
        estimator.predict, vjp=_by_class(estimator) if gradients else None, input_shape=shape,
        output_shape=(estimator.nb_classes,),
    )  # fmt: skip


def _torch_function(estimator: Any) -> Any:
    def answer(x: Any) -> Any:
        for step in estimator.preprocessing_operations:
            x = step.forward(x)[0] if step.apply_predict else x
        given = estimator.model(x)
        return given[-1] if isinstance(given, tuple | list) else given

    return answer


def _by_class(estimator: Any) -> Any:
    def vjp(x: Array, v: Array) -> Array:
        rows = estimator.class_gradient(x)
        return np.einsum("nk,nk...->n...", v, rows).astype(x.dtype)

    return vjp


class PertcoreAttack(EvasionAttack):
    """What `pertcore.interop.art_attack` returns; `result` is the last `AttackResult`."""

    attack_params = (*EvasionAttack.attack_params, "eps", "targeted", "settings")
    _estimator_requirements = (BaseEstimator, ClassifierMixin)

    def __init__(self, estimator: Any, attack: Attack, settings: dict[str, Any]) -> None:
        super().__init__(estimator=estimator)
        self.attack, self.settings = attack, settings
        self.eps, self._targeted = settings.pop("eps"), bool(settings.pop("targeted"))
        self.result: AttackResult | None = None

    def generate(self, x: Array, y: Array | None = None, **kwargs: Any) -> Array:
        """x_adv (n, *sample) float32 for x; y and mask as `pertcore.interop.art_attack` says."""
        mask = kwargs.pop("mask", None)
        if kwargs:
            raise TypeError(f"generate() has no argument {next(iter(kwargs))!r}")
        labels = y if y is None or np.ndim(y) == 1 else np.argmax(y, axis=1)
        self.result = run_attack(
            oracle_of(self.estimator), np.asarray(x, dtype=np.float32), labels, attack=self.attack,
            eps=self.eps, bounds=self.estimator.clip_values, targeted=self.targeted,
            mask=mask if mask is None else np.asarray(mask) != 0, **self.settings,
        )  # fmt: skip
        return self.result.x_adv


def as_art(estimator: Any, attack: Attack, settings: dict[str, Any]) -> PertcoreAttack:
    """The object that `pertcore.interop.art_attack` returns."""
    return PertcoreAttack(estimator, attack, settings)
