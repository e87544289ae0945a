"""ONNX's backend node tests as tests of derivatives: the first float32 input moves."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper
from onnx.backend.test.loader import load_model_tests

import pertcore.adapters.onnx.rules  # noqa: F401  fills the registry
from pertcore.adapters.onnx.derive import Derivatives
from pertcore.adapters.onnx.export import export
from pertcore.adapters.onnx.normalise import normalise
from pertcore.adapters.onnx.reemit import reemit
from pertcore.adapters.onnx.sessions import Session, place
from pertcore.errors import CapabilityError, ModelError

ADJOINT, QUOTIENT = 1e-4, 2e-2
STEPS = (1e-1, 3e-2, 1e-2, 3e-3, 1e-3, 3e-4)
JITTER = 0.05


@dataclass(frozen=True)
class Case:
    """A model of one free input x, the point of the test, its float32 outputs as expected."""

    name: str
    model: onnx.ModelProto
    x: Any
    outputs: tuple[str, ...]
    expected: tuple[Any, ...]


@dataclass
class Outcome:
    """What became of a case: passed, refused, unrunnable (by ONNX Runtime), or failed."""

    kind: str
    reason: str = ""
    operators: Sequence[str] = field(default=())


@cache
def cases():
    """The tests with a float32 input and a float32 output, all of their values plain tensors."""
    found = []
    for test in load_model_tests(kind="node"):
        values = [*test.model.graph.input, *test.model.graph.output]
        if all(value.type.WhichOneof("value") == "tensor_type" for value in values):
            case = frozen(test)
            found += [case] if case is not None else []
    return found


def frozen(test):
    """The test's model with every input but the first float32 one turned into a weight."""
    given, expected = (list(part) for part in test.data_sets[0])
    model = onnx.ModelProto()
    model.CopyFrom(test.model)
    model.ir_version = max(model.ir_version, 4)  # where initialisers need not be inputs
    floats = [i for i, a in enumerate(given) if getattr(a, "dtype", None) == np.float32]
    outputs = [i for i, v in enumerate(model.graph.output) if v.type.tensor_type.elem_type == 1]
    if not floats or not outputs or not given[floats[0]].size:
        return None
    inputs = list(model.graph.input)
    del model.graph.input[:]
    for i, (value, array) in enumerate(zip(inputs, given, strict=True)):
        if i == floats[0]:
            model.graph.input.append(value)
        elif isinstance(array, onnx.TensorProto):
            array.name = value.name
            model.graph.initializer.append(array)
        else:
            model.graph.initializer.append(numpy_helper.from_array(np.asarray(array), value.name))
    names = tuple(model.graph.output[i].name for i in outputs)
    return Case(test.name, model, given[floats[0]], names, tuple(expected[i] for i in outputs))


def check(case):
    """Runs a case: forward, J^T against J, J against a quotient, two products against one."""
    try:
        derivative = Derived(case)
    except CapabilityError as error:
        return Outcome("refused", str(error), [n.op_type for n in case.model.graph.node])
    except ModelError as error:
        return Outcome("broken", str(error))
    try:
        derivative.value(case.x)
    except ModelError as error:
        return Outcome("unrunnable", str(error).splitlines()[0])
    try:
        complaint = derivative.complaint(case.x)
        if complaint.startswith("quotient"):
            complaint = derivative.complaint(moved(case.x))
    except ModelError as error:
        complaint = str(error)
    return Outcome("failed", complaint) if complaint else Outcome("passed")


def moved(x):
    """A point nearby, off the kinks that the numbers of the tests sit on."""
    rng = np.random.default_rng(1)
    size = max(float(np.max(np.abs(x), initial=0.0)), 1e-3)
    return (x + JITTER * size * (0.1 + rng.random(x.shape))).astype(np.float32)


