"""What `make paper` measures: a job a file of results, in full and as a quick sample.

A job's settings are all that decides its figures beside the code: a job whose stored settings are
the same is not run again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.paper import classifiers, closed_forms, detectors, examples, regressions

MAKERS: dict[str, Callable[[dict[str, Any], Path], dict[str, Any]]] = {
    "classifier": classifiers.measured,
    "otherwise": classifiers.otherwise,
    "regression": regressions.measured,
    "fooled": examples.fooled,
    "restored": examples.restored,
    "detector": detectors.measured,
    "table1": closed_forms.solutions,
    "table2": closed_forms.special_cases,
}


@dataclass(frozen=True)
class Job:
    """name: of its file; maker: of MAKERS; settings: what JSON can hold."""

    name: str
    maker: str
    settings: dict[str, Any]

    def run(self, folder: Path) -> dict[str, Any]:
        """The figures; networks are trained into `folder`. Raises AbsentError."""
        return MAKERS[self.maker](self.settings, folder)


def classifier(
    network: str, samples: int, eps: tuple[float, ...] = (), *, shown: int = 0,
    portfolio: tuple[float, ...] = (),
) -> Job:  # fmt: skip
    """Table III on `samples`, Fig. 1 at eps on the first `shown` of them."""
    settings = {
        "network": network, "samples": samples, "eps": list(eps), "shown": shown,
        "portfolio": list(portfolio),
    }  # fmt: skip
    return Job(f"classifier-{network}", "classifier", settings)


def otherwise(network: str, samples: int, eps: float) -> Job:
    """Algorithm 1 in other settings."""
    return Job(
        f"otherwise-{network}", "otherwise", {"network": network, "samples": samples, "eps": eps}
    )


def regression(name: str, network: str, samples: int, norm: str, **settings: Any) -> Job:
    common = {"network": network, "samples": samples, "norm": norm}
    return Job(name, "regression", {**common, **settings})


def restored(name: str, network: str, attacks: list[str], norm: str = "inf", **budget: Any) -> Job:
    common = {"network": network, "attacks": attacks, "norm": norm, "shown": 4, "eps": 0.0}
    return Job(name, "restored", {**common, **budget})


BALL = list(regressions.ATTACKS)
# At 96 x 96 the Jacobian of (12) does not fit, and the paper's Fig. 4(d) does without it too.
LOCAL = [name for name in BALL if not name.startswith("quadratic")]
PIXELS = list(regressions.PIXELS)
LEVELS = [0.01, 0.02, 0.05, 0.1, 0.15, 0.2]
FULL = (
    classifier(
        "fcnn", 10000, (0.01, 0.02, 0.03, 0.04, 0.06, 0.08, 0.1, 0.13, 0.16), shown=5000,
        portfolio=(0.04, 0.06, 0.08, 0.1, 0.13),
    ),
    classifier("fcnn-adam", 10000),
    classifier("fcnn-adam-decay", 10000),
    classifier(
        "lenet5", 10000, (0.02, 0.04, 0.06, 0.08, 0.1, 0.13, 0.16, 0.2, 0.25), shown=1000,
        portfolio=(0.06, 0.08, 0.1),
    ),
    classifier("lenet5-adam", 10000),
    classifier("given-lenet5", 10000),
    classifier("nin", 300, (0.002, 0.004, 0.008, 0.012, 0.018), shown=100, portfolio=(0.008,)),
    classifier(
        "densenet40", 80, (0.001, 0.002, 0.004, 0.006, 0.01), shown=40, portfolio=(0.004,)
    ),
    classifier(
        "given-resnet20", 200, (0.001, 0.002, 0.004, 0.006, 0.01), shown=200, portfolio=(0.004,)
    ),
    otherwise("fcnn", 1000, 0.06),
    otherwise("lenet5", 1000, 0.08),
    otherwise("given-resnet20", 100, 0.003),
    Job("fig2", "fooled", {
        "networks": {"fcnn": 0.08, "lenet5": 0.16, "nin": 0.018, "densenet40": 0.01},
        "samples": 40, "shown": 4,
    }),
    restored("fig3a", "mnist-autoencoder", ["random", "quadratic"], psnr=17.0),
    restored("fig3b", "cifar-autoencoder", ["random-pixel-100", "linear-pixel-100"], eps=1.0),
    restored("fig3c", "colorizer", ["random", "linear-20"], psnr=25.0),
    regression("fig4a", "mnist-autoencoder", 20, "2", levels=LEVELS, attacks=BALL, boxed=0.1),
    regression("fig4b", "mnist-autoencoder", 20, "inf", levels=LEVELS, attacks=BALL, boxed=0.1),
    regression(
        "fig4c", "cifar-autoencoder", 20, "inf", levels=[0.1, 0.2, 0.4, 0.7, 1.0], attacks=PIXELS
    ),
    regression(
        "fig4d", "colorizer", 20, "inf", levels=[0.005, 0.01, 0.02, 0.04, 0.08], attacks=LOCAL,
        boxed=0.04,
    ),
    regression(
        "fig4d-given", "given-colorizer", 6, "inf", levels=[0.01, 0.04], attacks=LOCAL
    ),
    Job("fig5", "detector", {"samples": 30, "eps": [1, 2, 4, 8], "shown": 3, "pictured": 8}),
    Job("table1", "table1", {"network": "cifar-autoencoder", "samples": 5, "eps": 0.03}),
    Job("table2", "table2", {"network": "fcnn", "samples": 1000, "eps": 0.06}),
)  # fmt: skip
# The bundled digits, and a few samples of what the data folder gives.
QUICK = (
    classifier(
        "digits-fcnn", 200, (0.02, 0.05, 0.1, 0.2), shown=100, portfolio=(0.1,)
    ),
    classifier("given-lenet5", 100, (0.05, 0.1), shown=20, portfolio=(0.1,)),
    classifier("given-resnet20", 10, (0.004,), shown=6, portfolio=(0.004,)),
    otherwise("digits-fcnn", 100, 0.1),
    Job("fig2", "fooled", {"networks": {"digits-fcnn": 0.2}, "samples": 40, "shown": 4}),
    restored("fig3a", "digits-autoencoder", ["random", "quadratic"], psnr=17.0),
    restored("fig3b", "digits-autoencoder", ["random-pixel-1", "linear-pixel-1"], eps=1.0),
    regression("fig4a", "digits-autoencoder", 10, "2", levels=LEVELS[::2], attacks=BALL),
    regression(
        "fig4b", "digits-autoencoder", 10, "inf", levels=LEVELS[::2], attacks=BALL, boxed=0.1
    ),
    regression(
        "fig4c", "digits-autoencoder", 10, "inf", levels=[0.5, 1.0], attacks=PIXELS[:3],
    ),
    regression(
        "fig4d-given", "given-colorizer", 2, "inf", levels=[0.04], attacks=LOCAL, side=32
    ),
    Job("fig5", "detector", {"samples": 2, "eps": [8], "shown": 1, "pictured": 8}),
    Job("table1", "table1", {"network": "digits-autoencoder", "samples": 4, "eps": 0.05}),
    Job("table2", "table2", {"network": "digits-fcnn", "samples": 200, "eps": 0.1}),
)  # fmt: skip
