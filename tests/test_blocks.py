"""Every block of code in README and docs runs, in a folder with the files that it names.

A fence is `python`, run by this interpreter; `sh`, run by the shell, line by line as a reader would
type it; `math`, a formula; or `text`, which is not pertcore's code: output, other libraries.
"""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

from pertcore.demo import AUTOENCODER, CLASSIFIER, digits
from pertcore.errors import PertcoreWarning
from tests.falsification.nets import spec
from tests.test_docs import ROOT, TEXTS

RUN = {"python", "sh"}
READ = {"text", "math"}
OURS = re.compile(r"^\s*pertcore \w|\bpc\.\w|\bpertcore\.\w+\(", re.M)
FENCE = re.compile(r"^( *)```([^\n]*)\n(.*?)^\1```$", re.S | re.M)
LIBRARIES = ("jax", "foolbox", "art")  # what a page may use and `make` does not install
SHARED = Path(os.environ.get("PERTCORE_DATA", ROOT.parent / "shared" / "data"))
REGISTERING = "extending.md"  # its blocks change registries, so each is a process of its own
DATA = {  # what a page calls it -> where the data folder has it
    "fastestdet.onnx": "models/detector_fastestdet_coco.onnx",
    "voc2012": "datasets/voc2012",
}


def fences(text):
    """(language, code) of every fence."""
    return [(language, code) for _, language, code in FENCE.findall(text)]


def blocks():
    return [
        pytest.param(path.name, language, code, id=f"{path.relative_to(ROOT).as_posix()}-{number}")
        for path in TEXTS
        for number, (language, code) in enumerate(fences(path.read_text()))
        if language in RUN
    ]


def unrun(text):
    """Fences in no known language, and those of ours that would not run."""
    return [
        (language, code)
        for language, code in fences(text)
        if language not in RUN | READ or (language == "text" and OURS.search(code))
    ]


@pytest.mark.parametrize("path", TEXTS, ids=lambda p: p.name)
def test_no_code_of_ours_is_left_unrun(path):
    assert unrun(path.read_text()) == []


def test_unrun_code_is_seen():
    for fence in ("```py\nx = 1\n```\n", "```\npertcore info m.onnx\n```\n"):
        assert len(unrun(fence)) == 1
    assert len(unrun("  ```text\n  r = pc.attack(model, x)\n  ```\n")) == 1
    assert unrun("```text\nfoolbox.attacks.LinfPGD()\n```\n") == []


def libraries(code):
    return [x for x in LIBRARIES if re.search(rf"^\s*(import|from) {x}\b", code, re.M)]


def needed(code):
    """Why a block cannot run here, or ''."""
    for name in libraries(code) + ["ray"] * ("--engine ray" in code):
        if importlib.util.find_spec(name) is None:
            return f"{name} is not installed"
    absent = [name for name in DATA if f'"{name}"' in code and not (SHARED / DATA[name]).exists()]
    return f"{absent[0]}: the data folder is absent" if absent else ""


def property_of(x, label, eps):
    """Another class of ten scores at least as much, within eps of x and inside [0, 1]."""
    box = [(repr(max(v - eps, 0.0)), repr(min(v + eps, 1.0))) for v in x.astype(float).tolist()]
    others = [f"(and (>= Y_{k} Y_{label}))" for k in range(10) if k != label]
    return spec(box, 10, f"(or {' '.join(others)})")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Somewhere with the files that pages name, and the command line in reach."""
    x, y = digits()
    np.save(tmp_path / "x.npy", x[:20])
    np.save(tmp_path / "y.npy", y[:20])
    np.save(tmp_path / "pictures.npy", (np.rint(x[:20] * 255) / 255).astype(np.float32))
    shutil.copy(CLASSIFIER, tmp_path / "model.onnx")
    shutil.copy(AUTOENCODER, tmp_path / "autoencoder.onnx")
    (tmp_path / "property.vnnlib").write_text(property_of(x[0].ravel(), y[0], 0.1))
    (tmp_path / "instances.csv").write_text("model.onnx,property.vnnlib\n")
    for name, place in DATA.items():
        if (SHARED / place).exists():
            (tmp_path / name).symlink_to((SHARED / place).resolve())
    monkeypatch.chdir(tmp_path)
    here = Path(sys.executable).parent
    monkeypatch.setenv("PATH", f"{here}{os.pathsep}{os.environ['PATH']}")


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(("page", "language", "code"), blocks())
def test_block(page, language, code):
    if reason := needed(code):
        pytest.skip(reason)
    if language == "sh":
        called("sh", "-eu", "-c", code)
    elif page == REGISTERING:
        Path("example.py").write_text(code)
        called(sys.executable, "example.py")
    else:
        executed(code)


def called(*command):
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr or done.stdout


def executed(code):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PertcoreWarning)
        if libraries(code):
            warnings.simplefilter("ignore", DeprecationWarning)  # theirs
        exec(compile(code, "example", "exec"), {"__name__": "example"})
