"""ONNX's backend node tests as tests of derivatives: one float input moves, or all of them."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnx.backend.test.loader import load_model_tests

import pertcore.adapters.onnx.rules  # noqa: F401  fills the registry
from pertcore.adapters.onnx import registry
from pertcore.adapters.onnx.derive import Derivatives
from pertcore.adapters.onnx.export import export
from pertcore.adapters.onnx.normalise import normalise
from pertcore.adapters.onnx.reemit import reemit
from pertcore.adapters.onnx.sessions import Session, place
from pertcore.errors import CapabilityError, ModelError

ADJOINT, QUOTIENT = 1e-4, 2e-2
STEPS = (1e-1, 3e-2, 1e-2, 3e-3, 1e-3, 3e-4)
JITTER = 0.05
# Written in others that fix all of their inputs but the first.
FIXED = ("Upsample",)


@dataclass(frozen=True)
class Case:
    """A model with free inputs x, the point of the test, its outputs of that type as expected."""

    name: str
    model: onnx.ModelProto
    x: tuple[Any, ...]
    outputs: tuple[str, ...]
    expected: tuple[Any, ...]


def flows(model, place):
    """Whether a derivative flows through an input: not through the scales of a Resize."""
    name = model.graph.input[place].name
    uses = [(n, i) for n in model.graph.node for i, read in enumerate(n.input) if read == name]
    rules = [(registry.find(n.op_type, n.domain), n.op_type, i) for n, i in uses]
    return any((kind not in FIXED and (r is None or r.passes(i))) or not i for r, kind, i in rules)


@dataclass
class Outcome:
    """What became of a case: passed, refused, unrunnable (by ONNX Runtime), failed, or apart: the
    derivative is that of ONNX Runtime's value, which is not the one the test expects, or it is
    infinite at the point of the test and right nearby."""

    kind: str
    reason: str = ""
    operators: Sequence[str] = field(default=())


@cache
def cases(moving="one", dtype=np.float32):
    """The tests with an input and an output of a type, all of their values plain tensors. The first
    such input moves, or "all" of them, of which there must be two."""
    found = []
    for test in load_model_tests(kind="node"):
        values = [*test.model.graph.input, *test.model.graph.output]
        if all(value.type.WhichOneof("value") == "tensor_type" for value in values):
            case = frozen(test, moving == "all", dtype)
            found += [case] if case is not None else []
    return found


@cache
def network_cases():
    """The tests of whole models and of modules that PyTorch exported, which lie in files."""
    found = []
    for kind in ("simple", "pytorch-converted", "pytorch-operator"):
        for test in load_model_tests(kind=kind):
            model = test.model or onnx.load(Path(test.model_dir) / "model.onnx")
            values = [*model.graph.input, *model.graph.output]
            if all(value.type.WhichOneof("value") == "tensor_type" for value in values):
                sets = test.data_sets or [[stored(test, what) for what in ("input", "output")]]
                case = frozen(replace(test, model=model, data_sets=sets))
                found += [case] if case is not None else []
    return found


def stored(test, what):
    """The inputs or outputs of a test's first set of data."""
    folder = Path(test.model_dir) / "test_data_set_0"
    count = len(list(folder.glob(f"{what}_*.pb")))
    return [
        numpy_helper.to_array(onnx.load_tensor(folder / f"{what}_{i}.pb")) for i in range(count)
    ]


