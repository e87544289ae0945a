"""The documents tell the truth: the table is the registry, examples run, names and links exist."""

import os
import re
from importlib import import_module
from pathlib import Path

import pytest

from pertcore.attacks import ATTACKS
from pertcore.result import Status

ROOT = Path(__file__).parents[1]
TEXTS = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md")]
TEXTS += sorted((ROOT / "docs").rglob("*.md"))
TABLE = ROOT / "docs" / "attacks.md"
BEGIN, END = (
    "<!-- table: written by tests/test_docs.py from the registry -->\n",
    "<!-- end of table -->",
)


def table():
    rows = ["| attack | what it does | its options and their defaults |", "|---|---|---|"]
    for name, attack in ATTACKS.items():
        options = ", ".join(f"`{key}={value!r}`" for key, value in attack.options.items())
        rows.append(f"| `{name}` | {attack.summary} | {options} |")
    return "\n".join(rows) + "\n"


def test_the_table_of_attacks_is_the_registry():
    text = TABLE.read_text()
    before, _, rest = text.partition(BEGIN)
    written, _, after = rest.partition(END)
    if os.environ.get("PERTCORE_WRITE_DOCS"):
        TABLE.write_text(before + BEGIN + table() + END + after)
        return
    assert written == table(), "PERTCORE_WRITE_DOCS=1 pytest tests/test_docs.py rewrites it"


def test_every_status_is_explained():
    text = (ROOT / "docs" / "reliability.md").read_text()
    assert [s.name for s in Status if f"| `{s.name}` |" not in text] == []


def named():
    pattern = r"`((?:closed_form|solvers|attacks|kernels|adapters)\.[\w.]+)`"
    text = (ROOT / "docs" / "method.md").read_text()
    return sorted(set(re.findall(pattern, text)))


@pytest.mark.parametrize("name", named())
def test_names_in_the_method_exist(name):
    module, _, last = f"pertcore.{name}".rpartition(".")
    try:
        import_module(f"{module}.{last}")
    except ModuleNotFoundError:
        assert callable(getattr(import_module(module), last))


@pytest.mark.parametrize("path", TEXTS, ids=lambda p: p.name)
def test_links_lead_somewhere(path):
    links = re.findall(r"\]\(([^)#]+)\)", path.read_text())
    assert [x for x in links if "://" not in x and not (path.parent / x).exists()] == []


def test_nothing_of_another_machine_is_in_the_texts():
    for path in TEXTS:
        assert not re.search(r"/(home|root|tmp|work)/", path.read_text()), path.name
