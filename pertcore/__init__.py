"""pertcore: worst-case input perturbations of any learned function, from its derivatives."""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

PUBLIC = {
    "attack": "pertcore.attacks.run",
    "attacks": "pertcore.attacks",
    "curve": "pertcore.evaluation.curve",
    "robustness": "pertcore.evaluation.robustness",
    "compare": "pertcore.evaluation.compare",
    "run": "pertcore.evaluation.runs.run",
    "falsify": "pertcore.falsification.run",
    "data": "pertcore.data",
    "doubts": "pertcore.attacks.doubts",
    "jacobian": "pertcore.solvers.jacobian",
    "singular_vectors": "pertcore.solvers.jacobian_norms",
    "spectral_norm": "pertcore.solvers.jacobian_norms",
    "operator_norm": "pertcore.solvers.jacobian_norms",
    "from_onnx": "pertcore.adapters.onnx.adapter",
    "differentiate": "pertcore.adapters.onnx.differentiate",
    "from_torch": "pertcore.adapters.torch.adapter",
    "from_jax": "pertcore.adapters.jax",
    "from_sklearn": "pertcore.adapters.sklearn",
    "from_function": "pertcore.adapters.function",
    "from_matrix": "pertcore.adapters.matrix",
    "from_network": "pertcore.adapters.network",
    "normalized": "pertcore.adapters.normalized",
    "ensemble": "pertcore.adapters.ensemble",
    "interop": "pertcore.interop",
    "testing": "pertcore.testing",
    "errors": "pertcore.errors",
    "PertcoreWarning": "pertcore.errors",
    "Calls": "pertcore.oracle",
    "Status": "pertcore.result",
    "AttackResult": "pertcore.result",
}

# Names that need a library beyond NumPy, SciPy and Numba, and the extra that brings it.
EXTRAS = {
    "from_onnx": "onnx", "differentiate": "onnx", "falsify": "onnx", "from_torch": "torch",
    "from_jax": "jax",
}  # fmt: skip

__all__ = ["__version__", *PUBLIC]


def __getattr__(name: str) -> Any:
    if name not in PUBLIC:
        raise AttributeError(f"module 'pertcore' has no attribute {name!r}")
    module = _module(name)
    found = (
        module
        if PUBLIC[name].endswith(f".{name}") and not hasattr(module, name)
        else getattr(module, name)
    )
    globals()[name] = found
    return found


def _module(name: str) -> Any:
    """The module that holds a public name; BackendError where its library is not installed."""
    try:
        return import_module(PUBLIC[name])
    except ModuleNotFoundError as error:
        if name not in EXTRAS or str(error.name).startswith("pertcore"):
            raise
        from pertcore.errors import BackendError

        raise BackendError(
            f"pertcore.{name} needs {error.name}, which is not installed: "
            f"pip install 'pertcore[{EXTRAS[name]}]'"
        ) from error


def __dir__() -> list[str]:
    return sorted(__all__)