def frozen(test, every=False, dtype=np.float32):
    """The test's model with its inputs turned into weights, but for those that move."""
    given, expected = (list(part) for part in test.data_sets[0])
    model = onnx.ModelProto()
    model.CopyFrom(test.model)
    model.ir_version = max(model.ir_version, 4)  # where initialisers need not be inputs
    floats = [i for i, a in enumerate(given) if getattr(a, "dtype", None) == dtype]
    element = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    elements = [value.type.tensor_type.elem_type for value in model.graph.output]
    outputs = [i for i, made in enumerate(elements) if made == element]
    if not floats or not outputs or not given[floats[0]].size:
        return None
    moving = [i for i in floats if given[i].size and flows(test.model, i)] if every else floats[:1]
    if every and len(moving) < 2:
        return None
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in weights]
    del model.graph.input[:]
    for i, (value, array) in enumerate(zip(inputs, given, strict=True)):
        if i in moving:
            model.graph.input.append(value)
        elif isinstance(array, onnx.TensorProto):
            array.name = value.name
            model.graph.initializer.append(array)
        else:
            model.graph.initializer.append(numpy_helper.from_array(np.asarray(array), value.name))
    names = tuple(model.graph.output[i].name for i in outputs)
    point = tuple(given[i] for i in moving)
    return Case(test.name, model, point, names, tuple(expected[i] for i in outputs))


def check(case):
    """Runs a case: forward, J^T against J, J against a quotient, two products against one."""
    try:
        derivative = Derived(case)
    except CapabilityError as error:
        return Outcome("refused", str(error), [n.op_type for n in case.model.graph.node])
    except ModelError as error:
        return Outcome("broken", str(error))
    try:
        values = derivative.value(case.x)
    except (CapabilityError, ModelError) as error:
        return Outcome("unrunnable", str(error).splitlines()[0])
    try:
        complaint = derivative.complaint(case.x)
        infinite = complaint.startswith("infinite")
        if infinite or complaint.startswith("quotient"):
            complaint = derivative.complaint(moved(case.x))
    except ModelError as error:
        complaint = str(error)
    if complaint:
        return Outcome("failed", complaint)
    expected = all(map(alike, values, case.expected)) and not infinite
    return Outcome("passed" if expected else "apart")


def moved(point):
    """A point nearby, off the kinks that the numbers of the tests sit on."""
    rng = np.random.default_rng(1)
    sizes = [max(largest(x), 1e-3) for x in point]
    return tuple(
        (x + JITTER * size * (0.1 + rng.random(x.shape))).astype(x.dtype)
        for x, size in zip(point, sizes, strict=True)
    )


