"""The figures of docs/paper.md, drawn from the stored results: curves as PNG, pictures as WebP."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from bench.paper.examples import CIFAR, unpacked
from pertcore.evaluation.intervals import wilson

Results = dict[str, dict[str, Any]]
TITLES = {
    "fcnn": "FCNN (MNIST)", "lenet5": "LeNet-5 (MNIST)", "nin": "NIN (CIFAR-10)",
    "densenet40": "DenseNet-40 (CIFAR-10)", "given-resnet20": "ResNet-20 (CIFAR-10, given)",
    "fcnn-adam": "FCNN, Adam", "fcnn-adam-decay": "FCNN, Adam with decay",
    "lenet5-adam": "LeNet-5, Adam", "digits-fcnn": "FCNN (digits)",
    "given-lenet5": "LeNet-5 (MNIST, given)",
    "mnist-autoencoder": "MNIST autoencoder", "cifar-autoencoder": "CIFAR-10 autoencoder",
    "digits-autoencoder": "digits autoencoder", "colorizer": "colorization, STL-10",
    "given-colorizer": "given colorization, STL-10",
}  # fmt: skip
# method -> colour and line; the paper's are solid, single steps thin.
STYLES = {
    "random": ("#888888", ":"), "FGSM": ("#8c564b", "--"), "Algorithm 2": ("#9467bd", "--"),
    "Algorithm 1": ("#17becf", "--"), "Algorithm 1-10": ("#d62728", "-"),
    "PGD-10, Table II": ("#ff7f0e", "-"), "PGD-10, Madry": ("#2ca02c", "-"),
    "DeepFool": ("#1f77b4", "-"), "APGD-50": ("#000000", "-."), "portfolio": ("#e377c2", ""),
}  # fmt: skip
LINES = {
    "random": ("#888888", ":"), "linear-1": ("#17becf", "--"), "linear-20": ("#1f77b4", "-"),
    "quadratic": ("#ff7f0e", "-"), "quadratic, best": ("#8c564b", "--"),
    "iterated-quadratic-20": ("#d62728", "-"), "random-pixel-1": ("#888888", ":"),
    "random-pixel-100": ("#444444", "--"), "linear-pixel-1": ("#17becf", "-"),
    "quadratic-pixel-1": ("#ff7f0e", "-"), "linear-pixel-100": ("#d62728", "-"),
    "linear-1, labels": ("#17becf", "--"), "linear-10, labels": ("#d62728", "-"),
    "linear-10, own output": ("#1f77b4", "-"), "linear-10, vanishing": ("#2ca02c", "-"),
}  # fmt: skip
LETTERS = {"fig4a": "(a) ", "fig4b": "(b) ", "fig4c": "(c) ", "fig4d": "(d) ", "fig4d-given": ""}


def panel(key: str, part: dict[str, Any]) -> str:
    """The title of a panel of Fig. 4."""
    settings = part["settings"]
    pixels = all("pixel" in name for name in settings["attacks"])
    where = "pixels" if pixels else f"p = {settings['norm']}"
    return f"{LETTERS[key]}{TITLES[settings['network']]}, {where}"


def drawn(results: Results, folder: Path) -> list[str]:
    """Draws what the results allow; the names of the files, in order."""
    import matplotlib

    matplotlib.use("Agg")
    folder.mkdir(parents=True, exist_ok=True)
    names = []
    for name, (needs, draw) in FIGURES.items():
        parts = {key: found for key, found in results.items() if key.startswith(needs)}
        if parts and (figure := draw(parts)) is not None:
            _saved(figure, folder / name)
            names.append(name)
    return names


def _saved(figure: Any, path: Path) -> None:
    from matplotlib import pyplot
    from PIL import Image

    held = io.BytesIO()
    figure.savefig(held, format="png", dpi=110)
    pyplot.close(figure)
    image = Image.open(held).convert("RGB")
    if path.suffix == ".webp":
        image.save(path, quality=80, method=6)
    else:
        image.quantize(128).save(path, optimize=True)


def grid(count: int, columns: int, width: float, height: float) -> tuple[Any, list[Any]]:
    """A figure of `count` axes, the unused ones hidden."""
    from matplotlib import pyplot

    rows = -(-count // columns)
    figure, axes = pyplot.subplots(
        rows, columns, figsize=(width * columns, height * rows), squeeze=False, layout="constrained"
    )
    for axis in axes.flat[count:]:
        axis.axis("off")
    return figure, list(axes.flat)


def fooling(parts: Results) -> Any:
    """Fig. 1, a panel a network, the legend in the next cell."""
    parts = {k: part for k, part in parts.items() if "curves" in part}
    figure, axes = grid(len(parts) + 1, min(3, len(parts) + 1), 4.2, 3.4)
    for axis, part in zip(axes, parts.values(), strict=False):
        right = part["right"]
        for name, rows in part["curves"].items():
            colour, line = STYLES[name]
            eps = [row["eps"] for row in rows]
            share = np.array([row["fooled"] / right for row in rows])
            mark = "*" if name == "portfolio" else "."
            axis.plot(eps, share, line, marker=mark, color=colour, label=name, linewidth=1.4)
            if name == "Algorithm 1-10":
                axis.fill_between(eps, *wilson(share, right), color=colour, alpha=0.15)
        axis.set(
            title=TITLES[part["settings"]["network"]], xlabel="eps", ylabel="fooling ratio",
            ylim=(-0.02, 1.02),
        )  # fmt: skip
        axis.locator_params(axis="x", nbins=5)
        axis.grid(alpha=0.3)
    last = axes[len(parts)]
    last.axis("off")
    last.legend(*axes[0].get_legend_handles_labels(), loc="center", fontsize=9, frameon=False)
    return figure


def fooled(parts: Results) -> Any:
    """Fig. 2: image, perturbation, perturbed image, a row of each for every network."""
    panels = [p for p in parts["fig2"]["panels"] if p["before"]]
    if not panels:
        return None
    figure, axes = grid(len(panels), min(2, len(panels)), 5.4, 4.6)
    for axis, panel in zip(axes, panels, strict=False):
        x, x_adv = unpacked(panel["x"]), unpacked(panel["x_adv"])
        apart = x_adv.astype(float) - x
        shown = np.clip(127.5 + apart * 127.5 / (255 * panel["eps"]), 0, 255).astype(np.uint8)
        mosaic(axis, [x, shown, x_adv], ["image", "eta", "x + eta"])
        named = CIFAR if x.shape[1] == 3 else tuple(map(str, range(10)))
        side = x.shape[-1] + 2
        for i, (a, b) in enumerate(zip(panel["before"], panel["after"], strict=True)):
            axis.text(
                (i + 0.5) * side, 3 * side + 1, f"{named[a]} ->\n{named[b]}", ha="center", va="top",
                fontsize=9,
            )  # fmt: skip
        axis.set_title(f"{TITLES[panel['network']]}, eps = {panel['eps']:g}", fontsize=10)
    return figure


def mosaic(axis: Any, rows: list[np.ndarray], names: list[str]) -> None:
    """Rows of images (n, channels, h, w) uint8, two pixels apart, their names to the left."""
    n, _, h, w = rows[0].shape
    whole = np.full((len(rows) * (h + 2), n * (w + 2), 3), 255, np.uint8)
    for r, images in enumerate(rows):
        for i, image in enumerate(images):
            top, left = r * (h + 2), i * (w + 2)
            whole[top : top + h, left : left + w] = np.moveaxis(image, 0, -1)
    axis.imshow(whole, interpolation="nearest")
    axis.set_yticks([(r + 0.5) * (h + 2) for r in range(len(rows))], names, fontsize=10)
    axis.set_xticks([])
    axis.tick_params(length=0)
    for spine in axis.spines.values():
        spine.set_visible(False)


def restored(parts: Results) -> Any:
    """Fig. 3: inputs and outputs, as they are, with noise and attacked."""
    figure, axes = grid(len(parts), len(parts), 4.2, 5.6)
    for axis, (key, part) in zip(axes, sorted(parts.items()), strict=False):
        rows, names = [], []
        for panel in part["panels"]:
            psnr = "" if "psnr_in" not in panel else "\n{:.1f} dB"
            rows += [unpacked(panel["x"]), unpacked(panel["f"])]
            names += [
                panel["name"] + psnr.format(panel.get("psnr_in")),
                "output" + psnr.format(panel.get("psnr_out")),
            ]
        mosaic(axis, rows, names)
        axis.set_title(f"({key[-1]}) {TITLES[part['settings']['network']]}", fontsize=10)
    return figure


def psnrs(parts: Results) -> Any:
    """Fig. 4: mean output PSNR against mean input PSNR, with Student's interval."""
    figure, axes = grid(len(parts), 2 if len(parts) > 1 else 1, 5.2, 3.8)
    for axis, (key, part) in zip(axes, sorted(parts.items()), strict=False):
        for name in part["settings"]["attacks"]:
            rows = [
                r for r in part["rows"] if r["attack"] == name and r["psnr_out"] is not None
            ]  # fmt: skip
            colour, line = LINES[name]
            axis.errorbar(
                [r["psnr_in"] for r in rows], [r["psnr_out"] for r in rows],
                [r["half"] or 0 for r in rows], fmt=line, marker=".", color=colour, label=name,
                elinewidth=0.7, capsize=2, linewidth=1.4,
            )  # fmt: skip
        axis.set(title=panel(key, part), xlabel="input PSNR (dB)", ylabel="output PSNR (dB)")
        axis.grid(alpha=0.3)
        axis.legend(fontsize=7)
    return figure


