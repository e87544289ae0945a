"""The page of a run, from the files of its folder alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from pertcore.evaluation.charts import histogram
from pertcore.evaluation.page_measures import curve_body, robustness_body
from pertcore.evaluation.page_parts import (
    changes,
    cost,
    curve_chart,
    ended,
    margins,
    norm_of,
    per_class,
    smallest,
    spread,
    with_interval,
)
from pertcore.evaluation.pictures import OUTPUTS, PICTURED, is_image, picture
from pertcore.evaluation.reading import GO_ON, Kept, as_result, read_run
from pertcore.evaluation.report import Card, Gallery, Report, Table, shown
from pertcore.result import AttackResult, Status

FACTS = ("finished", "seconds", "model_sha256", "data_sha256", "versions", "machine",
         "working_folder")  # fmt: skip
UNKNOWN = "unknown: this run did not write it down"


def page_of(folder: str | Path) -> Report:
    """The page of a run that `pertcore attack`, `curve` or `robustness` left in the folder.

    Raises InputError where run.json or results.parquet is missing, damaged or of another kind.
    """
    kept = read_run(Path(folder))
    facts = kept.facts
    body = {"attack": _attack, "curve": curve_body, "robustness": robustness_body}[kept.kind](kept)
    tables, galleries = _samples(kept)
    return Report(
        title=_title(facts),
        command=str(facts.get("command", UNKNOWN)),
        warnings=[*_missing(kept), *map(str, facts.get("warnings", []))],
        galleries=galleries,
        tables=[*body.pop("tables"), *tables],
        details=[*body.pop("details", []), *_figures(facts)],
        facts={name.replace("_", " "): _spelled(facts[name]) for name in FACTS if facts.get(name)},
        **body,
    )


def _attack(kept: Kept) -> dict[str, Any]:
    asked, kept = kept, kept.without_targets()
    result = as_result(kept)
    price = Card("Cost a sample", *cost(result.calls, len(result.success), result.seconds))
    left = len(asked.rows["index"]) - len(result.success)
    gone = f" {left} more were left out: their label is the target already." if left else ""
    done = "succeeded" if result.task == "regression" else "fooled"
    lead = (
        f"{len(result.success)} samples, {int(result.success.sum())} {done}.{gone} Success, "
        "norms, margins and losses are recomputed from the perturbed samples on the model itself."
    )
    body: Callable[..., dict[str, Any]] = _driven if result.task == "regression" else _fooled
    parts = body(kept, result)
    return {
        "lead": lead, "cards": [*parts["cards"], price], "charts": parts["charts"],
        "tables": [*parts["tables"], ended(result)],
    }  # fmt: skip


def _fooled(kept: Kept, result: AttackResult) -> dict[str, Any]:
    n, right, norm = len(result.success), int(result.attackable.sum()), norm_of(kept.facts)
    robust = result.attackable & ~result.success & (result.status != Status.NONFINITE)
    before = "at the target" if "target" in kept.rows else "wrong"
    cards = [
        Card("Samples", str(n), f"{n - right} {before} before the attack"),
        Card("Robust accuracy", *with_interval(int(robust.sum()), n)),
        Card("Fooling ratio", *with_interval(int(result.success.sum()), right)),
        Card("Median norm", _median(result.norms[result.success]), f"{norm}, of the fooled"),
    ]
    if result.settings.get("eps") is None:
        norms = np.where(result.success, result.norms, np.inf)
        charts = [curve_chart(norms, robust | result.success, norm),
                  smallest(norms, result.attackable, norm)]  # fmt: skip
    else:
        charts = [margins(result)]
    table = per_class(
        kept.row("label"), result.attackable, {"robust": robust}, result.norms,
        np.where(result.success, result.after, -1),
    )  # fmt: skip
    return {"cards": cards, "charts": charts, "tables": [table]}


def _driven(kept: Kept, result: AttackResult) -> dict[str, Any]:
    n = len(result.success)
    cards = [Card("Samples", str(n), f"{int(result.success.sum())} succeeded")]
    cards += [
        Card("Mean loss before", _mean(result.loss_before)),
        Card("Mean loss after", _mean(result.loss_after)),
    ]
    told = {"psnr_out": "Mean output PSNR", "psnr_in": "Mean input PSNR"}
    for name, title in told.items():
        if name in result.metrics:
            peak = f"dB, peak {result.settings.get('peak', 1.0):g}"
            cards.append(Card(title, _mean(result.metrics[name]), peak))
    charts = []
    if "psnr_out" in result.metrics:
        charts.append(
            histogram("Output PSNR under attack", "dB", result.metrics["psnr_out"],
                      note="How far outputs move, a sample a count; lower is a stronger attack.")
        )  # fmt: skip
    charts.append(
        histogram("Loss under attack", "loss", result.loss_after,
                  note=f"Before the attack its mean was {_mean(result.loss_before)}.")
    )  # fmt: skip
    columns = {
        "loss before": result.loss_before, "loss after": result.loss_after,
        f"{norm_of(kept.facts)} of the perturbation": result.norms, **result.metrics,
    }  # fmt: skip
    return {"cards": cards, "charts": charts, "tables": [spread(columns)]}


def _samples(kept: Kept) -> tuple[list[Table], list[Gallery]]:
    examples = kept.examples or []
    if not examples:
        return [], []
    if not is_image(examples[0].x.shape):
        return [changes(examples)], []
    box = kept.facts.get("box")
    pictures = [picture(example, None if box is None else tuple(box)) for example in examples]
    filters = any(example.before >= 0 for example in examples)
    note = PICTURED + (OUTPUTS if examples[0].outputs is not None else "")
    return [], [Gallery("Samples", pictures, note, filters)]


def _missing(kept: Kept) -> list[str]:
    found = []
    if not kept.facts.get("complete", False):
        asked = kept.facts.get("samples_asked", "an unknown number of")
        found.append(
            f"This run is not complete: {len(kept.rows['index'])} of {asked} samples are done; "
            f"{GO_ON}."
        )
    if kept.examples is None:
        found.append("examples.npz is missing from the folder: no samples are shown.")
    return found


def _title(facts: dict[str, Any]) -> str:
    given, settings = facts.get("arguments", {}), facts.get("settings", {})
    models = " + ".join(Path(str(path)).name for path in given.get("models", []))
    attack = settings.get("attack", given.get("attack", "attack"))
    what = {
        "attack": attack,
        "curve": f"Curve of {attack}",
        "robustness": f"Robustness by {attack}",
    }
    budget = given.get("eps") if facts["kind"] == "attack" else None
    told = f", eps {budget}" if budget is not None else ""
    on = f" on {models}" if models else ""
    return f"{what[facts['kind']]}{on}, norm {settings.get('norm', given.get('norm', '?'))}{told}"


def _figures(facts: dict[str, Any]) -> list[Table]:
    parts = {"All figures": facts.get("summary"), "Settings": facts.get("settings")}
    return [
        Table(title, (), [(name, _spelled(value)) for name, value in part.items()], left=(0, 1))
        for title, part in parts.items()
        if part
    ]


def _spelled(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_spelled(item)}" for name, item in value.items())
    if isinstance(value, list):
        return ", ".join(map(_spelled, value))
    return "-" if value is None else shown(value)


def _mean(values: Any) -> str:
    finite = values[np.isfinite(values)]
    return shown(float(np.mean(finite))) if len(finite) else "-"


def _median(values: Any) -> str:
    return shown(float(np.median(values))) if len(values) else "-"
