"""A real detector loses its boxes to an attack and keeps most of them under noise."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

import pertcore as pc
from pertcore.data.voc import read_voc
from pertcore.detection import losses
from pertcore.detection.boxes import compare
from pertcore.detection.heads import AnchorHead, GridHead, ultraface_anchors
from pertcore.detection.names import coco_class

COUNT = 50 if os.environ.get("PERTCORE_FULL") else 4


def data():
    here = Path(__file__).resolve().parents[2].parent / "shared" / "data"
    folder = Path(os.environ.get("PERTCORE_DATA", here))
    if not (folder / "models" / "detector_fastestdet_coco.onnx").exists():
        pytest.skip("no detector: PERTCORE_DATA names no folder of models and pictures")
    return folder


@pytest.fixture(scope="module")
def fastestdet():
    folder = data()
    scenes = read_voc(folder / "datasets" / "voc2012", (352, 352), limit=COUNT)
    oracle = pc.from_onnx(folder / "models" / "detector_fastestdet_coco.onnx", threads=1)
    return oracle, np.ascontiguousarray(scenes.pictures[:, ::-1]), scenes


SETTINGS = {"eps": 8 / 255, "bounds": (0, 1), "task": "regression", "batch_size": 10}


def test_labelled_things_are_found(fastestdet):
    oracle, x, scenes = fastestdet
    found = GridHead().detections(oracle(x), score=0.4)
    for boxes, names, detections in zip(scenes.boxes, scenes.labels, found, strict=True):
        assert len(boxes) == len(names)
        wanted = {coco_class(name) for name in names}
        assert wanted & set(detections.classes.tolist())


@pytest.mark.parametrize("name", ["own output", "seen", "vanishing"])
def test_boxes_are_taken_away(fastestdet, name):
    oracle, x, _ = fastestdet
    head = GridHead()
    loss = {
        "own output": {},
        "seen": {"loss": losses.seen_distance(head)},
        "vanishing": {"loss": losses.vanishing(head), "dither": 0.0},
    }[name]
    before = head.detections(oracle(x))
    result = pc.attack(oracle, x, attack="linear", steps=10, **SETTINGS, **loss)
    taken = compare(before, head.detections(oracle(result.x_adv)))
    noise = pc.attack(oracle, x, attack="random", **SETTINGS)
    by_noise = compare(before, head.detections(oracle(noise.x_adv)))
    assert taken.before > 5 and taken.removed > 0.8
    assert by_noise.removed < 0.5 * taken.removed


def test_the_loss_on_labels_rises(fastestdet):
    oracle, x, scenes = fastestdet
    head = GridHead()
    classes = [[coco_class(name) for name in names] for names in scenes.labels]
    y = head.targets(scenes.boxes, classes)
    result = pc.attack(
        oracle, x, y, attack="linear", steps=3, loss=losses.yolo(head), **SETTINGS
    )  # fmt: skip
    assert result.success.all() and result.loss_after.mean() > 2 * result.loss_before.mean()


def test_faces_vanish():
    folder = data()
    scenes = read_voc(folder / "datasets" / "voc2012", (240, 320), limit=max(COUNT, 6))
    path = folder / "models" / "detector_ultraface_rfb320_simplified.onnx"
    inner = pc.from_onnx(path, output=["scores", "boxes"], threads=1)
    oracle = pc.normalized(inner, 127 / 255, 128 / 255)
    head = AnchorHead(inner.outputs, ultraface_anchors())
    found = head.detections(oracle(scenes.pictures))
    with_faces = [i for i, faces in enumerate(found) if len(faces)]
    x, before = scenes.pictures[with_faces], [found[i] for i in with_faces]
    result = pc.attack(
        oracle, x, attack="linear", steps=5, dither=0.0,
        loss=losses.vanishing(head), **SETTINGS,
    )  # fmt: skip
    taken = compare(before, head.detections(oracle(result.x_adv)))
    assert taken.before > 0 and taken.removed > 0.8