def losses(parts: Results) -> Any:
    """Fig. 5(a): the detector's training loss, and the share of its boxes that is lost."""
    part = parts["fig5"]
    figure, axes = grid(2, 2, 5.0, 3.6)
    for name in dict.fromkeys(row["attack"] for row in part["rows"]):
        rows = [row for row in part["rows"] if row["attack"] == name]
        colour, line = LINES[name]
        eps = [row["eps"] for row in rows]
        axes[0].errorbar(
            eps, [r["loss"] for r in rows], [1.96 * r["error"] for r in rows], fmt=line, marker=".",
            color=colour, label=name, elinewidth=0.7, capsize=2,
        )  # fmt: skip
        lost = [100 * r["lost"] / max(1, r["boxes"]) for r in rows]
        axes[1].plot(eps, lost, line, marker=".", color=colour, label=name)
    axes[0].axhline(part["loss"], color="#bbbbbb", linewidth=1, label="unperturbed")
    axes[0].set(xlabel="eps, of 255", ylabel="loss on the labelled boxes")
    axes[1].set(xlabel="eps, of 255", ylabel="confident boxes lost (%)", ylim=(-2, 102))
    for axis in axes:
        axis.grid(alpha=0.3)
    axes[0].legend(fontsize=7)
    return figure


def boxes(parts: Results) -> Any:
    """Fig. 5(b): pictures with what the detector finds, before and after."""
    from PIL import Image

    columns = parts["fig5"]["pictures"]
    count = len(columns["clean"]["jpeg"])
    figure, axes = grid(count * len(columns), len(columns), 3.6, 3.6)
    for k, (name, held) in enumerate(columns.items()):
        for i in range(count):
            axis = axes[i * len(columns) + k]
            picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(held["jpeg"][i]))))
            axis.imshow(picture)
            _boxed(axis, held["boxes"][i], picture.shape[0])
            axis.axis("off")
            if i == 0:
                axis.set_title(name, fontsize=10)
    return figure


def _boxed(axis: Any, found: Any, side: int) -> None:
    from matplotlib.patches import Rectangle

    surest = sorted(found[1], reverse=True)[:10][-1:]  # more names than ten cover the picture
    for (left, top, right, bottom), score, name in zip(*found, strict=True):
        corner = (left * side, top * side)
        size = ((right - left) * side, (bottom - top) * side)
        axis.add_patch(Rectangle(corner, *size, fill=False, color="#ffdd00", linewidth=1.4))
        if score < surest[0]:
            continue
        axis.text(
            max(corner[0], 0) + 3, max(corner[1], 0) + 12, f"{name} {score:.2f}", fontsize=7,
            color="black", clip_on=True,
            bbox={"facecolor": "#ffdd00", "pad": 0.8, "edgecolor": "none"},
        )  # fmt: skip


FIGURES: dict[str, tuple[str, Callable[[Results], Any]]] = {
    "fig1.png": ("classifier-", fooling), "fig2.webp": ("fig2", fooled),
    "fig3.webp": ("fig3", restored), "fig4.png": ("fig4", psnrs), "fig5a.png": ("fig5", losses),
    "fig5b.webp": ("fig5", boxes),
}  # fmt: skip
