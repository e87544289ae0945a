"""pertcore's attacks where a Foolbox or an ART attack is expected, and those libraries' models as
oracles."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

from pertcore.attacks.registry import Attack, find
from pertcore.attacks.run import attack as run_attack
from pertcore.errors import BackendError, InputError

Own = TypeVar("Own", bound=Callable[..., Any])
TAKEN = ("x", "y", "oracle", "targeted", "eps", "bounds", "mask", "evaluate_on", "callback")


def _needs(library: str) -> Callable[[Own], Own]:
    """BackendError with the package to install where the library, or one it needs, is missing."""

    def decorate(function: Own) -> Own:
        @wraps(function)
        def guarded(*args: Any, **settings: Any) -> Any:
            try:
                return function(*args, **settings)
            except ModuleNotFoundError as error:
                if str(error.name).startswith("pertcore"):
                    raise
                raise BackendError(
                    f"pertcore.interop.{function.__name__} needs {error.name}, which is not "
                    f"installed: pip install {library}"
                ) from error

        return guarded  # type: ignore[return-value]

    return decorate


def _checked(attack: str | Attack, settings: dict[str, Any], given_by: str) -> Attack:
    row = attack if isinstance(attack, Attack) else find(attack)
    for name in TAKEN:
        if name in settings:
            raise InputError(f"{name}={settings[name]!r}: {given_by}")
    shared = inspect.signature(run_attack).parameters
    row.checked({name: value for name, value in settings.items() if name not in shared})
    return row


@_needs("foolbox")
def foolbox_attack(attack: str | Attack, **settings: Any) -> Any:
    """An attack of pertcore as a Foolbox attack: `(fmodel, inputs, criterion, *, epsilons)`.

    `attack` is a name of the registry; `settings` are those of `pertcore.attack` and the attack's
    own options (norm="inf", steps, rng, ...); epsilons, bounds and targets come from the call, the
    model and the criterion, as in Foolbox. Minimum-norm attacks become MinimizationAttacks, all
    others FixedEpsilonAttacks; `.repeat(times)` multiplies the restarts. Foolbox judges success
    itself, so a sample that is misclassified from the start counts as a success with no change;
    both arrays of points lie inside ball and box exactly.

    Raises InputError for a setting that the call brings, or an option the attack does not have;
    BackendError where Foolbox is not installed.
    """
    row = _checked(attack, settings, "Foolbox gives it with the call, the model or the criterion")
    from pertcore.interop.foolbox import as_foolbox

    return as_foolbox(row, settings)


@_needs("foolbox")
def from_foolbox(fmodel: Any, inputs: Any) -> Any:
    """Oracle of a Foolbox model, preprocessing included: x, eps and bounds in its own units.

    `inputs` (n, *sample), tensors of PyTorch or arrays of JAX, say shape, dtype and device. Raises
    InputError for models of other frameworks.
    """
    from pertcore.interop.foolbox import oracle_of

    return oracle_of(fmodel, inputs)


@_needs("adversarial-robustness-toolbox")
def art_attack(
    estimator: Any, attack: str | Attack, *, eps: Any = None, targeted: bool = False,
    **settings: Any,
) -> Any:  # fmt: skip
    """An attack of pertcore as an ART evasion attack: `.generate(x, y, mask=)` on a classifier.

    `eps` as in `pertcore.attack`; the box is the estimator's clip_values. `settings` are the rest
    of `pertcore.attack` and the attack's own options. y: (n,) classes or one-hot (n, K), None takes
    the model's own answers; a sample that is not classified as y comes back as it is. mask: 0 or
    False where a feature is frozen. The last `AttackResult` is kept in `.result`.

    Raises InputError for an option the attack does not have, ART's EstimatorError for an estimator
    that is no classifier; BackendError where ART is not installed.
    """
    row = _checked(attack, settings, "ART gives it with the estimator or with generate")
    from pertcore.interop.art import as_art

    return as_art(estimator, row, {**settings, "eps": eps, "targeted": targeted})


@_needs("adversarial-robustness-toolbox")
def from_art(estimator: Any) -> Any:
    """Oracle of an ART classifier, its preprocessing included, postprocessing left out.

    PyTorch classifiers are differentiated as `pertcore.from_torch` does it. Others answer by
    `predict` and `class_gradient`, a backward pass for each class; those without gradients by
    finite differences, which is said.
    """
    from pertcore.interop.art import oracle_of

    return oracle_of(estimator)
