"""Virtual environments for libraries that cannot live in one: built once, under .peers/."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import venv
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
WORK = ROOT / ".peers"
TORCH = ("torch==2.13.0", "numpy", "scipy", "onnx", "tqdm", "setuptools")


@dataclass(frozen=True)
class Environment:
    """`needed` is resolved by pip; `bare` is put in without what it asks for.

    The libraries and onnx2torch ask for torchvision, whose wheel belongs to a CUDA build of
    PyTorch, and adv-lib for visdom, which no longer builds; nothing measured here needs them.
    """

    name: str
    needed: tuple[str, ...]
    bare: tuple[str, ...]

    @property
    def python(self) -> Path:
        return WORK / "environments" / self.name / "bin" / "python"


# torchattacks ships a top-level `robustbench`, so it lives apart. The old requests that it pins is
# not asked for: constraints.txt names another, pip could not meet both, and nothing needs it here.
ENVIRONMENTS = (
    Environment(
        "torchattacks",
        (*TORCH, "requests"),
        ("torchattacks==3.5.1", "onnx2torch==1.5.15"),
    ),
    Environment(
        "others",
        (
            *TORCH,
            "requests",
            "packaging",
            "scikit-learn",
            "six",
            "eagerpy>=0.30",
            "GitPython>=3.0.7",
        ),
        (
            "foolbox==3.3.4",
            "adversarial-robustness-toolbox==1.20.1",
            "adv-lib==0.2.8",
            "onnx2torch==1.5.15",
        ),
    ),
)


def built(environment: Environment) -> Path:
    """The environment's interpreter; builds it where it is absent or was asked for otherwise."""
    folder = environment.python.parents[1]
    said, wanted = folder / "built", "\n".join((*environment.needed, *environment.bare))
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another run may be building it
        if not said.exists() or said.read_text() != wanted:
            print(f"building {folder.relative_to(ROOT)}", file=sys.stderr, flush=True)
            venv.create(folder, with_pip=True, clear=True)
            _install(environment, "--constraint", "constraints.txt", *environment.needed)
            _install(environment, "--no-deps", *environment.bare)
            said.write_text(wanted)
    return environment.python


def _install(environment: Environment, *what: str) -> None:
    call = [environment.python, "-m", "pip", "install", "--quiet", "--no-warn-script-location"]
    subprocess.run(
        [*call, "--disable-pip-version-check", *what], check=True, env=_environ(), cwd=ROOT
    )


def _environ() -> dict[str, str]:
    """This process's environment without what would let another environment shine through."""
    return {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
