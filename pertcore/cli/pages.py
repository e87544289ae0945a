"""Report pages of the commands: results in, what the page shows out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pertcore.evaluation.pictures import Example, Picture, delta_uri, is_image, value_uri
from pertcore.evaluation.report import Gallery, Report, Table, shown
from pertcore.result import ADVICE, AttackResult, Status


def attack_page(
    title: str,
    command: str,
    summary: dict[str, str],
    result: AttackResult,
    warnings: Sequence[str],
    examples: Sequence[Example],
    box: tuple[float, float] | None,
    facts: dict[str, Any],
) -> Report:
    """The page of `pertcore attack`."""
    header = ("status", "samples", "what it means")
    tables = [
        Table("Summary", (), list(summary.items())),
        Table("How the samples ended", header, endings(result), left=(0, 2)),
    ]
    pictures = [picture(example, box) for example in examples if is_image(example.x.shape)]
    galleries = [Gallery("Samples", pictures, NOTE)] if pictures else []
    done = "succeeded" if result.task == "regression" else "fooled"
    lead = (
        f"{len(result.success)} samples, {int(result.success.sum())} {done}. Success, norms, "
        "margins and losses are recomputed from the perturbed samples on the model itself."
    )
    return Report(title, lead, command, tables, (), galleries, warnings, _listed(facts))


NOTE = (
    "Left to right: clean, perturbation (grey is zero; scaled to the full range, the factor "
    "below it), adversarial."
)


def picture(example: Example, box: tuple[float, float] | None) -> Picture:
    """Clean, perturbation and adversarial example with the predictions."""
    x = example.x
    lo, hi = box if box is not None else (float(x.min()), float(x.max()))
    delta, peak = delta_uri(example.delta)
    classed = example.before >= 0
    told = f"{example.before} to {example.after}" if example.fooled else "kept"
    images = (
        (value_uri(x, lo, hi), f"clean: {example.before}" if classed else "clean"),
        (delta, f"perturbation, white = {peak:.3g}"),
        (value_uri(example.x_adv, lo, hi), f"seen as: {example.after}" if classed else "perturbed"),
    )
    title = f"Sample {example.index}" + (f": {told}" if classed else "")
    return Picture(title, images, example.fooled)


def figures(result: AttackResult) -> dict[str, str]:
    """The summary of a result as text, a line a figure."""
    return {name: shown(value) for name, value in result.summary().items()}


def endings(result: AttackResult) -> list[tuple[str, str, str]]:
    """(status, samples, what it means), a row a status that occurred."""
    return [
        (Status(code).name, str(count), ADVICE[Status(code)])
        for code, count in zip(*np.unique(result.status, return_counts=True), strict=True)
    ]


def _listed(facts: dict[str, Any]) -> dict[str, str]:
    wanted = ("finished", "seconds", "model_sha256", "data_sha256", "versions", "machine")
    return {name.replace("_", " "): _spelled(facts[name]) for name in wanted}


def _spelled(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {item}" for name, item in value.items())
    return shown(value)
