"""The comparison as a page: every table is made from the rows of bench/results/peers.json."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from bench.peers.calling import ONNX, TORCH

Row = dict[str, Any]
PEERS = ("Foolbox", "ART", "torchattacks", "adv-lib")

# Ours that the speed of DeepFool is compared with: alone, and with its walk back.
DEEPFOOLS = ("deepfool, refine=0", "deepfool, refine=8", "deepfool")
# By how much our median norm may be the larger one where a ratio of times counts.
LARGEST_SHARE = 1.01

HEAD = """# Beside Foolbox, ART, torchattacks and adv-lib

<!-- written by `python -m bench.peers` from bench/results/peers.json -->

The same models, images, budgets, steps, seed and number of threads ({threads}) for every library;
Foolbox 3.3.4, ART 1.20.1, torchattacks 3.5.1, adv-lib 0.2.8, pertcore from the ONNX file and,
where it says so, from the same PyTorch module (onnx2torch) as the others. Only images that the
model classifies as labelled are given. No figure is a library's own: `x_adv` is taken, and ball,
box, norm and success are computed from it in float64, success on ONNX Runtime and on PyTorch. A
pass is a forward or a backward run of one sample, c cotangents count c; a wrapper around the
module counts them, for pertcore from ONNX the oracle does. Seconds are processor time.

`python -m bench.peers` does all of it again, `--quick` with few samples.
Measured on: {machine}, with other work beside it (load {load:.0f}), which is why
time is the processor's, and why ratios are to be read to one digit.
"""

LEFT_OUT = """## Left out

