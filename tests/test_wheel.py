"""The wheel and the source archive hold what the tree holds, and work far from the checkout."""

import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
import zlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MAPPED = {
    "adapters/": "pertcore/adapters/",
    "kernels/": "pertcore/kernels/",
    "pertcore/": "pertcore/",
}

IMPORT_EVERYTHING = """
import importlib, pkgutil, pertcore
OPTIONAL = {"torch", "jax", "art", "eagerpy", "foolbox"}  # what adapters and interop alone need
print(pertcore.__file__)
for found in pkgutil.walk_packages(pertcore.__path__, "pertcore."):
    try:
        importlib.import_module(found.name)
    except ModuleNotFoundError as absent:
        if absent.name not in OPTIONAL:
            raise
    print(found.name)
"""


def run(*command, cwd):
    """stdout of a command; an AssertionError with all it said when it fails."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "PIP_"))}
    done = subprocess.run(command, cwd=cwd, env=clean, capture_output=True, text=True)
    if done.returncode:
        raise AssertionError(f"{command}\n{done.stdout}\n{done.stderr}")
    return done.stdout


def tracked():
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("the list of tracked files needs git and its checkout")
    listed = run("git", "ls-files", "-z", cwd=ROOT).split("\0")
    return [name for name in listed if name and (ROOT / name).exists()]


@pytest.fixture(scope="module")
def export(tmp_path_factory):
    """The tracked files of the working tree, copied: no build leftovers, no untracked files."""
    target = tmp_path_factory.mktemp("export")
    for name in tracked():
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, target / name)
    return target


def build(kind, source, out):
    """The path of an archive built by the installed setuptools, without the network."""
    hook = "import setuptools.build_meta as b, sys; print(getattr(b, sys.argv[1])(sys.argv[2]))"
    printed = run(sys.executable, "-c", hook, f"build_{kind}", str(out), cwd=source)
    return out / printed.split()[-1]


@pytest.fixture(scope="module")
def archives(export, tmp_path_factory):
    """(wheel, sdist); the wheel is built from the sdist, as an index would have it."""
    out = tmp_path_factory.mktemp("dist")
    sdist = build("sdist", export, out)
    with tarfile.open(sdist) as archive:
        archive.extractall(out, filter="data")
    return build("wheel", out / sdist.name.removesuffix(".tar.gz"), out), sdist


@pytest.fixture(scope="module")
def installed(archives, tmp_path_factory):
    """A fresh environment with the wheel installed and this one's libraries in reach."""
    home = tmp_path_factory.mktemp("venv")
    venv.create(home, with_pip=False, symlinks=True)
    pip = (sys.executable, "-m", "pip", "--python", home, "--disable-pip-version-check")
    run(*pip, "install", "--quiet", "--no-deps", "--no-index", archives[0], cwd=home)
    where = "import sysconfig; print(sysconfig.get_paths()['purelib'])"
    packages = Path(run(home / "bin" / "python", "-c", where, cwd=home).strip())
    # A path file adds the libraries but not their own path files: the checkout stays unseen.
    (packages / "libraries.pth").write_text(sysconfig.get_paths()["purelib"])
    return home


def packaged(names):
    """Where the tracked files of the three source folders belong inside an installation."""
    return {
        place + name.removeprefix(folder)
        for name in names
        for folder, place in MAPPED.items()
        if name.startswith(folder)
    }


def test_wheel_holds_the_tree_and_nothing_else(archives):
    with zipfile.ZipFile(archives[0]) as wheel:
        held = {name for name in wheel.namelist() if ".dist-info/" not in name}
        licences = [name for name in wheel.namelist() if name.endswith("LICENSE")]
    assert held == packaged(tracked())
    assert len(licences) == 1


def test_sdist_holds_the_checkout(archives):
    """Every tracked file but the dotted ones, so that its tests can be run where it is unpacked."""
    with tarfile.open(archives[1]) as sdist:
        held = {name.partition("/")[2] for name in sdist.getnames()}
    wanted = {name for name in tracked() if not name.startswith(".")}
    assert wanted - held == set()
    assert [name for name in held if name.endswith((".pyc", ".so")) or "__pycache__" in name] == []


def test_what_an_index_would_show(archives):
    """The description is README, and no tag of the licence or the Python versions is missing."""
    with zipfile.ZipFile(archives[0]) as wheel:
        (name,) = [n for n in wheel.namelist() if n.endswith(".dist-info/METADATA")]
        head, _, body = wheel.read(name).decode().partition("\n\n")
    assert body.strip() == (ROOT / "README.md").read_text().strip()
    assert "License-Expression: MIT" in head
    assert head.count("Classifier: Programming Language :: Python :: 3.") == 3


def test_twine_accepts_both(archives):
    if importlib.util.find_spec("twine") is None:
        pytest.skip("twine is not installed")
    run(sys.executable, "-m", "twine", "check", "--strict", *map(str, archives), cwd=ROOT)


def test_every_module_imports_far_from_the_checkout(installed, tmp_path):
    python = installed / "bin" / "python"
    place, *modules = run(python, "-c", IMPORT_EVERYTHING, cwd=tmp_path).split()
    assert Path(place).is_relative_to(installed)
    wanted = {
        name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        for name in packaged(tracked())
        if name.endswith(".py")
    }
    assert {"pertcore", *modules} == wanted


def test_package_data_is_read_where_it_is_installed(installed, tmp_path):
    """Every data file is found through importlib.resources with the bytes of the tree."""
    data = {name for name in packaged(tracked()) if not name.endswith(".py")}
    assert "pertcore/py.typed" in data
    assert any(name.endswith(".onnx") for name in data)
    code = (
        "import importlib.resources as r, sys, zlib\n"
        "for name in sys.argv[1:]:\n"
        "    data = r.files('pertcore').joinpath(name.removeprefix('pertcore/')).read_bytes()\n"
        "    print(zlib.crc32(data))"
    )
    names = sorted(data)
    got = run(installed / "bin" / "python", "-c", code, *names, cwd=tmp_path).split()
    assert got == [str(zlib.crc32((ROOT / name).read_bytes())) for name in names]


def test_console_script_starts_far_from_the_checkout(installed, tmp_path):
    assert "pertcore" in run(installed / "bin" / "pertcore", "--help", cwd=tmp_path)
