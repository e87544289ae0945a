"""Fig. 4 drawn: output PSNR against input PSNR, and against the number of changed pixels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

COLOURS = ("#888888", "#1f77b4", "#17becf", "#ff7f0e", "#d62728", "#2ca02c")


def plot(report: dict[str, Any], path: Path) -> None:
    """A row a model: p = 2, p = inf, and changed pixels where there are any; dashed: no box."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    models = list(dict.fromkeys(row["model"] for row in report["curves"]))
    figure, axes = pyplot.subplots(
        len(models), 3, figsize=(13, 3.6 * len(models)), squeeze=False, layout="constrained"
    )
    for row, model in zip(axes, models, strict=True):
        for axis, norm in zip(row, ("2", "inf"), strict=False):
            _curves(axis, model, norm, report["curves"])
        _pixels(row[2], model, report["pixels"])
    figure.savefig(path, dpi=90)
    pyplot.close(figure)


def _curves(axis: Any, model: str, norm: str, points: list[dict[str, Any]]) -> None:
    mine = [p for p in points if p["model"] == model and p["norm"] == norm]
    names = list(dict.fromkeys(p["attack"] for p in mine))
    for colour, name in zip(COLOURS, names, strict=False):
        for boxed, style in ((True, "-"), (False, "--")):
            line = [p for p in mine if p["attack"] == name and p["box"] is boxed]
            axis.plot(
                [p["psnr_in"] for p in line], [p["psnr_out"] for p in line], style, color=colour,
                marker="o", markersize=3, label=name if boxed else None,
            )  # fmt: skip
    axis.set(title=f"{model}, p = {norm}", xlabel="input PSNR (dB)", ylabel="output PSNR (dB)")
    axis.grid(alpha=0.3)
    axis.legend(fontsize=7, title="solid: box, dashed: none", title_fontsize=7)


def _pixels(axis: Any, model: str, points: list[dict[str, Any]]) -> None:
    mine = [p for p in points if p["model"] == model]
    if not mine:
        axis.axis("off")
        return
    for colour, name in zip(COLOURS, dict.fromkeys(p["attack"] for p in mine), strict=False):
        line = [p for p in mine if p["attack"] == name]
        axis.plot(
            [p["T"] for p in line], [p["psnr_out"] for p in line], marker="o", markersize=3,
            color=colour, label=name,
        )  # fmt: skip
    axis.set(
        title=f"{model}, T pixels, eps = 1", xlabel="T", ylabel="output PSNR (dB)", xscale="log"
    )
    axis.grid(alpha=0.3)
    axis.legend(fontsize=7)
