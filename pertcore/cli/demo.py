"""`pertcore demo`: the bundled classifier and autoencoder under attack, a table and a page."""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from rich.console import Console

import pertcore
from pertcore.cli.console import say, show_table, warn
from pertcore.cli.flags import as_flags
from pertcore.demo import AUTOENCODER, CLASSIFIER, DATA, digits
from pertcore.errors import PertcoreWarning
from pertcore.evaluation.charts import Chart, Series
from pertcore.evaluation.pictures import (
    PICTURED,
    Picture,
    delta_uri,
    example_at,
    picture,
    value_uri,
)
from pertcore.evaluation.records import fingerprint, machine, ready_folder, versions
from pertcore.evaluation.report import Gallery, Report, Table, shown, write_report
from pertcore.oracle import Array, Oracle
from pertcore.result import AttackResult

EPS = (0.05, 0.1, 0.15, 0.2)
SHOWN_EPS = 0.15
BUDGETED: dict[str, dict[str, Any]] = {
    "random": {},
    "fgsm": {},
    "alg1": {"steps": 10},
    "pgd": {"steps": 20},
}
SMALLEST = ("deepfool", "minnorm")
BOUNDS = (0.0, 1.0)
SHOWN = 8


@dataclass(frozen=True)
class Restored:
    """The autoencoder's outputs at the clean points and under one attack at one eps."""

    clean: Array
    after: Array
    result: AttackResult

    @property
    def error(self) -> float:
        """Mean squared change of an output pixel."""
        return float(np.mean((self.after - self.clean) ** 2))

    @property
    def psnr(self) -> float:
        """Mean over the samples of 10 log10(1 / MSE), in dB."""
        change = (self.after.astype(np.float64) - self.clean).reshape(len(self.clean), -1)
        return float(np.mean(-10 * np.log10(np.maximum(np.mean(change**2, axis=1), 1e-30))))


def run(out: str, seed: int) -> None:
    """Attack both models, print both tables, write report.html."""
    folder = ready_folder(out)
    started = time.perf_counter()
    x, y = digits()
    console = Console(stderr=True)
    with warnings.catch_warnings(record=True) as caught, console.status("attacking") as status:
        warnings.simplefilter("always", PertcoreWarning)
        classifier = pertcore.from_onnx(CLASSIFIER)
        fooled = {
            (name, eps): _attacked(classifier, x, y, name, eps, seed, status)
            for name in BUDGETED
            for eps in EPS
        }
        smallest = {
            name: _attacked(classifier, x, y, name, None, seed, status) for name in SMALLEST
        }
        restored = _restored(pertcore.from_onnx(AUTOENCODER), x, seed, status)
    notes = [as_flags(str(w.message)) for w in caught if issubclass(w.category, PertcoreWarning)]
    tables = [_ratios(fooled), _norms(smallest), _errors(restored)]
    for table in tables:
        show_table(table.title, table.header, [[str(cell) for cell in row] for row in table.rows])
    warn(notes)
    page = Report(
        title="pertcore on handwritten digits",
        lead=f"{len(x)} held-out images of 8 x 8 pixels. Every figure is recomputed from the "
        "perturbed images on the model itself; every perturbation lies inside the budget and "
        "inside [0, 1].",
        command=f"pertcore demo --out {folder} --seed {seed}",
        charts=[_curves(fooled)],
        tables=tables,
        galleries=[_digits(fooled["alg1", SHOWN_EPS], x), _restorations(restored, x)],
        warnings=list(dict.fromkeys(notes)),
        facts=_facts(time.perf_counter() - started),
    )
    write_report(folder / "report.html", page)
    say(f"{time.perf_counter() - started:.1f} s; pictures in {folder / 'report.html'}")


def _attacked(
    model: Oracle, x: Array, y: Array | None, name: str, eps: float | None, seed: int, status: Any,
    task: str = "classification",
) -> AttackResult:  # fmt: skip
    status.update(name if eps is None else f"{name}, eps {eps}")
    return pertcore.attack(
        model, x, y, attack=name, norm="inf", eps=eps, bounds=BOUNDS, rng=seed, task=task,
        **BUDGETED.get(name, {}),
    )  # fmt: skip


