"""What is asked of whom: the sections of the comparison, each a function of the measurements."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from bench.peers.calling import ONNX, TORCH
from bench.peers.measuring import Cell, Measurements

LENET, WONG, COLT = "mnist_lenet5_cln", "mnist_wongkolter_0.1", "mnist_colt_0.1"
RESNET, WONG_L2 = "cifar10_resnet20", "cifar10_wongkolter_l2_36px"
# The models' own budgets, and for each a second one where many but not all samples fall.
CELLS = (
    Cell(WONG, math.inf, 0.1), Cell(WONG_L2, 2, 36 / 255), Cell(LENET, math.inf, 0.1),
    Cell(COLT, math.inf, 0.1), Cell(RESNET, math.inf, 2 / 255), Cell(WONG, math.inf, 0.15),
    Cell(COLT, math.inf, 0.15), Cell(LENET, 2, 1.0), Cell(COLT, 2, 1.0),
    Cell(RESNET, math.inf, 0.5 / 255),
)  # fmt: skip
MODELS = (WONG, WONG_L2, LENET, COLT, RESNET)
SAMPLES = {WONG: 100, WONG_L2: 100, LENET: 50, COLT: 50, RESNET: 30}
LONG = 25
# A median of counts is coarse: so many samples at least for l0, and for l1 beside it.
FEW = 80
# AutoAttack takes up to 10000 passes a sample: its samples come in parts, as many as time allows.
PART, PARTS = {WONG: 50, WONG_L2: 50, LENET: 25, COLT: 25, RESNET: 15}, 4
SPEED = (
    Cell(WONG, math.inf, 0.1), Cell(WONG_L2, math.inf, 2 / 255), Cell(LENET, math.inf, 0.1),
    Cell(COLT, math.inf, 0.1), Cell(RESNET, math.inf, 2 / 255),
)  # fmt: skip
PGD_STEPS, RELATIVE = 40, 2.5
# The largest of twenty equidistant budgets, and steps of every attack at any of them.
LARGEST = {Cell(WONG, math.inf): 0.3, Cell(WONG_L2, 2): 1.0, Cell(RESNET, math.inf): 2 / 255}
CURVE_IMAGES, CURVE_STEPS = 128, 10
SPEED_IMAGES, DEEPFOOL_IMAGES, ROUNDS = 512, 64, 3
PROFILED = 128
# Rounds of refinement that end no farther from x than any peer's DeepFool.
NEAR = 8
SHAPES = ((512, 784), (512, 3072), (16, 150528))

# (library, attack, options)
Contestant = tuple[str, str, dict[str, Any]]


def autoattack(m: Measurements) -> None:
    """Part after part of the samples, so that every cell has some when the time is up."""
    for part in range(PARTS if m.most is None else 1):
        for cell in m.among(CELLS):
            for library, attack in (
                (ONNX, "portfolio"), ("torchattacks", "autoattack"), (TORCH, "portfolio"),
            ):  # fmt: skip
                m.measure("autoattack", cell, library, attack, samples=PART[cell.model], part=part)
    for cell in m.among(CELLS[:1]):
        m.measure(
            "autoattack", cell, "torchattacks", "autoattack as shipped", samples=PART[cell.model]
        )


def pgd(m: Measurements) -> None:
    """PGD-40 beside apgd and alg1 of 40 steps; then PGD with as many passes as the portfolio."""
    for cell in m.among(CELLS):
        count = SAMPLES[cell.model]
        for library, attack, options in [*_ours_at(PGD_STEPS), *_peers_at(cell, PGD_STEPS)]:
            m.measure("pgd", cell, library, attack, samples=count, **options)
        spent = m.measure("pgd at length", cell, ONNX, "portfolio", samples=LONG)["passes"]
        for library, attack, options in _peers_at(cell, max(1, int(spent) // 2)):
            if attack == "pgd":
                m.measure("pgd at length", cell, library, attack, samples=LONG, **options)


def _ours_at(steps: int) -> list[Contestant]:
    return [
        (ONNX, "pgd", {"steps": steps, "rel_step_size": RELATIVE}),
        (ONNX, "apgd", {"steps": steps}),
        (ONNX, "apgd", {"steps": steps, "loss": "dlr"}),
        (ONNX, "alg1", {"steps": steps}),
    ]


def _peers_at(cell: Cell, steps: int) -> list[Contestant]:
    """Every PGD of the norm, the same step of RELATIVE eps / steps; then every Auto-PGD."""
    step = {"steps": steps, "rel_step_size": RELATIVE}
    names = ["Foolbox", "ART", "torchattacks", *(["adv-lib"] if math.isinf(cell.norm) else [])]
    return [
        *((name, "pgd", step) for name in names),
        ("torchattacks", "apgd", {"steps": steps}),
        ("adv-lib", "apgd", {"steps": steps, "loss": "dlr"}),
    ]


def minimum(m: Measurements) -> None:
    for cell in m.among([Cell(model, norm) for model in MODELS for norm in (2, math.inf, 1, 0)]):
        for library, attack, options in _smallest(cell.norm):
            count = max(SAMPLES[cell.model], FEW if cell.norm < 2 else 0)
            m.measure("minimum", cell, library, attack, samples=count, **options)


def _smallest(norm: float) -> list[Contestant]:
    """FMN, DDN and sigma-zero of 100 steps, DeepFool of 50; FMN also with a first step of 10."""
    hundred, fifty = {"steps": 100}, {"steps": 50}
    found: list[Contestant] = [(ONNX, "fmn", hundred)]
    for peer in ("Foolbox", "adv-lib"):
        found += [(peer, "fmn", hundred), (peer, "fmn", hundred | {"max_stepsize": 10.0})]
    if norm == 0:
        return [*found, ("adv-lib", "sigma_zero", {"num_steps": 100})]
    found += [(ONNX, "ddn", hundred), (ONNX, "deepfool", fifty), (ONNX, "minnorm", fifty)]
    if norm > 1:
        found += [(peer, "deepfool", fifty) for peer in ("Foolbox", "adv-lib")]
    if norm == 2:
        found += [("Foolbox", "ddn", hundred), ("adv-lib", "ddn", hundred)]
        found += [("ART", "deepfool", fifty), ("torchattacks", "deepfool", fifty)]
    return found


def speed(m: Measurements) -> None:
    for cell in m.among(SPEED):
        step = {"steps": PGD_STEPS, "rel_step_size": RELATIVE}
        names = (ONNX, TORCH, "Foolbox", "ART", "torchattacks", "adv-lib")
        _in_turns(m, cell, [(name, "pgd", step) for name in names],
                  SPEED_IMAGES)  # fmt: skip
        fifty = {"steps": 50}
        _in_turns(m, Cell(cell.model, 2), [
            (ONNX, "deepfool", fifty | {"refine": 0}), (TORCH, "deepfool", fifty | {"refine": 0}),
            (ONNX, "deepfool", fifty | {"refine": NEAR}), (ONNX, "deepfool", fifty),
            (ONNX, "minnorm", fifty),
            *((name, "deepfool", fifty) for name in ("Foolbox", "ART", "torchattacks", "adv-lib")),
        ], DEEPFOOL_IMAGES)  # fmt: skip


def profile(m: Measurements) -> None:
    """How much of pertcore's time the model takes, and how much the kernels."""
    step, fifty = {"steps": PGD_STEPS, "rel_step_size": RELATIVE}, {"steps": 50}
    for cell in m.among(SPEED):
        for library in (ONNX, TORCH):
            m.measure("profile", cell, library, "pgd", samples=PROFILED, **step)
        for library, refine in ((ONNX, 0), (ONNX, NEAR), (TORCH, 0)):
            m.measure(
                "profile", Cell(cell.model, 2), library, "deepfool", samples=DEEPFOOL_IMAGES,
                refine=refine, **fifty,
            )  # fmt: skip
    for cell in m.among(list(LARGEST)):
        m.measure("profile", cell, ONNX, "curve", samples=CURVE_IMAGES, by="alg1", **budgets(cell))


