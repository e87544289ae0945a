"""What a release says of itself is true in every place that says it."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml

import pertcore

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
WORKFLOW = ROOT / ".github" / "workflows" / "ci.yml"


def cited():
    return yaml.safe_load((ROOT / "CITATION.cff").read_text())


def test_one_version():
    newest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.M)
    assert newest is not None
    said = {PROJECT["version"], cited()["version"], newest.group(1), pertcore.__version__}
    assert said == {pertcore.__version__}


def test_one_licence():
    assert PROJECT["license"] == cited()["license"] == "MIT"
    assert (ROOT / "LICENSE").read_text().startswith("MIT License")


def test_the_citation_is_a_citation():
    """The required keys of the Citation File Format 1.2.0."""
    found = cited()
    assert found["cff-version"] == "1.2.0"
    assert {"title", "message", "authors"} <= found.keys()
    assert all("authors" in reference for reference in found["references"])


def test_the_matrix_is_what_the_classifiers_say():
    jobs = yaml.safe_load(WORKFLOW.read_text())["jobs"]
    said = [c.rpartition(" ")[2] for c in PROJECT["classifiers"] if "Python :: 3." in c]
    assert jobs["test"]["strategy"]["matrix"]["python"] == said
    assert f">={said[0]}" == PROJECT["requires-python"]
    commands = [step.get("run") for step in jobs["test"]["steps"]]
    assert "make test" in commands and "make docs" in commands


@pytest.mark.parametrize("path", sorted((ROOT / ".github").rglob("*.yml")), ids=lambda p: p.name)
def test_forms_are_read(path):
    form = yaml.safe_load(path.read_text())
    for field in form.get("body", ()):
        assert field["type"] in {"markdown", "textarea", "input", "dropdown", "checkboxes"}
        assert field["type"] == "markdown" or {"id", "attributes"} <= field.keys()