def _restored(model: Oracle, x: Array, seed: int, status: Any) -> dict[tuple[str, float], Restored]:
    clean, found = model(x), {}
    for name in ("random", "alg1"):
        for eps in EPS:
            result = _attacked(model, x, None, name, eps, seed, status, "regression")
            found[name, eps] = Restored(clean, model(result.x_adv), result)
    return found


def _ratios(fooled: dict[tuple[str, float], AttackResult]) -> Table:
    rows = [
        (_label(name), *(f"{100 * fooled[name, eps].fooling_ratio:.1f} %" for eps in EPS))
        for name in BUDGETED
    ]
    return Table(
        "Digit classifier: fooling ratio over the budget eps (linf)",
        ("attack", *(f"eps {eps:g}" for eps in EPS)),
        rows,
        "Share of the correctly classified images whose class the perturbation changes.",
    )


def _norms(smallest: dict[str, AttackResult]) -> Table:
    rows = [
        (
            name,
            f"{100 * result.fooling_ratio:.1f} %",
            shown(float(np.median(result.norms[result.success]))),
            shown(float(np.quantile(result.norms[result.success], 0.1))),
        )
        for name, result in smallest.items()
    ]
    return Table(
        "Digit classifier: smallest perturbations found (linf)",
        ("attack", "fooled", "median norm", "10 % need at most"),
        rows,
    )


def _errors(restored: dict[tuple[str, float], Restored]) -> Table:
    rows = [
        (
            f"{_label(name)}, {what}",
            *(shown(getattr(restored[name, eps], figure)) for eps in EPS),
        )
        for figure, what in (("error", "mean squared error"), ("psnr", "PSNR in dB"))
        for name in ("random", "alg1")
    ]
    return Table(
        "Autoencoder: how far its output moves (linf, no labels)",
        ("attack", *(f"eps {eps:g}" for eps in EPS)),
        rows,
        "Against its own output at the clean image; lower PSNR is a stronger attack.",
    )


def _curves(fooled: dict[tuple[str, float], AttackResult]) -> Chart:
    lines = [
        Series(_label(name), [(0, 0), *((eps, fooled[name, eps].fooling_ratio) for eps in EPS)])
        for name in BUDGETED
    ]
    return Chart("Fooling ratio over eps", "eps (linf)", lines)


def _label(name: str) -> str:
    steps = BUDGETED[name].get("steps")
    return name if steps is None else f"{name}-{steps}"


def _digits(result: AttackResult, x: Array) -> Gallery:
    places = np.flatnonzero(result.success)[:SHOWN]
    pictures = [picture(example_at(x, result, int(place)), BOUNDS) for place in places]
    return Gallery(f"Fooled by {_label('alg1')} at eps {SHOWN_EPS:g}", pictures, PICTURED, True)


def _restorations(restored: dict[tuple[str, float], Restored], x: Array) -> Gallery:
    chance, found = restored["random", SHOWN_EPS], restored["alg1", SHOWN_EPS]
    change = np.sum((found.after - found.clean).reshape(len(x), -1) ** 2, axis=1)
    worst: Sequence[int] = np.argsort(-change, kind="stable")[:SHOWN].tolist()
    pictures = []
    for i in worst:
        delta, peak = delta_uri(found.result.delta[i])
        images = (
            (value_uri(x[i], *BOUNDS), "input"),
            (value_uri(found.clean[i], *BOUNDS), "output"),
            (delta, f"perturbation, white = {peak:.3g}"),
            (value_uri(found.after[i], *BOUNDS), "output under alg1"),
            (value_uri(chance.after[i], *BOUNDS), "output under random signs"),
        )
        pictures.append(Picture(f"Sample {i}", images, False))
    return Gallery(
        f"Autoencoder at eps {SHOWN_EPS:g}: where its output moves most",
        pictures,
        "Random signs of the same size change the output far less.",
    )


def _facts(seconds: float) -> dict[str, str]:
    facts = {"seconds": f"{seconds:.1f}", **{k: str(v) for k, v in machine().items()}}
    facts |= {f"sha256 of {path.name}": next(iter(fingerprint([path]).values()))
              for path in (CLASSIFIER, AUTOENCODER, DATA)}  # fmt: skip
    return facts | {"versions": ", ".join(f"{k} {v}" for k, v in versions().items())}
