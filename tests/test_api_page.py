"""docs/api.md is the public index: every name, how it is called, and its docstring.

The sources are read, not imported, so that the page does not depend on what is installed.
"""

import ast
import os
import textwrap
from pathlib import Path

import pytest

from pertcore import PUBLIC

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "api.md"
HEAD = """# API

Everything that `import pertcore as pc` offers, in the words of the code. What is neither on this
page nor in the guides is internal and may change in any release: see [Stability](stability.md).

Written by tests/test_api_page.py from `pertcore.PUBLIC`.
"""
ELSEWHERE = {"attacks": "Every attack as a function: see [Attacks](attacks.md)."}
RESULTS = {  # what the functions above return, and what a model of one's own has to be
    "Curve": "pertcore.evaluation.curve",
    "RegressionCurve": "pertcore.evaluation.regression_curve",
    "Robustness": "pertcore.evaluation.robustness",
    "Comparison": "pertcore.evaluation.compare",
    "Difference": "pertcore.evaluation.compare",
    "OperatorNorm": "pertcore.solvers.jacobian_norms",
    "SingularVectors": "pertcore.solvers.jacobian_norms",
    "DerivativeGraph": "pertcore.adapters.onnx.differentiate",
    "Certificate": "pertcore.result",
    "Stage": "pertcore.result",
    "Transfer": "pertcore.result",
    "Progress": "pertcore.attacks.run",
    "Oracle": "pertcore.oracle",
    "Linearization": "pertcore.oracle",
}
DEFINED = (ast.FunctionDef, ast.ClassDef)
MAPPED = {"pertcore/adapters": "adapters", "pertcore/kernels": "kernels"}


def tree(module):
    """The syntax tree of a module of this repository."""
    path = module.replace(".", "/")
    for package, folder in MAPPED.items():
        path = path.replace(package, folder) if path.startswith(package) else path
    file = ROOT / f"{path}.py"
    return ast.parse((file if file.exists() else ROOT / path / "__init__.py").read_text())


def definition(module, name):
    """The function or class of that name, followed to where it is written; None where neither."""
    for node in tree(module).body:
        if isinstance(node, DEFINED) and node.name == name:
            return node
        if isinstance(node, ast.ImportFrom) and name in [a.asname or a.name for a in node.names]:
            return definition(node.module, name)
    return None


def public(body):
    return [n for n in body if isinstance(n, DEFINED) and not n.name.startswith("_")]


def offered(module):
    """What a module says is public: its __all__, else what it defines."""
    source = tree(module)
    for node in source.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return [definition(module, name) for name in ast.literal_eval(node.value)]
    return public(source.body)


def call(node):
    """name(arguments) -> result, an argument a line where one line is too long."""
    result = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    line = f"{node.name}({ast.unparse(node.args)}){result}"
    if len(line) <= 96:
        return line
    args, pieces = node.args, []
    plain = args.posonlyargs + args.args
    defaults = [None] * (len(plain) - len(args.defaults)) + args.defaults
    pieces += [argument(*pair) for pair in zip(plain, defaults)]
    if args.vararg or args.kwonlyargs:
        pieces.append("*" + (ast.unparse(args.vararg) if args.vararg else ""))
    pieces += [argument(*pair) for pair in zip(args.kwonlyargs, args.kw_defaults)]
    pieces += [f"**{ast.unparse(args.kwarg)}"] if args.kwarg else []
    return f"{node.name}(\n" + "".join(f"    {piece},\n" for piece in pieces) + f"){result}"


def argument(node, default):
    equals = " = " if node.annotation else "="
    return ast.unparse(node) + (equals + ast.unparse(default) if default is not None else "")


def section(title, node, level="##"):
    """A heading, how the thing is called, what it says of itself, and its members."""
    parts = [f"\n{level} {title}\n", ast.get_docstring(node) or ""]
    if isinstance(node, ast.FunctionDef):
        parts.insert(1, call(node) + "\n")
    told = "".join(textwrap.indent(text, "    ") + "\n" for text in parts[1:])
    return f"{parts[0]}\n{told}{rows(node)}"


def rows(node):
    """A row for each public property and method of a class that explains itself."""
    inside = public(node.body) if isinstance(node, ast.ClassDef) else []
    told = [(n.name, (ast.get_docstring(n) or "").split("\n")[0]) for n in inside]
    table = "".join(f"| `{name}` | {text} |\n" for name, text in told if text)
    return f"\n| member | what it is |\n|---|---|\n{table}" if table else ""


def described(name):
    node = definition(PUBLIC[name], name)
    if node is not None:
        return section(f"pc.{name}", node)
    about = ELSEWHERE.get(name) or ast.get_docstring(tree(PUBLIC[name]))
    inner = [] if name in ELSEWHERE else offered(PUBLIC[name])
    return f"\n## pc.{name}\n\n{about}\n" + "".join(
        section(f"pc.{name}.{n.name}", n, "###") for n in inner
    )


def page():
    met = "".join(section(name, definition(at, name), "###") for name, at in RESULTS.items())
    return HEAD + "".join(described(name) for name in PUBLIC) + "\n## What comes back\n" + met


def test_the_page_is_the_public_index():
    if os.environ.get("PERTCORE_WRITE_DOCS"):
        PAGE.write_text(page())
    assert PAGE.read_text() == page(), "PERTCORE_WRITE_DOCS=1 pytest tests/test_api_page.py"


@pytest.mark.parametrize("name", [n for n in {**PUBLIC, **RESULTS} if n not in ELSEWHERE])
def test_every_public_name_explains_itself(name):
    module = {**PUBLIC, **RESULTS}[name]
    node = definition(module, name)
    nodes = [node] if node else offered(module)
    assert nodes, f"{name} offers nothing"
    assert [n.name for n in nodes if not ast.get_docstring(n)] == []


def test_a_long_call_says_the_same_as_a_short_one():
    source = "def f(a, b: int=1, *, c: str='x', d, " + "e" * 90 + "=2) -> int: pass"
    (node,) = ast.parse(source).body
    again = ast.parse(f"def {call(node)}: pass").body[0]
    assert ast.dump(again.args) == ast.dump(node.args) and "\n" in call(node)