Other l1 and l0 attacks, C&W. FAB and square stand only inside AutoAttack.
"""


def page(report: dict[str, Any]) -> str:
    """The whole page, from what the JSON file holds."""
    rows: dict[str, list[Row]] = defaultdict(list)
    for row in report["rows"]:
        rows[row["section"]].append(row)
    facts = report["machine"]
    machine = f"{facts['processor']}, {facts['cores']} cores, {facts['system']}"
    parts = [
        HEAD.format(threads=report["threads"], machine=machine, load=facts["load_before"] or 0),
        _autoattack(rows["autoattack"]),
        _pgd(rows["pgd"]), _at_length(rows), _minimum(rows["minimum"]),
        _speed(rows["speed"], "pgd"), _speed(rows["speed"], "deepfool"), _curve(rows["curve"]),
        _profile(rows),
        _projection(rows["projection"]), _inside(report["rows"]),
    ]  # fmt: skip
    return "\n".join(part for part in [*parts, LEFT_OUT] if part)


def table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join([*lines, *("| " + " | ".join(map(str, row)) + " |" for row in rows)]) + "\n"


def by_cell(rows: Iterable[Row]) -> dict[tuple[str, str, float | None], list[Row]]:
    found: dict[Any, list[Row]] = defaultdict(list)
    for row in rows:
        found[row["model"], row["norm"], row["eps"]].append(row)
    return dict(found)


def named(cell: tuple[str, str, float | None]) -> list[str]:
    """Model, norm and budget as a table shows them."""
    model, norm, eps = cell
    budget = "" if eps is None else f"{eps:.4g}"
    shown = next((f"{n}/255" for n in (0.5, 2, 8, 36) if eps == n / 255), budget)
    return [model, f"l{norm}", shown] if eps is not None else [model, f"l{norm}"]


def of(rows: Iterable[Row], library: str, attack: str, loss: str | None = None) -> list[Row]:
    wanted = library, attack, loss
    return [
        row for row in rows
        if (row["library"], row["attack"], row["options"].get("loss")) == wanted
    ]  # fmt: skip


def _autoattack(rows: list[Row]) -> str:
    lines = []
    for cell, held in by_cell(rows).items():
        theirs, ours = of(held, "torchattacks", "autoattack"), of(held, ONNX, "portfolio")
        both = {row["part"] for row in theirs} & {row["part"] for row in ours}
        theirs, ours = ([row for row in side if row["part"] in both] for side in (theirs, ours))
        if not both:
            continue
        passes = [_pooled(side, "passes") for side in (ours, theirs)]
        clean = _count(ours) / sum(row["looked"] for row in ours)
        robust = [clean * (1 - _pooled(side, "success")) for side in (ours, theirs)]
        lines.append([
            *named(cell), _count(ours), f"{clean:.1%}", *(f"{share:.1%}" for share in robust),
            *(f"{p:.0f}" for p in passes), f"{passes[0] / passes[1]:.3f}",
        ])  # fmt: skip
    if not lines:
        return ""
    return (
        "## Robust accuracy: `portfolio` beside AutoAttack's standard version\n\n"
        "AutoAttack is torchattacks' apgd-ce, apgd-t, fab-t and square with the parameters of the "
        "standard version:\n100 steps a run, nine target classes, 5000 queries. "
        "`torchattacks.AutoAttack(version='standard')` itself leaves\nthe steps at 10, which is "
        "not the standard. Asked for: no higher robust accuracy, at most a fifth of the passes.\n\n"
        + table(
            ["model", "norm", "eps", "images", "clean", "robust, pertcore", "robust, AutoAttack",
             "passes, pertcore", "passes, AutoAttack", "share"], lines,
        )
    )  # fmt: skip


def _count(rows: list[Row]) -> int:
    return sum(row["samples"] for row in rows)


def _pooled(rows: list[Row], name: str) -> float:
    return sum(row["samples"] * row[name] for row in rows) / max(_count(rows), 1)


# heading -> library, attack, loss where it was chosen
FIXED = {
    "`apgd`": (ONNX, "apgd"), "`apgd`, DLR": (ONNX, "apgd", "dlr"),
    "`pgd`": (ONNX, "pgd"), "`alg1`": (ONNX, "alg1"),
    **{f"{peer} PGD": (peer, "pgd") for peer in PEERS},
    "torchattacks APGD": ("torchattacks", "apgd"), "adv-lib APGD, DLR": ("adv-lib", "apgd", "dlr"),
}  # fmt: skip


def _pgd(rows: list[Row]) -> str:
    if not rows:
        return ""
    lines = [
        [*named(cell), held[0]["samples"], *(_share(of(held, *who)) for who in FIXED.values())]
        for cell, held in by_cell(rows).items()
    ]
    return (
        "## Fixed budget, 40 steps each: who is fooled\n\n"
        "Share of the images fooled, in brackets the passes an image. PGD everywhere with a random "
        "start and the step 2.5 eps / 40;\n`alg1` is Algorithm 1 with 40 steps.\n\n"
        + table(["model", "norm", "eps", "images", *FIXED], lines)
    )


def _share(rows: list[Row]) -> str:
    return f"{rows[0]['success']:.1%} ({rows[0]['passes']:.0f})" if rows else "-"


def _at_length(rows: dict[str, list[Row]]) -> str:
    long = by_cell(rows["pgd at length"])
    lines = [
        [*named(cell), held[0]["samples"], _share(of(held, ONNX, "portfolio")),
         *(_share(of(held, peer, "pgd")) for peer in PEERS)]
        for cell, held in long.items()
    ]  # fmt: skip
    if not lines:
        return ""
    return (
        "## Fixed budget, as many passes as the portfolio\n\nEach PGD has half as many steps as "
        "the portfolio took passes.\n\n"
        + table(
            ["model", "norm", "eps", "images", "`portfolio`", *(f"{p} PGD" for p in PEERS)], lines
        )
    )


def _minimum(rows: list[Row]) -> str:
    if not rows:
        return ""
    kinds = ("fmn", "ddn", "deepfool")
    lines = []
    sparse = {row["model"]: row["median norm"] for row in rows if row["attack"] == "sigma_zero"}
    for cell, held in by_cell(rows).items():
        shown, best = [], math.inf
        for kind in kinds:
            found = [_median(row) for row in held if row["attack"] == kind
                     and row["library"] in PEERS]  # fmt: skip
            best = min([best, *found])
            shown.append(_norm(min(found, default=math.inf)))
        ours = [min(map(_median, of(held, ONNX, kind)), default=math.inf) for kind in kinds]
        lines.append([
            *named(cell), held[0]["samples"], *map(_norm, ours), *shown,
            _norm(sparse[cell[0]]) if cell[1] == "0" else "-", f"{min(ours) / best:.3f}",
            ", ".join(f"{o / best:.3f}" for o in ours if math.isfinite(o)),
        ])  # fmt: skip
    return (
        "## The smallest perturbation: median norms\n\nl0 is the number of changed entries. Who "
        "stands counts as infinitely far. FMN, DDN and sigma-zero\nhave 100 steps, DeepFool 50. Of "
        "the peers the best one is shown: Foolbox's and adv-lib's FMN with first steps of 1\nand "
        "10, their DDN and DeepFool, ART's and torchattacks' DeepFool. Asked for: at most 1.01 of "
        "the best of these;\nadv-lib's sigma-zero, which knows l0 alone, stands beside them.\n\n"
        + table(
            ["model", "norm", "images", *(f"`{k}`" for k in kinds),
             *(f"best peer's {k}" for k in kinds), "sigma-zero", "our best / best peer",
             "each of ours"], lines,
        )
    )  # fmt: skip


def _median(row: Row) -> float:
    return math.inf if row["median norm"] is None else row["median norm"]


def _norm(value: float) -> str:
    return f"{value:.4g}" if math.isfinite(value) else "-"


def _speed(rows: list[Row], kind: str) -> str:
    kinds = ("deepfool", "minnorm") if kind == "deepfool" else (kind,)
    rows = [row for row in rows if row["attack"] in kinds]
    lines = []
    for cell, held in by_cell(rows).items():
        times: dict[tuple[str, str], list[Row]] = defaultdict(list)
        for row in held:
            times[row["library"], _attack(row)].append(row)
        names = ["pgd"] if kind == "pgd" else DEEPFOOLS
        bases = [times.get((ONNX, name), []) for name in names]
        for (library, attack), turns in times.items():
            took = _seconds(turns)
            lines.append([
                *named(cell), library, attack, f"{turns[0]['success']:.1%}",
                *([] if kind == "pgd" else [_norm(_median(turns[0]))]),
                f"{turns[0]['passes']:.0f}", f"{took:.3g}",
                *(_times(turns, base) for base in bases),
            ])  # fmt: skip
    if not lines:
        return ""
    head = ["model", "norm", *(["eps"] if kind == "pgd" else []), "library", "attack", "fooled"]
    head += [] if kind == "pgd" else ["median norm"]
    says = (
        "## Speed: PGD-40, 512 images\n\nMedian of one to three turns, in alternation. Asked "
        "for: every peer at least twice as long as pertcore.\n\n"
        if kind == "pgd"
        else "## Speed: DeepFool, l2\n\n`refine=0` is DeepFool alone, which ends at the first "
        "crossing as the others do; `refine` rounds\nlead nearer to x, 20 by default. Asked for: "
        "Foolbox 10 times and torchattacks 50 times as long. A ratio counts where our median "
        "norm\nis no larger than 1.01 times the other's; else it is in brackets.\n\n"
    )
    than = [""] if kind == "pgd" else [f" as `{name}`" for name in DEEPFOOLS]
    return says + table([*head, "passes", "seconds", *(f"times as long{t}" for t in than)], lines)


def _attack(row: Row) -> str:
    refine = row["options"].get("refine")
    return row["attack"] if refine is None else f"{row['attack']}, refine={refine}"


def _times(turns: list[Row], base: list[Row]) -> str:
    """How often the time of `base`; in brackets where its points are farther than these."""
    if not base:
        return "-"
    ratio = f"{_seconds(turns) / _seconds(base):.1f}"
    farther = _median(base[0]) > LARGEST_SHARE * _median(turns[0])
    return f"({ratio})" if base[0]["median norm"] is not None and farther else ratio


def _profile(rows: dict[str, list[Row]]) -> str:
    """Where our time goes, and what the ratio would be if only the model took time; of what no
    peer was timed at, nothing."""
    lines = []
    for row in rows["profile"]:
        took, cell = row["processor seconds"], (row["model"], row["norm"], row["eps"])
        model, kernels = row["model seconds"] / took, row["kernel seconds"] / took
        ratio = _ratio(rows, row)
        if not math.isnan(ratio):
            lines.append([
                *named(cell)[:2], _attack(row), row["library"], f"{took:.3g}", f"{model:.0%}",
                f"{kernels:.0%}", f"{1 - model - kernels:.0%}", f"{ratio:.1f}",
                f"{ratio / model:.1f}",
            ])  # fmt: skip
    if not lines:
        return ""
    return (
        "## Where pertcore's time goes\n\nOf one run: the model's forward and backward runs, the "
        "kernels, and all the rest. The next figure is the time of the\nfastest peer over ours, "
        "for a curve Foolbox's; the last is what it would be if nothing but the model's own runs "
        "took time.\n\n"
        + table(
            ["model", "norm", "attack", "library", "seconds", "model", "kernels", "rest",
             "fastest peer", "at most"], lines,
        )
    )  # fmt: skip


def _ratio(rows: dict[str, list[Row]], ours: Row) -> float:
    """The fastest peer's median over that of the same attack of ours; NaN where it was not run."""
    section = "curve" if ours["attack"] == "curve" else "speed"
    cell = [ours[key] for key in ("model", "norm", "eps")]
    turns: dict[str, list[Row]] = defaultdict(list)
    for row in rows[section]:
        if [row[key] for key in ("model", "norm", "eps")] != cell or row["attack"] != ours[
            "attack"
        ]:
            continue
        same = row["options"] == ours["options"]
        if row["library"] in PEERS or (same and row["library"] == ours["library"]):
            turns[row["library"]].append(row)
    peers = [_seconds(held) for library, held in turns.items() if library in PEERS]
    return min(peers, default=math.nan) / _seconds(turns[ours["library"]])


