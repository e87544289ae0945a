"""What attacks take away from detectors: boxes lost and new, the output loss (paper, Fig. 5).

Run `python -m bench.detector [--out FOLDER] [--json FILE]` with the data folder (PERTCORE_DATA).
FastestDet and UltraFace on the 50 VOC pictures, p = inf. A box is confident with a score of at
least 0.5 after suppression; it is lost when no box of its class with such a score overlaps it by
an IoU of 0.5 afterwards. Pictures with boxes before and after go to the folder alone.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import pertcore as pc
from bench.machine import machine_facts
from bench.models import data_folder
from pertcore.closed_form.sampling import random_in_ball, sample_keys
from pertcore.data.voc import Scenes, read_voc
from pertcore.detection import losses
from pertcore.detection.boxes import compare
from pertcore.detection.drawing import drawn, side_by_side
from pertcore.detection.heads import AnchorHead, GridHead, Head, ultraface_anchors
from pertcore.detection.names import COCO, coco_class

STEPS, BATCH, SHOWN, PICTURES = 10, 10, 8, 50
EPS = (1, 2, 4, 8)

# Boxes with such a score are far from the threshold of 0.5, which noise alone can cross.
SURE = 0.7


@dataclass(frozen=True)
class Detector:
    """A model with its head, its inputs (n, 3, h, w) in [0, 1], and y of labelled boxes, if any."""

    name: str
    oracle: Any
    head: Head
    x: np.ndarray
    names: Sequence[str]
    flipped: bool
    targets: np.ndarray | None = None

    def pictures(self, x: np.ndarray) -> np.ndarray:
        return x[:, ::-1] if self.flipped else x


def fastestdet(folder: Path) -> tuple[Detector, Detector]:
    """FastestDet, which takes BGR, with its own score and with the plain product."""
    scenes = read_voc(folder / "datasets" / "voc2012", (352, 352), limit=PICTURES)
    oracle = pc.from_onnx(folder / "models" / "detector_fastestdet_coco.onnx")
    x = np.ascontiguousarray(scenes.pictures[:, ::-1])
    head = GridHead()
    parts = {"x": x, "names": COCO, "flipped": True, "targets": _targets(head, scenes)}
    return (
        Detector("FastestDet", oracle, head, **parts),
        Detector("FastestDet, score = product", oracle, GridHead(powers=(1, 1)), **parts),
    )


def _targets(head: GridHead, scenes: Scenes) -> np.ndarray:
    return head.targets(scenes.boxes, [list(map(coco_class, names)) for names in scenes.labels])


def ultraface(folder: Path) -> Detector:
    """UltraFace, two outputs stacked; it takes RGB as (255 x - 127) / 128."""
    scenes = read_voc(folder / "datasets" / "voc2012", (240, 320), limit=PICTURES)
    path = folder / "models" / "detector_ultraface_rfb320_simplified.onnx"
    inner = pc.from_onnx(path, output=["scores", "boxes"])
    oracle = pc.normalized(inner, 127 / 255, 128 / 255)
    head = AnchorHead(inner.outputs, ultraface_anchors())
    return Detector("UltraFace", oracle, head, scenes.pictures, ("face",), False)


def methods(detector: Detector) -> dict[str, dict[str, Any]]:
    """Name -> settings of `pc.attack`; every one of ten steps."""
    linear = {"attack": "linear", "steps": STEPS}
    found = {
        "random signs": {"attack": "random"},
        "linear, distance to own output": linear,
        "linear, vanishing": {
            **linear, "dither": 0.0, "loss": losses.vanishing(detector.head),
        },
    }  # fmt: skip
    if isinstance(detector.head, GridHead):
        found["linear, distance where seen"] = {
            **linear, "loss": losses.seen_distance(detector.head),
        }  # fmt: skip
        found["linear, YOLO loss on labels"] = {**linear, "loss": losses.yolo(detector.head)}
    return found


def attacked(detector: Detector, settings: dict[str, Any], eps: float) -> dict[str, Any]:
    """x_adv and the figures of one attack."""
    started = time.perf_counter()
    y = detector.targets if "YOLO" in settings.get("name", "") else None
    given = {name: value for name, value in settings.items() if name != "name"}
    result = pc.attack(
        detector.oracle, detector.x, y, eps=eps, bounds=(0, 1), task="regression",
        batch_size=BATCH, **given,
    )  # fmt: skip
    return {
        "x_adv": result.x_adv,
        "loss before": float(result.loss_before.mean()),
        "loss after": float(result.loss_after.mean()),
        "input PSNR (dB)": float(result.metrics["psnr_in"].mean()),
        "seconds": time.perf_counter() - started,
    }


def uniform(detector: Detector, eps: float) -> dict[str, Any]:
    """Uniform noise in the ball, clipped to the box: milder than the paper's random signs."""
    n, flat = len(detector.x), detector.x.reshape(len(detector.x), -1)
    noise = random_in_ball(
        sample_keys(0, np.arange(n)), 0, np.full(n, eps), np.inf, flat.shape[1], flat.dtype
    )
    return {"x_adv": np.clip(flat + noise, 0, 1).reshape(detector.x.shape)}


