"""The scripts of docs/examples run, with the data folder and without; the notebooks are the same.

`# %%` begins a cell, `# %% [markdown]` one of text. A notebook holds a script's cells and no
output; here its code is run cell after cell in one namespace, as Jupyter would.
"""

import json
import os
import re
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from pertcore.errors import PertcoreWarning
from tests.test_blocks import SHARED

FOLDER = Path(__file__).parents[1] / "docs" / "examples"
NAMES = ("audit", "autoencoder", "detector", "physics")
WITH_DATA = ("detector", "physics")


def cells(source):
    """(kind, text) of every cell of a script, comment signs taken off the text."""
    parts = re.split(r"^# %%(.*)\n", source, flags=re.M)[1:]
    for kind, body in zip(parts[::2], parts[1::2]):
        text = body.strip("\n")
        if "markdown" in kind:
            yield "markdown", re.sub(r"^# ?", "", text, flags=re.M)
        else:
            yield "code", text


def notebook(source):
    """The text of the .ipynb file with the cells of a script (nbformat 4.5)."""
    made = []
    for number, (kind, text) in enumerate(cells(source)):
        cell = {"cell_type": kind, "id": f"cell-{number}", "metadata": {}}
        if kind == "code":
            cell |= {"execution_count": None, "outputs": []}
        made.append(cell | {"source": text.splitlines(keepends=True)})
    about = {"language_info": {"name": "python"}}
    whole = {"cells": made, "metadata": about, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(whole, indent=1) + "\n"


@pytest.mark.parametrize("name", NAMES)
def test_the_notebook_is_the_script(name):
    stored, made = FOLDER / f"{name}.ipynb", notebook((FOLDER / f"{name}.py").read_text())
    if os.environ.get("PERTCORE_WRITE_DOCS"):
        stored.write_text(made)
    assert stored.read_text() == made, "PERTCORE_WRITE_DOCS=1 pytest rewrites it"


@pytest.mark.parametrize("name", NAMES)
def test_the_script_runs_far_from_the_checkout(name, tmp_path):
    environment = os.environ | {"PERTCORE_DATA": str(tmp_path / "absent")}
    command = [sys.executable, str(FOLDER / f"{name}.py")]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout


@pytest.mark.parametrize("name", NAMES)
def test_the_notebook_runs(name, tmp_path, monkeypatch):
    if name in WITH_DATA and not SHARED.exists():
        pytest.skip("the data folder is absent, and without it the script has run")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PERTCORE_DATA", str(SHARED.resolve()))
    space = {"__name__": "__main__"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PertcoreWarning)
        for cell in json.loads((FOLDER / f"{name}.ipynb").read_text())["cells"]:
            if cell["cell_type"] == "code":
                exec(compile("".join(cell["source"]), name, "exec"), space)


def test_cells_are_told_apart():
    source = '"""Left."""\n# %% [markdown]\n# # Head\n#\n# text\n\n# %%\nx = 1\n\n\n# %%\ny = 2\n'
    found = [("markdown", "# Head\n\ntext"), ("code", "x = 1"), ("code", "y = 2")]
    assert list(cells(source)) == found