def budgets(cell: Cell) -> dict[str, Any]:
    """The twenty budgets of a curve, and the steps at each."""
    return {"grid": [LARGEST[cell] * k / 20 for k in range(1, 21)], "steps": CURVE_STEPS}


def curve(m: Measurements) -> None:
    """Robust accuracy over twenty budgets: pc.curve, and Foolbox's PGD at a list of budgets."""
    for cell in m.among(list(LARGEST)):
        grid = budgets(cell)
        step = {"rel_step_size": RELATIVE}
        _in_turns(m, cell, [
            (ONNX, "curve", grid | {"by": "alg1"}),
            (ONNX, "curve", grid | step | {"by": "pgd"}),
            ("Foolbox", "curve", grid | step),
        ], CURVE_IMAGES, "curve")  # fmt: skip


def _in_turns(
    m: Measurements, cell: Cell, who: Sequence[Contestant], count: int, section: str = "speed"
) -> None:
    for turn in range(ROUNDS):
        for library, attack, options in who if turn % 2 == 0 else reversed(who):
            m.measure(section, cell, library, attack, samples=count, repeat=turn, **options)


def projection(m: Measurements) -> None:
    """ART's two walk down the row and rewrite it at every entry: minutes for the longest rows."""
    for shape in SHAPES:
        for library in (ONNX, "Foolbox", "adv-lib"):
            m.project(shape, library, "l1")
    for shape in SHAPES[:2]:
        for name in ("l1", "l1, second"):
            m.project(shape, "ART", name)


SECTIONS: dict[str, Callable[[Measurements], None]] = {
    "projection": projection, "profile": profile, "speed": speed, "curve": curve,
    "minimum": minimum, "pgd": pgd, "autoattack": autoattack,
}  # fmt: skip
