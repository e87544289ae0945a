"""Table III: rho1, rho2 and eps99 of the paper's classifiers, ours beside the printed values.

The network 784-150-100-10 is fitted in three ways, since the paper does not say how it did, and a
given ResNet-20 stands beside those of CIFAR-10.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import pertcore as pc

# Balda, Behboodi and Mathar, Table III.
PRINTED = {
    "fcnn": {"test error": 0.017, "rho1": 0.036, "rho2": 0.034, "eps99": 0.076},
    "lenet5": {"test error": 0.009, "rho1": 0.077, "rho2": 0.061, "eps99": 0.164},
    "nin": {"test error": 0.138, "rho1": 0.012, "rho2": 0.004, "eps99": 0.018},
    "densenet40": {"test error": 0.052, "rho1": 0.006, "rho2": 0.002, "eps99": 0.010},
}
# Fitted otherwise: the row of the table that it belongs to.
ROW = {"fcnn-adam": "fcnn", "fcnn-adam-decay": "fcnn"}


def measured(model: Any, x: np.ndarray, y: np.ndarray) -> dict[str, Any]:
    """The measures of one network on all samples, by DeepFool as the paper ran it: p = inf, at most
    50 steps; and, "refined", by the rounds towards a nearer point that are pertcore's default."""
    settings: dict[str, Any] = {"attack": "deepfool", "norm": "inf", "steps": 50}
    settings["batch_size"] = 1000 if x[0].size < 1000 else 50
    r = pc.robustness(model, x, y, refine=0, **settings)
    nearer = pc.robustness(model, x, y, **settings)
    return {
        "samples": len(x), "test error": 1 - float(r.attackable.mean()), "rho1": r.rho1,
        "rho2": r.rho2, "eps99": r.eps99, "rho1 refined": nearer.rho1,
        "eps99 refined": nearer.eps99,
        "not fooled": int(np.isinf(r.norms[r.attackable]).sum()),
        "seconds": r.seconds + nearer.seconds, "warnings": list(r.warnings),
    }  # fmt: skip
