"""The page of a run, from the files of its folder alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from pertcore.evaluation.charts import histogram
from pertcore.evaluation.page_parts import (
    budgets,
    changes,
    curve_chart,
    endings,
    margins,
    per_class,
    smallest,
    spread,
    with_interval,
)
from pertcore.evaluation.pictures import PICTURED, is_image, picture
from pertcore.evaluation.reading import Kept, as_curve, as_result, as_robustness, read_run
from pertcore.evaluation.report import Card, Gallery, Report, Table, shown
from pertcore.oracle import Array
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
    body = {"attack": _attack, "curve": _curve, "robustness": _robustness}[kept.kind](kept)
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
    asked = kept
    if kept.facts.get("samples_left_out"):
        kept = kept.part(kept.row("label") != kept.row("target"))
    result = as_result(kept)
    cost = Card("Cost a sample", *_cost(result.calls, len(result.success), result.seconds))
    ended = Table(
        "How the samples ended", ("status", "samples", "what it means"), endings(result),
        left=(0, 2),
    )  # fmt: skip
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
        "lead": lead, "cards": [*parts["cards"], cost], "charts": parts["charts"],
        "tables": [*parts["tables"], ended],
    }  # fmt: skip


def _fooled(kept: Kept, result: AttackResult) -> dict[str, Any]:
    n, right = len(result.success), int(result.attackable.sum())
    robust = result.attackable & ~result.success & (result.status != Status.NONFINITE)
    before = "at the target" if "target" in kept.rows else "wrong"
    cards = [
        Card("Samples", str(n), f"{n - right} {before} before the attack"),
        Card("Robust accuracy", *with_interval(int(robust.sum()), n)),
        Card("Fooling ratio", *with_interval(int(result.success.sum()), right)),
        Card("Median norm", _median(result.norms[result.success]), f"{_norm(kept)}, of the fooled"),
    ]
    if result.settings.get("eps") is None:
        norms = np.where(result.success, result.norms, np.inf)
        charts = [curve_chart(norms, robust | result.success, _norm(kept)),
                  smallest(norms, result.attackable, _norm(kept))]  # fmt: skip
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
    columns = {"loss before": result.loss_before, "loss after": result.loss_after,
               f"{_norm(kept)} of the perturbation": result.norms, **result.metrics}  # fmt: skip
    return {"cards": cards, "charts": charts, "tables": [spread(columns)]}


def _curve(kept: Kept) -> dict[str, Any]:
    curve = as_curve(kept)
    n, right = len(curve.norms), int(curve.attackable.sum())
    last = f"at eps {curve.eps[-1]:g}"
    robust = [curve.attackable & ~row for row in curve.fooled]
    low, high = curve.band()
    cards = [
        Card("Samples", str(n), f"{n - right} wrong before the attack"),
        Card("Clean accuracy", *with_interval(right, n)),
        Card(f"Robust accuracy {last}", *with_interval(int(robust[-1].sum()), n)),
        _median_card(curve.norms, curve.attackable, _norm(kept)),
        Card("Cost a sample", *_cost(curve.calls, n, curve.seconds)),
    ]
    columns = {f"at {curve.eps[k]:.4g}": robust[k] for k in _few(curve.eps)}
    lead = (
        f"{n} samples at {len(curve.eps)} budgets up to {curve.eps[-1]:g} ({_norm(kept)}). What "
        "was fooled within one budget counts at every larger one; robust accuracy is an upper "
        "bound, since another attack may find more."
    )
    return {
        "lead": lead, "cards": cards,
        "charts": [curve_chart(curve.norms, curve.attackable, _norm(kept), at=curve.eps),
                   smallest(curve.norms, curve.attackable, _norm(kept))],
        "tables": [per_class(kept.row("label"), curve.attackable, columns, curve.norms)],
        "details": [budgets(curve.eps, curve.robust_accuracy, low, high, curve.fooling_ratio)],
    }  # fmt: skip


def _robustness(kept: Kept) -> dict[str, Any]:
    found = as_robustness(kept)
    n, right = len(found.norms), int(found.attackable.sum())
    unfooled = int(np.count_nonzero(found.attackable & ~np.isfinite(found.norms)))
    cards = [
        Card("Samples", str(n), f"{n - right} wrong before the attack, {unfooled} never fooled"),
        Card("rho1", shown(found.rho1), "mean norm of the perturbation over that of the sample"),
        Card("rho2", shown(found.rho2), "mean of what the linear model admits (Theorem 1)"),
        Card("eps99", shown(found.eps99), "99 % of those right are fooled within it"),
        _median_card(found.norms, found.attackable, _norm(kept)),
        Card("Cost a sample", *_cost(found.calls, n, found.seconds)),
    ]
    lead = (
        f"The smallest perturbations found ({_norm(kept)}) of {n} samples. They are upper bounds "
        "of the smallest there are: a sample may be fooled by less."
    )
    shares = (0.1, 0.25, 0.5, 0.75, 0.9, 0.99)
    rows = [(f"{100 * s:.0f} %", shown(float(v))) for s, v in zip(shares, found.quantiles(shares))]
    linear = np.where(found.attackable, found.linear, np.inf)
    return {
        "lead": lead, "cards": cards,
        "charts": [
            curve_chart(found.norms, found.attackable, _norm(kept), linear=linear),
            smallest(found.norms, found.attackable, _norm(kept)),
        ],
        "tables": [
            Table("Budgets at which shares are fooled", ("fooled", "within eps"), rows,
                  "Of the samples that were right; inf where too few were fooled."),
            per_class(kept.row("label"), found.attackable, {}, found.norms),
        ],
    }  # fmt: skip


def _few(eps: Array) -> list[int]:
    """Places of at most three budgets above zero: the last, and before it a third and two."""
    places = [k for k, value in enumerate(eps.tolist()) if value > 0] or [0]
    return sorted({places[(len(places) - 1) * part // 3] for part in (1, 2, 3)})


def _median_card(norms: Any, attackable: Any, norm: str) -> Card:
    held = np.sort(norms[attackable])
    middle = shown(float(held[(len(held) - 1) // 2])) if len(held) else "-"
    return Card("Median smallest norm", middle, f"{norm}, of the samples that were right")


def _samples(kept: Kept) -> tuple[list[Table], list[Gallery]]:
    examples = kept.examples or []
    if not examples:
        return [], []
    if not is_image(examples[0].x.shape):
        return [changes(examples)], []
    box = kept.facts.get("box")
    pictures = [picture(example, None if box is None else tuple(box)) for example in examples]
    filters = any(example.before >= 0 for example in examples)
    return [], [Gallery("Samples", pictures, PICTURED, filters)]


def _missing(kept: Kept) -> list[str]:
    found = []
    if not kept.facts.get("complete", False):
        asked = kept.facts.get("samples_asked", "an unknown number of")
        found.append(
            f"This run is not complete: {len(kept.rows['index'])} of {asked} samples are done. "
            "The same command with --resume goes on."
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


def _norm(kept: Kept) -> str:
    return f"l{kept.facts.get('settings', {}).get('norm', '?')}"


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


def _cost(calls: Any, n: int, seconds: float) -> tuple[str, str]:
    units = (calls.f + calls.vjp + calls.jvp) / max(2 * n, 1)
    told = f"units of a forward and a backward run; {seconds:.3g} s in all"
    return f"{units:.1f}", told


def _mean(values: Any) -> str:
    finite = values[np.isfinite(values)]
    return shown(float(np.mean(finite))) if len(finite) else "-"


def _median(values: Any) -> str:
    return shown(float(np.median(values))) if len(values) else "-"
