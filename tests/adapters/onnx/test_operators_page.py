"""docs/operators.md is the registry: every operator of the standard and what is known of it."""

import os
from pathlib import Path

import onnx

from pertcore.adapters.onnx import derive, expansion, registry

PAGE = Path(__file__).parents[3] / "docs" / "operators.md"
NEWEST = onnx.defs.onnx_opset_version()
HEAD = """# Operators

What `pc.from_onnx` knows of each operator of the ONNX standard and of ONNX Runtime's own. `rule`:
it has a derivative rule. `lowered`: it is written in operators that have one, where it has none
of its own. `body`: it is written out by the function body that the standard gives it. `zero`: its
derivative is zero wherever it exists. `unknown`: a model that needs its derivative is refused
with its name. Some attributes of an operator may be refused by their rule, by name.

Written by tests/adapters/onnx/test_operators_page.py from the registry.

| operator | derivative |
|---|---|
"""


def fact(op, domain):
    if (domain, op) in registry.RULES:
        return "rule"
    if (domain, op) in registry.LOWERED:
        return "lowered"
    if expansion.expandable(op, domain, NEWEST):
        return "body"
    return registry.fact(op, domain)


def page():
    assert derive is not None
    schemas = onnx.defs.get_all_schemas()
    names = {(s.domain, s.name) for s in schemas if not s.deprecated}
    names |= {*registry.RULES, *registry.LOWERED, *registry.ZERO}
    rows = [
        f"| {f'{domain}::{op}'.removeprefix('::')} | {fact(op, domain)} |\n"
        for domain, op in sorted(names)
    ]
    return HEAD + "".join(rows)


def test_the_page_is_the_registry():
    if os.environ.get("PERTCORE_WRITE_DOCS"):
        PAGE.write_text(page())
    assert PAGE.read_text() == page(), "PERTCORE_WRITE_DOCS=1 pytest rewrites it"