def table(detector: Detector, eps: Sequence[int], out: Path | None) -> list[dict[str, Any]]:
    """A row a method and eps; pictures of the largest eps to `out`."""
    before = detector.head.detections(_values(detector, detector.x))
    rows = []
    for numerator in eps:
        runs = {"random, uniform in the ball": None, **methods(detector)}
        for name, settings in runs.items():
            budget = numerator / 255
            found = (
                uniform(detector, budget) if settings is None
                else attacked(detector, {**settings, "name": name}, budget)
            )  # fmt: skip
            x_adv = found.pop("x_adv")
            after = detector.head.detections(_values(detector, x_adv))
            counts = compare(before, after)
            sure = compare([found.take(found.scores >= SURE) for found in before], after)
            rows.append({
                "detector": detector.name, "method": name, "eps": f"{numerator}/255",
                "confident": counts.before, "lost": counts.lost, "removed": counts.removed,
                "new": counts.new, "after": counts.after,
                f"removed of those with a score of {SURE}": sure.removed, **found,
            })  # fmt: skip
            print(line(rows[-1]), flush=True)
            if out is not None and numerator == max(eps):
                _draw(detector, x_adv, before, after, out / _slug(f"{detector.name} {name}"))
    return rows


def _values(detector: Detector, x: np.ndarray) -> np.ndarray:
    return np.concatenate([detector.oracle(x[i : i + BATCH]) for i in range(0, len(x), BATCH)])


def line(row: dict[str, Any]) -> str:
    return (
        f"{row['detector']:<28} {row['method']:<32} eps {row['eps']:>5}  "
        f"removed {row['lost']:>3} of {row['confident']:>3} ({100 * row['removed']:5.1f} %)  "
        f"new {row['new']:>3}  loss {row.get('loss before', np.nan):10.4g} -> "
        f"{row.get('loss after', np.nan):10.4g}"
    )


def _draw(detector: Detector, x_adv: np.ndarray, before: Any, after: Any, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    shown = sorted(range(len(before)), key=lambda i: -len(before[i]))[:SHOWN]
    for i in shown:
        pair = [
            drawn(detector.pictures(x[i : i + 1])[0], found[i], detector.names)
            for x, found in ((detector.x, before), (x_adv, after))
        ]
        side_by_side(pair).save(folder / f"{i:03d}.png")


def _slug(text: str) -> str:
    return "".join(c if c.isalnum() else "-" for c in text.lower())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=None, help="folder for pictures with boxes")
    parser.add_argument("--json", type=Path, default=None, help="write the figures as JSON")
    parser.add_argument("--eps", type=int, nargs="+", default=list(EPS), help="of 255")
    arguments = parser.parse_args()
    folder = data_folder()
    if folder is None:
        print("no data: set PERTCORE_DATA to the folder of detectors and VOC pictures")
        return 1
    warnings.simplefilter("ignore", pc.PertcoreWarning)
    fast, product = fastestdet(folder)
    rows = table(fast, arguments.eps, arguments.out)
    rows += table(product, [max(arguments.eps)], None)
    rows += table(ultraface(folder), [max(arguments.eps)], arguments.out)
    if arguments.json is not None:
        report = {"machine": machine_facts(), "steps": STEPS, "rows": rows}
        arguments.json.write_text(json.dumps(report, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
