"""Every ONNX file of the data folder: batches of one and of many, both products, one and many
(co)tangents, against each other, against the untouched file and against float64 differences."""

import gzip
import os

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

from pertcore.adapters.onnx import kept
from pertcore.adapters.onnx.adapter import from_onnx
from tests.adapters.onnx.judging import judge, relative
from tests.adapters.onnx.networks import DATA, in_float64

FULL = bool(os.environ.get("PERTCORE_FULL"))
# Free sizes of one sample where the channels are fixed: small, for the largest networks.
SIZES = {"style_candy": (44, 48), "colorization_dilated": (16, 16), "superres_espcn_x3": (16, 18)}
BYTES = ("style_candy", "mnist_cntk")
LARGE = ("detector_", "style_candy")
TRIES = 3


def found():
    """The files, all under PERTCORE_FULL and else one of each family; a reason where none is."""
    files = sorted([*DATA.glob("models/*.onnx*"), *DATA.glob("vnncomp/*/onnx/*.onnx*")])
    families = {}
    for file in files:
        family = file.parent.parent.name if file.parent.name == "onnx" else file.name
        families.setdefault(family, []).append(file)
    chosen = files if FULL else [members[0] for members in families.values()]
    absent = pytest.param(None, marks=pytest.mark.skip(reason=f"{DATA} holds no ONNX files"))
    return chosen or [absent]


def opened(file):
    content = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
    return onnx.load_from_string(content)


def outputs(model):
    floats = (onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE)
    return [o.name for o in model.graph.output if o.type.tensor_type.elem_type in floats]


def shape_of(file, model):
    """The sample's shape where the file leaves it open."""
    weights = {tensor.name for tensor in model.graph.initializer}
    given = next(value for value in model.graph.input if value.name not in weights)
    dims = given.type.tensor_type.shape.dim[1:]
    free = iter(SIZES.get(file.name.split(".onnx")[0], ()))
    shape = tuple(dim.dim_value or next(free) for dim in dims)
    return None if all(dim.dim_value for dim in dims) else shape


def points(file, oracle, count, seed=0):
    smooth = np.random.default_rng(seed).random((count, *oracle.input_shape))
    scale = 255.0 if file.name.startswith(BYTES) else 1.0
    return (scale * smooth).astype(oracle.dtype)


def quotient(file, model, output, oracle, seed):
    """Relative error of J u against central differences of the file in float64."""
    x = points(file, oracle, 1, seed)
    u = np.random.default_rng(seed + 10).standard_normal(x.shape).astype(oracle.dtype)
    wide = ReferenceEvaluator(in_float64(model))
    weights = {tensor.name for tensor in model.graph.initializer}
    name = next(value.name for value in model.graph.input if value.name not in weights)
    h = 1e-7 * (255.0 if file.name.startswith(BYTES) else 1.0)
    ahead, behind = (wide.run([output], {name: x + s * h * u.astype(float)})[0] for s in (1, -1))
    assert relative(oracle(x), (ahead + behind) / 2)[0] <= 1e-4
    return relative(oracle.linearize(x).jvp(u), (ahead - behind) / (2 * h))[0]


@pytest.mark.parametrize("file", found(), ids=lambda f: "none" if f is None else f.name)
def test_every_file_differentiates_exactly(file):
    model = opened(file)
    for output in outputs(model):
        given = {"output": output, "input_shape": shape_of(file, model), "threads": 1}
        oracle = from_onnx(model, **given)
        assert {"vjp", "jvp", "exact", "take"} <= oracle.capabilities and oracle.notes == ()
        # The largest of them take a minute for 64, several gigabytes with many tangents.
        large = file.name.startswith(LARGE)
        samples = points(file, oracle, 3 if large and not FULL else 64)
        steepest = judge(oracle, samples, tangents=1 if large and FULL else 2)
        judge(oracle, steepest[None], tangents=3)
        assert oracle.batch in ("free", "lifted")
        tries = (quotient(file, model, output, oracle, seed) for seed in range(TRIES))
        assert next((error for error in tries if error <= 1e-3), None) is not None
        # What ONNX Runtime took for a batch stays with its sessions.
        kept.forget()
