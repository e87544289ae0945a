"""Fig. 5: a detector's training loss under attack, with labels and without, and its boxes.

FastestDet stands for the paper's YOLO network: a grid of cells with objectness, box and classes.
"""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np

import pertcore as pc
from bench.detector import Detector, fastestdet
from bench.models import data_folder
from bench.paper.data import AbsentError, present
from pertcore.detection import losses
from pertcore.detection.boxes import Detections, compare

LINEAR: dict[str, Any] = {"attack": "linear", "steps": 10}
PICTURED = ("linear-10, labels", "linear-10, vanishing")
BATCH = 10


def attacks(detector: Detector) -> dict[str, tuple[dict[str, Any], bool]]:
    """Name -> settings of `pc.attack`, and whether it is told the labels."""
    labelled = losses.yolo(detector.head)
    return {
        "random": ({"attack": "random"}, False),
        "linear-1, labels": ({**LINEAR, "steps": 1, "loss": labelled}, True),
        "linear-10, labels": ({**LINEAR, "loss": labelled}, True),
        "linear-10, own output": (LINEAR, False),
        "linear-10, vanishing": (
            {**LINEAR, "dither": 0.0, "loss": losses.vanishing(detector.head)}, False
        ),
    }  # fmt: skip


def measured(settings: dict[str, Any], _: Path) -> dict[str, Any]:
    """A row an attack and eps (of 255), p = inf inside the box, over the first `samples` pictures;
    of the first `shown` with the most boxes the pictures themselves. Raises AbsentError."""
    held = data_folder()
    if held is None:
        raise AbsentError("the detector is missing: set PERTCORE_DATA")
    present("voc2012", held / "datasets" / "voc2012")
    whole = fastestdet(held)[0]
    n = settings["samples"]
    detector = Detector(
        whole.name, whole.oracle, whole.head, whole.x[:n], whole.names, True, whole.targets[:n]
    )
    before = detector.head.detections(values(detector, detector.x))
    shown = sorted(range(n), key=lambda i: -len(before[i]))[: settings["shown"]]
    rows, pictures = [], {"clean": drawable(detector, detector.x, before, shown)}
    clean = float(loss(detector, detector.x).mean())
    for name, (options, told) in attacks(detector).items():
        for numerator in settings["eps"]:
            row, x_adv, after = point(detector, options, told, numerator / 255, before)
            rows.append({"attack": name, "eps": numerator, **row})
            print({k: v for k, v in rows[-1].items() if k != "mse"}, flush=True)
            if numerator == settings["pictured"] and name in PICTURED:
                pictures[name] = drawable(detector, x_adv, after, shown)
    return {"network": "given: FastestDet", "loss": clean, "rows": rows, "pictures": pictures}


def point(
    detector: Detector, options: dict[str, Any], told: bool, eps: float, before: list[Detections]
) -> tuple[dict[str, Any], np.ndarray, list[Detections]]:
    """The figures of one attack, its pictures and what is found in them."""
    result = pc.attack(
        detector.oracle, detector.x, detector.targets if told else None, eps=eps, bounds=(0, 1),
        task="regression", batch_size=BATCH, **options,
    )  # fmt: skip
    after = detector.head.detections(values(detector, result.x_adv))
    counts, apart = compare(before, after), loss(detector, result.x_adv)
    return {
        "psnr_in": float(result.metrics["psnr_in"][np.isfinite(result.metrics["psnr_in"])].mean()),
        "loss": float(apart.mean()), "error": float(apart.std(ddof=1) / np.sqrt(len(apart))),
        "boxes": counts.before, "lost": counts.lost, "new": counts.new,
        "seconds": round(result.seconds, 1),
    }, result.x_adv, after  # fmt: skip


def loss(detector: Detector, x: np.ndarray) -> np.ndarray:
    """The training loss (n,) of the labelled boxes."""
    flat = values(detector, x).reshape(len(x), -1)
    return losses.yolo(detector.head)(flat, detector.targets)[0]


def values(detector: Detector, x: np.ndarray) -> np.ndarray:
    return np.concatenate([detector.oracle(x[i : i + BATCH]) for i in range(0, len(x), BATCH)])


def drawable(
    detector: Detector, x: np.ndarray, found: list[Detections], shown: list[int]
) -> dict[str, Any]:
    """RGB pictures as JPEG in base64, and their boxes, scores and classes."""
    boxes = [
        [found[i].boxes.round(4).tolist(), found[i].scores.round(3).tolist(),
         [detector.names[int(kind)] for kind in found[i].classes]]
        for i in shown
    ]  # fmt: skip
    return {"jpeg": [jpeg(picture) for picture in detector.pictures(x[shown])], "boxes": boxes}


def jpeg(picture: np.ndarray) -> str:
    """A picture (3, h, w) in [0, 1]."""
    from PIL import Image

    held = io.BytesIO()
    levels = np.round(np.moveaxis(picture, 0, -1) * 255).astype(np.uint8)
    Image.fromarray(levels).save(held, "JPEG", quality=80)
    return base64.b64encode(held.getvalue()).decode()