class Derived:
    """The sessions of a case: f, J^T and J, each product alone and with a leading axis."""

    def __init__(self, case):
        normal, opset = normalise(case.model)
        self.names = [value.name for value in case.model.graph.input]
        shapes = {
            name: [int(size) for size in x.shape]
            for name, x in zip(self.names, case.x, strict=True)
        }
        self.primal = reemit(normal, opset, shapes, freeze={})
        # A new session draws the same numbers again, a second run others.
        self.draws = any(node.op == "Dropout" for node in self.primal.graph.nodes)
        self.values = tuple(self.primal.values[y] for y in case.outputs)
        wrt = tuple(self.primal.values[name] for name in self.names)
        derivatives = Derivatives(self.primal.graph, wrt, self.values)
        self.products = {
            (kind, lead): make(self.seeds(kind, lead), lead=lead)
            for kind, make in (("vjp", derivatives.pullback), ("jvp", derivatives.pushforward))
            for lead in (False, True)
        }
        self.forward = None

    def seeds(self, kind, lead):
        count = len(self.values if kind == "vjp" else self.names)
        return [f"{kind}.{i}.{lead}" for i in range(count)]

    def value(self, point):
        if self.forward is None or self.draws:
            named = [(f"out.{i}", y) for i, y in enumerate(self.values)]
            graph = self.primal.graph
            self.forward = opened(export(graph, graph.nodes, self.names, named))
        return run(self.forward, dict(zip(self.names, point, strict=True)))

    def product(self, kind, point, seeds, lead=False):
        made = self.products[kind, lead]
        nodes = [*self.primal.graph.nodes, *made.nodes]
        named = [(f"made.{i}", r) for i, r in enumerate(made.results)]
        model = export(made.graph, nodes, [*self.names, *made.seeds], named)
        feeds = dict(zip([*self.names, *made.seeds], [*point, *seeds], strict=True))
        return run(opened(model), feeds)

    def complaint(self, point):
        """What is wrong at a point, in a few words; empty where nothing is."""
        values = self.value(point)
        rng = np.random.default_rng(0)
        u = [rng.standard_normal(x.shape).astype(x.dtype) for x in point]
        v = [rng.standard_normal(y.shape).astype(y.dtype) for y in values]
        pulled, pushed = self.product("vjp", point, v), self.product("jvp", point, u)
        if not all(np.isfinite(made).all() for made in (*pulled, *pushed)):
            return "infinite: a derivative is no number"
        left, right = total(inner, pulled, u), total(inner, pushed, v)
        size = total(both_norms, pulled, u) + total(both_norms, pushed, v)
        if not abs(left - right) <= ADJOINT * size + 1e-6:
            return f"adjoint: <J^T v, u> = {left:.6g}, <v, J u> = {right:.6g}"
        error = self.quotient_error(point, u, pushed)
        if not error <= QUOTIENT:
            return f"quotient: differs by {error:.3g} of the largest entry"
        many = self.product("vjp", point, [np.stack([c, -2 * c]) for c in v], lead=True)
        if not all(same(m, np.stack([g, -2 * g])) for m, g in zip(many, pulled, strict=True)):
            return "leading axis: J^T of two differs from J^T of each"
        many = self.product("jvp", point, [np.stack([t, -2 * t]) for t in u], lead=True)
        if not all(same(m, np.stack([j, -2 * j])) for m, j in zip(many, pushed, strict=True)):
            return "leading axis: J of two differs from J of each"
        return ""

    def quotient_error(self, point, u, pushed):
        """The best of several steps; the largest entry's error, or the 90 % quantile of many."""
        finite = [np.isfinite(y) for y in self.value(point)]
        pushed = [j[f] for j, f in zip(pushed, finite, strict=True)]
        scale = max(1e-3, *(float(np.max(np.abs(j), initial=0.0)) for j in pushed))
        size = max(map(largest, point))
        best = np.inf
        for step in STEPS:
            h = step * max(1e-3, size)
            ahead, behind = (self.value(along(point, u, s)) for s in (h, -h))
            if any(
                a.shape != f.shape or b.shape != f.shape for a, b, f in zip(ahead, behind, finite)
            ):
                continue  # sizes that change with x: no quotient there
            errors = np.concatenate(
                [
                    np.abs((a[f].astype(np.float64) - b[f]) / (2 * h) - j)
                    for a, b, j, f in zip(ahead, behind, pushed, finite, strict=True)
                ]
            )
            if not errors.size:
                return 0.0
            worst = np.quantile(errors, 0.9) if errors.size > 20 else errors.max()
            best = np.fmin(best, worst / scale)
        return best


def largest(x):
    return float(np.max(np.abs(x[np.isfinite(x)]), initial=0.0))


def opened(model):
    return Session(model, threads=1, providers=None)


def run(session, feeds):
    arrays = {name: np.asarray(array, order="C") for name, array in feeds.items()}
    placed = {name: place(array, None) for name, array in arrays.items()}
    return [value.numpy() for value in session.run(placed)]


def inner(a, b):
    return float(np.sum(a.astype(np.float64) * b))


def both_norms(a, b):
    return float(np.linalg.norm(a.astype(np.float64)) * np.linalg.norm(b.astype(np.float64)))


def total(function, first, second):
    return sum(function(a, b) for a, b in zip(first, second, strict=True))


def along(point, direction, step):
    return tuple((x + step * u).astype(x.dtype) for x, u in zip(point, direction, strict=True))


def alike(a, b):
    return a.shape == b.shape and np.allclose(a, b, rtol=1e-3, atol=1e-4, equal_nan=True)


def same(a, b):
    size = max(1.0, float(np.max(np.abs(b), initial=0.0)))
    return bool(np.allclose(a, b, rtol=1e-3, atol=1e-4 * size))
