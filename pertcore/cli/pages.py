"""Report pages of the commands: results in, what the page shows out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pertcore.evaluation.pictures import Picture, delta_uri, is_image, value_uri
from pertcore.evaluation.report import Gallery, Report, Table, shown
from pertcore.oracle import Array
from pertcore.result import ADVICE, AttackResult, Status


def attack_page(
    title: str,
    command: str,
    result: AttackResult,
    warnings: Sequence[str],
    examples: Sequence[dict[str, Any]],
    box: tuple[float, float] | None,
    facts: dict[str, Any],
) -> Report:
    """The page of `pertcore attack`."""
    statuses = [
        (Status(code).name, str(count), ADVICE[Status(code)])
        for code, count in zip(*np.unique(result.status, return_counts=True), strict=True)
    ]
    tables = [
        Table("Summary", (), [(k, shown(v)) for k, v in result.summary().items()]),
        Table("How the samples ended", ("status", "samples", "what it means"), statuses),
    ]
    pictures = [picture(example, box) for example in examples if is_image(example["x"].shape)]
    galleries = [Gallery("Samples", pictures, NOTE)] if pictures else []
    lead = (
        f"{len(result.success)} samples, {int(result.success.sum())} fooled. Success, norms and "
        "margins are recomputed from the adversarial examples on the model itself."
    )
    return Report(title, lead, command, tables, (), galleries, warnings, {**_listed(facts)})


NOTE = (
    "Left to right: clean, perturbation (grey is zero; scaled to the full range, the factor "
    "below it), adversarial."
)


def picture(example: dict[str, Any], box: tuple[float, float] | None) -> Picture:
    """Clean, perturbation and adversarial example with the predictions."""
    x, x_adv = example["x"], example["x_adv"]
    lo, hi = box if box is not None else (float(x.min()), float(x.max()))
    delta, peak = delta_uri(example["delta"])
    classed = example["before"] >= 0
    told = f"{example['before']} to {example['after']}" if example["fooled"] else "kept"
    title = f"Sample {example['index']}: " + (told if classed else "output changed")
    return Picture(
        title,
        (
            (value_uri(x, lo, hi), f"clean: {example['before']}" if classed else "clean"),
            (delta, f"perturbation, white = {peak:.3g}"),
            (value_uri(x_adv, lo, hi), f"seen as: {example['after']}" if classed else "perturbed"),
        ),
        example["fooled"],
    )


def _listed(facts: dict[str, Any]) -> dict[str, str]:
    wanted = ("finished", "seconds", "model_sha256", "data_sha256", "versions", "machine")
    return {name: _spelled(facts[name]) for name in wanted}


def _spelled(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {item}" for name, item in value.items())
    return shown(value)


def psnr(before: Array, after: Array, peak: float) -> Array:
    """10 log10(peak^2 / MSE) in dB, one a sample, of (n, *out) against (n, *out)."""
    error = (after.astype(np.float64) - before.astype(np.float64)).reshape(len(before), -1)
    with np.errstate(divide="ignore"):
        return 10 * np.log10(peak**2 / np.mean(error**2, axis=1))