def _curve(rows: list[Row]) -> str:
    lines = []
    for cell, held in by_cell(rows).items():
        runs: dict[tuple[str, str], list[Row]] = defaultdict(list)
        for row in held:
            runs[row["library"], row["options"].get("by", "pgd")].append(row)
        base = _seconds(runs[ONNX, "alg1"])
        for (library, attack), turns in runs.items():
            robust, took = turns[0]["robust"], _seconds(turns)
            lines.append([
                *named(cell), f"{turns[0]['options']['grid'][-1]:.4g}", turns[0]["samples"],
                library, attack, f"{statistics.mean(robust):.1%}", f"{turns[0]['passes']:.0f}",
                f"{took:.3g}", f"{took / base:.1f}",
            ])  # fmt: skip
    if not lines:
        return ""
    return (
        "## Twenty budgets\n\n`pc.curve`, and Foolbox's PGD given a list of budgets, ten steps "
        "each; a point that fools counts at every larger budget\nfor both. Median of the turns. "
        "Asked for: Foolbox 10 times as long.\n\n"
        + table(
            ["model", "norm", "largest", "images", "library", "attack", "mean robust accuracy",
             "passes", "seconds", "times as long"], lines,
        )
    )  # fmt: skip


def _seconds(turns: list[Row]) -> float:
    return statistics.median(row["processor seconds"] for row in turns) if turns else math.nan


