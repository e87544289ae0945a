"""The rules of the house, applied to every file, and a planted source that breaks each of them.

FLOORS says who imports whom and FOREIGN who may use which library; a file that fits no floor
fails by name.
"""

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

GROUND = ("errors", "arrays", "oracle")
NOUNS = (*GROUND, "constraints", "result", "chunked", "notebook")
CORE = (*NOUNS, "closed_form", "solvers")
EVERYTHING = ("",)

# folder or file -> parts of pertcore it may import; the longest match rules.
FLOORS = {
    "pertcore/errors.py": (),
    "pertcore/arrays.py": ("errors",),
    "pertcore/oracle.py": ("errors", "arrays"),
    "pertcore/constraints.py": GROUND,
    "pertcore/notebook.py": GROUND,
    "pertcore/result.py": (*GROUND, "notebook"),  # results show themselves in notebooks
    "pertcore/chunked.py": GROUND,
    "pertcore/quotient.py": GROUND,
    "pertcore/testing.py": (*NOUNS, "quotient"),
    "kernels/": (*GROUND, "kernels"),
    "pertcore/closed_form/": (*GROUND, "constraints", "kernels", "closed_form"),
    "pertcore/solvers/": (*CORE, "kernels"),
    "pertcore/attacks/": (*CORE, "attacks"),
    "pertcore/evaluation/": (*NOUNS, "attacks", "evaluation"),
    "pertcore/detection/": (*NOUNS, "detection"),
    "adapters/": (*GROUND, "adapters"),
    "adapters/onnx/rules/": (
        "errors",
        "adapters.onnx.layout",  # where a cotangent enters the blocked layout
        "adapters.onnx.op",
        "adapters.onnx.registry",
        "adapters.onnx.symbolic",  # arithmetic of sizes, as the builder hands them out
        "adapters.onnx.windows",
        "adapters.onnx.rules",
    ),
    "pertcore/falsification/": (*GROUND, "adapters", "falsification"),  # an entry point
    "pertcore/__init__.py": EVERYTHING,
    "pertcore/cli/": EVERYTHING,
    "pertcore/data/": EVERYTHING,
    "pertcore/demo/": EVERYTHING,
    "pertcore/interop/": EVERYTHING,
}

TABLES = {"typer", "rich", "click", "pyarrow", "matplotlib", "jinja2", "PIL"}

# folder -> what it may import beside the standard library, NumPy and SciPy.
FOREIGN = {
    "kernels/compiled/": {"numba"},
    "kernels/cuda/device.py": {"cupy"},
    "pertcore/arrays.py": {"cupy"},
    "adapters/onnx/": {"onnx", "onnxruntime", "google"},  # google.protobuf reads ONNX files
    "adapters/torch/": {"torch"},
    "adapters/jax.py": {"jax"},
    "adapters/sklearn.py": {"skl2onnx"},
    "pertcore/cli/": TABLES,
    "pertcore/interop/foolbox.py": {"foolbox", "eagerpy"},
    "pertcore/interop/art.py": {"art"},
    "pertcore/notebook.py": {"matplotlib"},
    "pertcore/evaluation/": TABLES,
    "pertcore/evaluation/runs/engine.py": {"ray"},
    "pertcore/detection/": {"PIL"},
    "pertcore/data/": TABLES,
}
FREE = {"numpy", "scipy", "pertcore", *sys.stdlib_module_names}
LAZY = ("kernels/catalogue.py", "pertcore/__init__.py")

