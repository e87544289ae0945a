# %% [markdown]
# # Making a detector blind
#
# With FastestDet and pictures of PASCAL VOC where the folder PERTCORE_DATA holds them, else with a
# detector of two convolutions that is built below and finds bright squares.

# %%
import os
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

import pertcore as pc
from pertcore.data.voc import read_voc
from pertcore.detection.boxes import compare
from pertcore.detection.heads import GridHead
from pertcore.detection.losses import vanishing

data = Path(os.environ.get("PERTCORE_DATA", "../shared/data"))
weights = data / "models" / "detector_fastestdet_coco.onnx"
pictures = data / "datasets" / "voc2012"

# %% [markdown]
# ## A small detector
#
# A cell of 8 x 8 pixels holds a thing where its mean is above one half: objectness is sigmoid(40
# (mean - 1/2)). Its box is the cell, its one class is certain.


# %%
def squares_detector(cells=6, size=8):
    """An ONNX model (n, 1, 48, 48) -> (n, 6, 6, 6): objectness, four box values, a class."""
    kernel = np.zeros((6, 1, size, size), np.float32)
    kernel[0] = 40 / size**2
    side = -np.log(cells - 1)  # sigmoid(side) = 1 / cells
    centre = np.arctanh(0.5)  # tanh(centre) = 1/2, the middle of the cell
    bias = np.array([-20, centre, centre, side, side, 10], np.float32)
    stored = [numpy_helper.from_array(kernel, "kernel"), numpy_helper.from_array(bias, "bias")]
    nodes = [
        helper.make_node("Conv", ["x", "kernel", "bias"], ["raw"], strides=[size, size]),
        helper.make_node("Split", ["raw", "sizes"], ["thing", "box", "class"], axis=1),
        helper.make_node("Sigmoid", ["thing"], ["objectness"]),
        helper.make_node("Sigmoid", ["class"], ["sure"]),
        helper.make_node("Concat", ["objectness", "box", "sure"], ["y"], axis=1),
    ]
    stored.append(numpy_helper.from_array(np.array([1, 4, 1], np.int64), "sizes"))
    image = helper.make_tensor_value_info("x", 1, ["n", 1, cells * size, cells * size])
    grid = helper.make_tensor_value_info("y", 1, ["n", 6, cells, cells])
    graph = helper.make_graph(nodes, "squares", [image], [grid], stored)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(made)
    return made


def scenes(count=4, cells=6, size=8):
    """Pictures with five bright cells each, on noise."""
    rng = np.random.default_rng(0)
    bright = np.zeros((count, cells * cells), np.float32)
    for row in bright:
        row[rng.choice(cells * cells, 5, replace=False)] = rng.uniform(0.35, 0.55, 5)
    bright = np.kron(bright.reshape(count, 1, cells, cells), np.ones((size, size), np.float32))
    return (bright + rng.uniform(0.1, 0.3, bright.shape)).astype(np.float32)


# %% [markdown]
# ## The model and its pictures

# %%
if weights.exists() and pictures.exists():
    model, head = pc.from_onnx(weights), GridHead()
    x = np.ascontiguousarray(read_voc(pictures, (352, 352)).pictures[:4, ::-1])  # it takes BGR
    eps = 4 / 255
else:
    model, head = pc.from_onnx(squares_detector()), GridHead((6, 6, 6))
    x, eps = scenes(), 0.2
before = head.detections(model(x))
print("boxes seen:", sum(len(found.scores) for found in before))

# %% [markdown]
# ## Noise, and an attack
#
# `vanishing` is the sum of the scores of what was seen; the attack drives it down.

# %%
settings = {"eps": eps, "norm": "inf", "bounds": (0, 1), "task": "regression"}
lost = {}
for attack, options in {
    "random": {},
    "linear": {"loss": vanishing(head), "dither": 0},
}.items():
    r = pc.attack(model, x, attack=attack, **settings, **options)
    count = compare(before, head.detections(model(r.x_adv)))
    lost[attack] = count.lost
    print(attack, count)
assert lost["linear"] > lost["random"]