def _projection(rows: list[Row]) -> str:
    lines = []
    for shape in sorted({tuple(row["shape"]) for row in rows}):
        held = [row for row in rows if tuple(row["shape"]) == shape]
        base = next((r["processor seconds"] for r in held if r["library"] == ONNX), math.nan)
        lines += [
            [f"{shape[0]} x {shape[1]}", row["library"].replace(" (ONNX)", ""), row["name"],
             f"{1e3 * row['processor seconds']:.3g}",
             f"{row['processor seconds'] / base:.0f}", f"{row['farthest from bisection']:.1e}"]
            for row in held
        ]  # fmt: skip
    if not lines:
        return ""
    return (
        "## The exact projection on the l1 ball\n\nFloat32 rows of standard normal numbers, "
        "radius a tenth of their mean norm; the best of seven. The last column is the\nlargest "
        "distance of an entry from a float64 bisection of the definition. Asked for: 40 times.\n\n"
        + table(["rows", "library", "which", "ms", "times as long", "apart"], lines)
    )


def _inside(rows: list[Row]) -> str:
    held = [row for row in rows if row.get("eps") is not None and "outside exactly" in row]
    lines = []
    for library in (ONNX, TORCH, *PEERS):
        own = [row for row in held if row["library"] == library]
        if own:
            share, far = _pooled(own, "outside exactly"), max(r["farthest outside"] for r in own)
            lines.append([library, f"{share:.1%}", f"{far:.1e}"])
    if not lines:
        return ""
    return (
        "## Inside ball and box, judged in float64\n\nOver all fixed-budget runs: the share of "
        "points outside by any amount, and the farthest. Up to 1e-6 counts as success\nabove.\n\n"
        + table(["library", "outside", "by at most"], lines)
    )