class Derived:
    """The sessions of a case: f, J^T and J, each product alone and with a leading axis."""

    def __init__(self, case):
        normal, opset = normalise(case.model)
        self.name = case.model.graph.input[0].name
        shapes = {self.name: [int(size) for size in case.x.shape]}
        self.primal = reemit(normal, opset, shapes, freeze={})
        self.x, self.expected = case.x, case.expected
        self.values = tuple(self.primal.values[y] for y in case.outputs)
        derivatives = Derivatives(self.primal.graph, (self.primal.values[self.name],), self.values)
        self.products = {
            (kind, lead): make(self.seeds(kind, lead), lead=lead)
            for kind, make in (("vjp", derivatives.pullback), ("jvp", derivatives.pushforward))
            for lead in (False, True)
        }
        self.forward = None

    def seeds(self, kind, lead):
        return [f"{kind}.{i}.{lead}" for i in range(len(self.values) if kind == "vjp" else 1)]

    def value(self, x):
        if self.forward is None:
            named = [(f"out.{i}", y) for i, y in enumerate(self.values)]
            graph = self.primal.graph
            self.forward = opened(export(graph, graph.nodes, [self.name], named))
        return run(self.forward, {self.name: x})

    def product(self, kind, x, seeds, lead=False):
        made = self.products[kind, lead]
        nodes = [*self.primal.graph.nodes, *made.nodes]
        named = [(f"made.{i}", r) for i, r in enumerate(made.results)]
        model = export(made.graph, nodes, [self.name, *made.seeds], named)
        return run(opened(model), {self.name: x, **dict(zip(made.seeds, seeds, strict=True))})

    def complaint(self, x):
        """What is wrong at x, in a few words; empty where nothing is."""
        rng = np.random.default_rng(0)
        values = self.value(x)
        if x is self.x and not all(map(alike, values, self.expected)):
            return "forward: differs from the expected output"
        u = rng.standard_normal(x.shape).astype(np.float32)
        v = [rng.standard_normal(y.shape).astype(np.float32) for y in values]
        pulled, pushed = self.product("vjp", x, v)[0], self.product("jvp", x, [u])
        left, right = inner(pulled, u), sum(inner(j, c) for j, c in zip(pushed, v, strict=True))
        size = norm(pulled) * norm(u)
        size += sum(norm(j) * norm(c) for j, c in zip(pushed, v, strict=True))
        if not abs(left - right) <= ADJOINT * size + 1e-6:
            return f"adjoint: <J^T v, u> = {left:.6g}, <v, J u> = {right:.6g}"
        error = self.quotient_error(x, u, pushed)
        if not error <= QUOTIENT:
            return f"quotient: differs by {error:.3g} of the largest entry"
        many = self.product("vjp", x, [np.stack([c, -2 * c]) for c in v], lead=True)
        if not same(many[0], np.stack([pulled, -2 * pulled])):
            return "leading axis: J^T of two differs from J^T of each"
        many = self.product("jvp", x, [np.stack([u, -2 * u])], lead=True)
        if not all(same(m, np.stack([j, -2 * j])) for m, j in zip(many, pushed, strict=True)):
            return "leading axis: J of two differs from J of each"
        return ""

    def quotient_error(self, x, u, pushed):
        """The best of several steps; the largest entry's error, or the 90 % quantile of many."""
        finite = [np.isfinite(y) for y in self.value(x)]
        pushed = [j[f] for j, f in zip(pushed, finite, strict=True)]
        scale = max(1e-3, *(float(np.max(np.abs(j), initial=0.0)) for j in pushed))
        best = np.inf
        for step in STEPS:
            h = step * max(1e-3, float(np.max(np.abs(x), initial=0.0)))
            ahead, behind = (self.value((x + s * u).astype(np.float32)) for s in (h, -h))
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


def opened(model):
    return Session(model, threads=1, providers=None)


def run(session, feeds):
    placed = {name: place(array, None) for name, array in feeds.items()}
    return [value.numpy() for value in session.run(placed)]


def inner(a, b):
    return float(np.sum(a.astype(np.float64) * b))


def norm(a):
    return float(np.linalg.norm(a.astype(np.float64)))


def alike(a, b):
    return a.shape == b.shape and np.allclose(a, b, rtol=1e-3, atol=1e-4, equal_nan=True)


def same(a, b):
    size = max(1.0, float(np.max(np.abs(b), initial=0.0)))
    return bool(np.allclose(a, b, rtol=1e-3, atol=1e-4 * size))
