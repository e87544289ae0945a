"""What an attack returns: plain data, re-verified on the user's own model."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields
from enum import IntEnum
from typing import Any

import numpy as np

from pertcore.notebook import histogram_figure, html_table
from pertcore.oracle import Array, Calls


class Status(IntEnum):
    """How a sample ended; `ADVICE` says what to do about it."""

    OK = 0
    MAX_STEPS = 1
    ZERO_GRADIENT = 2
    NONFINITE = 3
    INFEASIBLE = 4
    NOT_ADVERSARIAL = 5
    CLEAN_ERROR = 6


ADVICE = {
    Status.OK: "Success, verified on the model.",
    Status.MAX_STEPS: "No success when the steps ran out: raise steps, restarts or eps.",
    Status.ZERO_GRADIENT: "The gradient is zero: the output is flat or saturated here; try the "
    "margin loss, logits instead of softmax, a dither, or random restarts.",
    Status.NONFINITE: "The model or its gradient is NaN or infinite here: check the input scale "
    "and the model.",
    Status.INFEASIBLE: "Inside box and frozen features no perturbation reaches the other side of "
    "the linear model: widen the bounds or free more features.",
    Status.NOT_ADVERSARIAL: "What was found is outside the budget, or did not hold on the model "
    "itself: raise eps.",
    Status.CLEAN_ERROR: "Misclassified, or already at the target, without any perturbation; "
    "returned as it is.",
}


def every_proof(proofs: Iterable[str]) -> str:
    """The kinds of bound that occur, each once, in the order of their first sample."""
    return "; ".join(dict.fromkeys(kind for proof in proofs for kind in proof.split("; ")))


@dataclass(frozen=True)
class Certificate:
    """How near the optimum of the linearised problem at x an attack came, for n samples.

    value: (n,) norm_2(c + J eta)^2 of the eta found, c = f(x) - y; upper: (n,) no eta of the ball
    has more on the linear model; inf where nothing is known. proof: what kind of bound that is.
    It speaks of the linear model, never of f.
    """

    value: Array
    upper: Array
    proof: str

    @classmethod
    def joined(cls, parts: Sequence[Certificate]) -> Certificate | None:
        """Batches in order as one, with every proof that occurs; None where there are none."""
        if not parts:
            return None
        value, upper = (np.concatenate([getattr(p, k) for p in parts]) for k in ("value", "upper"))
        return cls(value, upper, every_proof(part.proof for part in parts))

    def take(self, rows: Array) -> Certificate:
        """That of fewer samples, mask or positions."""
        return Certificate(self.value[rows], self.upper[rows], self.proof)

    @property
    def ratio(self) -> Array:
        """value / upper, (n,): 1 is optimal; NaN where there is no bound."""
        with np.errstate(divide="ignore", invalid="ignore"):
            share = np.where(self.upper > 0, self.value / self.upper, 1.0)
        return np.where(np.isfinite(self.upper), share, np.nan)


@dataclass(frozen=True)
class Stage:
    """One attack of a portfolio: how many samples came to it, how many it fooled, what it cost."""

    name: str
    entered: int
    fooled: int
    calls: Calls

    @classmethod
    def joined(cls, parts: Sequence[Stage]) -> tuple[Stage, ...]:
        """The stages of several batches, added up by name in the order they came."""
        names = dict.fromkeys(part.name for part in parts)
        return tuple(cls._added(name, [p for p in parts if p.name == name]) for name in names)

    @classmethod
    def _added(cls, name: str, parts: Sequence[Stage]) -> Stage:
        kinds = ("f", "vjp", "jvp")
        calls = Calls(*(sum(getattr(p.calls, kind) for p in parts) for kind in kinds))
        return cls(name, sum(p.entered for p in parts), sum(p.fooled for p in parts), calls)

    def __str__(self) -> str:
        runs = f"{self.calls.f} forward and {self.calls.vjp} backward"
        return f"fooled {self.fooled} of {self.entered}, {runs}"


@dataclass(frozen=True)
class Transfer:
    """The examples on a model that the attack never saw, for n samples, named as in `AttackResult`.

    attackable: (n,) bool, right on that model before; success counts nobody else.
    """

    success: Array
    attackable: Array
    margin: Array
    before: Array
    after: Array

    @property
    def fooling_ratio(self) -> float:
        """Share of the samples that model had right which it has no longer; NaN without any."""
        right = int(np.count_nonzero(self.attackable))
        return float(np.count_nonzero(self.success) / right) if right else float("nan")

    @classmethod
    def joined(cls, parts: Sequence[Transfer]) -> Transfer | None:
        """Batches in order as one; None where there are none."""
        if not parts:
            return None
        names = [f.name for f in fields(cls)]
        return cls(*(np.concatenate([getattr(p, name) for p in parts]) for name in names))

    def take(self, rows: Array) -> Transfer:
        """That of fewer samples, mask or positions."""
        return Transfer(*(getattr(self, f.name)[rows] for f in fields(self)))


@dataclass(frozen=True)
class AttackResult:
    """Adversarial examples and what is known about them, for n samples.

    x_adv, delta: (n, *sample) of the caller's kind of array, delta = float64(x_adv) - float64(x);
    the rest is NumPy. success: (n,) bool; status: (n,) of `Status`; norms: (n,) float64 norm of
    delta; margin: (n,) float64, below zero where fooled, NaN for regression; before, after: (n,)
    predicted class, -1 for regression and where the answer is not finite; loss_before, loss_after:
    (n,) the loss the attack was given, as the user wrote it (the squared error, not its negative);
    metrics: name -> (n,) float64 at x_adv: the user's own, and for regression mse of the output
    against y, else f(x), psnr_in of the perturbation and psnr_out of the output in dB; calls: model
    runs per sample, summed; seconds: wall time; exact: whether every derivative was exact;
    certificate: bounds of the linearised problem, None where the attack has none; stages: what
    the attacks of a portfolio did, in order, empty for a single attack; transfer: the same examples
    on the model of `evaluate_on`; warnings: sentences on how the result could be wrong; settings:
    the arguments that repeat it.
    """

    x_adv: Any
    delta: Any
    success: Array
    status: Array
    norms: Array
    margin: Array
    before: Array
    after: Array
    loss_before: Array
    loss_after: Array
    calls: Calls
    seconds: float
    exact: bool
    task: str
    certificate: Certificate | None = None
    stages: tuple[Stage, ...] = ()
    transfer: Transfer | None = None
    metrics: dict[str, Array] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def attackable(self) -> Array:
        """(n,) bool: right, and finite, before the attack."""
        return (self.status != Status.CLEAN_ERROR) & np.isfinite(self.loss_before)

    @property
    def fooling_ratio(self) -> float:
        """Share of correctly classified samples that were fooled; NaN when there is none."""
        right = int(np.count_nonzero(self.attackable))
        return float(np.count_nonzero(self.success) / right) if right else float("nan")

    @property
    def robust_accuracy(self) -> float:
        """Share of all samples that stay right; clean errors and broken answers do not count."""
        kept = self.attackable & ~self.success & (self.status != Status.NONFINITE)
        return float(np.mean(kept)) if len(kept) else float("nan")

    def summary(self) -> dict[str, Any]:
        """The figures of the table that `print(result)` shows."""
        n = len(self.success)
        return {
            "attack": self.settings.get("attack"),
            "norm": self.settings.get("norm"),
            "samples": n,
            **(self._losses() if self.task == "regression" else self._fooled()),
            **self._measured(),
            **self._certified(),
            **{f"stage {stage.name}": str(stage) for stage in self.stages},
            **self._transferred(),
            "forward per sample": self.calls.f / n if n else 0.0,
            "backward per sample": self.calls.vjp / n if n else 0.0,
            **({"tangents per sample": self.calls.jvp / n} if self.calls.jvp else {}),
            "seconds": self.seconds,
            "derivatives": "exact" if self.exact else "approximated",
        }

    def _fooled(self) -> dict[str, Any]:
        return {
            "clean errors": int(np.count_nonzero(self.status == Status.CLEAN_ERROR)),
            "fooled": int(np.count_nonzero(self.success)),
            "fooling ratio": self.fooling_ratio,
            "robust accuracy": self.robust_accuracy,
            "median norm of the fooled": _median(self.norms[self.success]),
        }

    def _certified(self) -> dict[str, Any]:
        if self.certificate is None or not np.any(np.isfinite(self.certificate.ratio)):
            return {}
        ratio = self.certificate.ratio[np.isfinite(self.certificate.ratio)]
        return {
            "of the linear optimum, at least": float(ratio.min()),
            "proof of that": self.certificate.proof,
        }

    def _transferred(self) -> dict[str, Any]:
        if self.transfer is None:
            return {}
        return {
            "fooled, of the other model": int(np.count_nonzero(self.transfer.success)),
            "fooling ratio of the other model": self.transfer.fooling_ratio,
        }

    def _losses(self) -> dict[str, Any]:
        finite = np.isfinite(self.loss_before) & np.isfinite(self.loss_after)
        return {
            "succeeded": int(np.count_nonzero(self.success)),
            "mean loss before": _mean(self.loss_before[finite]),
            "mean loss after": _mean(self.loss_after[finite]),
            "median norm": _median(self.norms),
        }

    def _measured(self) -> dict[str, Any]:
        """Means over the samples where a metric is finite; a PSNR is one of per-sample dB."""
        peak = f"dB, peak {self.settings.get('peak', 1.0):g}"
        names = {
            "mse": "mean MSE", "psnr_in": f"mean input PSNR ({peak})",
            "psnr_out": f"mean output PSNR ({peak})",
        }  # fmt: skip
        return {
            names.get(name, f"mean {name}"): _mean(values[np.isfinite(values)])
            for name, values in self.metrics.items()
        }

    def plot(self) -> Any:
        """A matplotlib figure: of the losses of a regression before and after; of the norms of the
        fooled, where the attack looked for the smallest; of the margins after any other attack.
        Raises BackendError where matplotlib is missing."""
        name = f"{self.settings.get('attack')}"
        if self.task == "regression":
            losses = {"before": self.loss_before, "after": self.loss_after}
            return histogram_figure(f"{name}: losses", "loss", losses)
        if self.settings.get("eps") is None:
            found = {"fooled": self.norms[self.success]}
            norm = f"l{self.settings.get('norm')}"
            return histogram_figure(f"{name}: smallest norms found", norm, found)
        kept = self.attackable & ~self.success
        sides = {"fooled": self.margin[self.success], "kept": self.margin[kept]}
        return histogram_figure(f"{name}: margins under attack", "margin", sides)

    def _told(self) -> list[tuple[str, str]]:
        """Figures and statuses by name, as a table shows them."""
        rows = [
            (k, f"{v:.4g}" if isinstance(v, float) else str(v)) for k, v in self.summary().items()
        ]
        ended = [
            (f"status {Status(code).name}", f"{count}  {ADVICE[Status(code)]}")
            for code, count in zip(*np.unique(self.status, return_counts=True), strict=True)
        ]
        return rows + ended

    def __str__(self) -> str:
        lines = [f"{name:<34} {value}" for name, value in self._told()]
        return "\n".join(lines + [f"warning: {text}" for text in self.warnings])

    def _repr_html_(self) -> str:
        return html_table((), self._told(), self.warnings)


def _median(values: Array) -> float:
    return float(np.median(values)) if len(values) else float("nan")


def _mean(values: Array) -> float:
    return float(np.mean(values)) if len(values) else float("nan")