FILE_LINES, BODY_LINES, KERNEL_LINES, NESTING = 400, 40, 60, 3
BLOCKS = (ast.If, ast.For, ast.While, ast.With, ast.Try)
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def broken(path, source):
    """One sentence a broken rule of the file at `path`, relative to the repository's root."""
    tree = ast.parse(source)
    found = [] if len(source.splitlines()) < FILE_LINES else [f"{path}: {FILE_LINES} lines or more"]
    for function in (node for node in ast.walk(tree) if isinstance(node, FUNCTIONS)):
        found += _long_body(path, function) + _deep(path, function)
    found += _calls(path, tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            found += _import(path, node)
    return found


def is_library(path):
    return path.startswith(("pertcore/", "adapters/", "kernels/"))


def _long_body(path, function):
    body = function.body
    if ast.get_docstring(function) is not None:
        body = body[1:]
    lines = body[-1].end_lineno - body[0].lineno + 1 if body else 0
    limit = KERNEL_LINES if path.startswith("kernels/") else BODY_LINES
    return [] if lines < limit else [f"{path}: {function.name} has a body of {lines} lines"]


def _deep(path, function):
    depth = max((_depth(child) for child in function.body), default=0)
    limit = NESTING + 1 if path.startswith("kernels/") else NESTING
    return [] if depth <= limit else [f"{path}: {function.name} nests {depth} blocks"]


def _depth(node):
    if isinstance(node, (*FUNCTIONS, ast.ClassDef)):
        return 0
    here = isinstance(node, BLOCKS)
    inner = [_depth(child) for child in ast.iter_child_nodes(node) if not _is_elif(node, child)]
    branches = [_depth(child) - 1 for child in ast.iter_child_nodes(node) if _is_elif(node, child)]
    return here + max([*inner, *branches], default=0)


def _is_elif(node, child):
    return isinstance(node, ast.If) and isinstance(child, ast.If) and node.orelse == [child]


def _calls(path, tree):
    names = [n.func for n in ast.walk(tree) if isinstance(n, ast.Call)]
    plain = {f.id for f in names if isinstance(f, ast.Name)}
    dotted = {f.attr for f in names if isinstance(f, ast.Attribute)}
    found = []
    if "print" in plain and is_library(path) and not path.startswith("pertcore/cli/"):
        found.append(f"{path}: calls print")
    lazy = {"import_module", "__import__"} & (plain | dotted)
    if lazy and is_library(path) and path not in LAZY:
        found.append(f"{path}: imports by name, which hides who imports whom")
    return found


def _import(path, node):
    if isinstance(node, ast.Import):
        return [s for alias in node.names for s in _allowed(path, alias.name)]
    if node.level:
        return [f"{path}: relative import"]
    if any(alias.name == "*" for alias in node.names):
        return [f"{path}: star import of {node.module}"]
    return [s for alias in node.names for s in _allowed(path, f"{node.module}.{alias.name}")]


def _allowed(path, name):
    if not is_library(path):
        return []
    top = name.partition(".")[0]
    if top != "pertcore":
        foreign = set().union(*(v for k, v in FOREIGN.items() if path.startswith(k)))
        return [] if top in FREE | foreign else [f"{path}: may not import {top}"]
    floor = max((f for f in FLOORS if path.startswith(f)), key=len, default=None)
    if floor is None:
        return [f"{path}: no floor of the house says what it may import"]
    inner = name.removeprefix("pertcore.") + "."
    fits = any(part == "" or inner.startswith(part + ".") for part in FLOORS[floor])
    return [] if fits else [f"{path}: may not import {name}"]


def sources():
    folders = ("pertcore", "adapters", "kernels", "tests", "bench", "docs")
    files = [p for folder in folders for p in sorted((ROOT / folder).rglob("*.py"))]
    return [p.relative_to(ROOT).as_posix() for p in [*files, ROOT / "setup.py"]]


@pytest.mark.parametrize("path", sources())
def test_file(path):
    """Every Python file of the repository keeps every rule."""
    assert broken(path, (ROOT / path).read_text()) == []


def test_every_floor_exists():
    missing = [floor for floor in {*FLOORS, *FOREIGN, *LAZY} if not (ROOT / floor).exists()]
    assert missing == []


def nested(depth, closing="pass"):
    lines = [f"{'    ' * (i + 1)}if x > {i}:" for i in range(depth)]
    return "\n".join(["def f(x):", *lines, "    " * (depth + 1) + closing])


def long_body(lines):
    return 'def f(x):\n    """Docstring\n    of two lines."""\n' + "    x += 1\n" * lines


PLANTED = {
    "errors import nothing": ("pertcore/errors.py", "from pertcore.oracle import Array"),
    "nouns do not know solvers": ("pertcore/result.py", "import pertcore.solvers.descent"),
    "kernels do not know constraints": ("kernels/catalogue.py", "from pertcore import constraints"),
    "closed forms see no solver": (
        "pertcore/closed_form/steps.py",
        "from pertcore.solvers.descent import descend",
    ),
    "solvers see no attack": ("pertcore/solvers/descent.py", "from pertcore.attacks import run"),
    "solvers see no adapter": (
        "pertcore/solvers/descent.py",
        "from pertcore.adapters.matrix import from_matrix",
    ),
    "attacks see no kernel": (
        "pertcore/attacks/gradient.py",
        "def f():\n    from pertcore.kernels.catalogue import kernel",
    ),
    "attacks see no adapter": ("pertcore/attacks/run.py", "import pertcore.adapters.function"),
    "evaluation sees no adapter": (
        "pertcore/evaluation/report.py",
        "from pertcore.adapters.onnx import adapter",
    ),
    "adapters see no core": ("adapters/matrix.py", "from pertcore.constraints import Ball"),
    "adapters do not know closed forms": (
        "adapters/onnx/x.py",
        "import pertcore.closed_form.steps",
    ),
    "a rule sees the builder alone": (
        "adapters/onnx/rules/x.py",
        "from pertcore.adapters.onnx.graph import Graph",
    ),
    "a new room needs a floor": ("pertcore/new/x.py", "from pertcore.errors import InputError"),
    "numba in compiled kernels alone": ("kernels/definitions/steps.py", "import numba"),
    "onnx in its adapter alone": ("pertcore/cli/app.py", "from onnx import helper"),
    "onnxruntime in its adapter alone": ("adapters/function.py", "import onnxruntime as ort"),
    "torch in its adapter alone": ("adapters/jax.py", "import torch"),
    "jax in its adapter alone": ("adapters/torch/point.py", "import jax"),
    "no torch": ("adapters/onnx/session.py", "import torch.nn"),
    "no jax": ("pertcore/arrays.py", "from jax import numpy"),
    "no cupy": ("kernels/compiled/steps.py", "import cupy"),
    "foolbox in its file alone": ("pertcore/interop/__init__.py", "import foolbox"),
    "no typer in an attack": ("pertcore/attacks/run.py", "import typer"),
    "no sklearn in the demo": ("pertcore/demo/run.py", "from sklearn import datasets"),
    "no star import": ("tests/test_x.py", "from pertcore.errors import *"),
    "no relative import": ("bench/x.py", "from . import y"),
    "no print in the library": ("pertcore/attacks/run.py", "print(1)"),
    "no import by name": ("pertcore/attacks/run.py", "importlib.import_module('pertcore.cli')"),
    "short files": ("tests/test_x.py", "x = 1\n" * 400),
    "short functions": ("pertcore/attacks/run.py", long_body(40)),
    "short kernels": ("kernels/compiled/steps.py", long_body(60)),
    "shallow functions": ("pertcore/attacks/run.py", nested(4)),
    "shallow kernels": ("kernels/compiled/steps.py", nested(5)),
}


@pytest.mark.parametrize("rule", list(PLANTED))
def test_planted(rule):
    assert len(broken(*PLANTED[rule])) == 1


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("pertcore/attacks/run.py", "import numpy as np\nfrom pertcore.solvers import descent"),
        ("pertcore/attacks/run.py", long_body(39)),
        ("pertcore/attacks/run.py", nested(3)),
        ("pertcore/attacks/run.py", nested(3, "x = 1\n    elif x:\n        pass")),
        ("kernels/compiled/steps.py", "import numba\n" + long_body(59)),
        ("pertcore/cli/app.py", "import typer\nprint(1)"),
        ("adapters/onnx/rules/conv.py", "from pertcore.adapters.onnx.op import Op"),
        ("tests/test_x.py", "import torch\nprint(1)\n" + "x = 1\n" * 397),
    ],
)
def test_allowed(path, source):
    assert broken(path, source) == []
