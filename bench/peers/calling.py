"""The near side: one process a library, asked by lines of JSON; started at its first request."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.peers.environments import ENVIRONMENTS, ROOT, WORK, built

TORCHATTACKS, OTHERS = ENVIRONMENTS
ONNX, TORCH = "pertcore (ONNX)", "pertcore (torch)"
# library -> environment, None for the one this runs in; module under runners; its arguments
RUNNERS: dict[str, tuple[Any, str, tuple[str, ...]]] = {
    ONNX: (None, "pertcore_runner", ()),
    TORCH: (None, "pertcore_runner", ("--torch",)),
    "Foolbox": (OTHERS, "foolbox_runner", ()),
    "ART": (OTHERS, "art_runner", ()),
    "torchattacks": (TORCHATTACKS, "torchattacks_runner", ()),
    "adv-lib": (OTHERS, "advlib_runner", ()),
}
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")


@dataclass
class Libraries:
    """Running libraries by name, each on `threads` threads; use it in a `with`."""

    threads: int
    running: dict[str, subprocess.Popen[str]] = field(default_factory=dict)

    def __enter__(self) -> Libraries:
        return self

    def __exit__(self, *_error: object) -> None:
        for process in self.running.values():
            process.terminate()

    def ask(self, library: str, request: dict[str, Any]) -> dict[str, Any]:
        """The library's answer; RuntimeError with the place of its log where it died."""
        process = self.running.get(library) or self._started(library)
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(json.dumps({"threads": self.threads, **request}) + "\n")
        process.stdin.flush()
        answer = process.stdout.readline()
        if not answer:
            del self.running[library]
            raise RuntimeError(f"{library} ended on {request['attack']}: see {_log(library)}")
        return json.loads(answer)

    def _started(self, library: str) -> subprocess.Popen[str]:
        environment, module, arguments = RUNNERS[library]
        python = sys.executable if environment is None else str(built(environment))
        _log(library).parent.mkdir(parents=True, exist_ok=True)
        with _log(library).open("w") as said:
            self.running[library] = subprocess.Popen(
                [python, "-W", "ignore", "-m", f"bench.peers.runners.{module}", *arguments],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said, text=True, cwd=ROOT,
                env=os.environ | dict.fromkeys(THREADS, str(self.threads)),
            )  # fmt: skip
        return self.running[library]


def _log(library: str) -> Path:
    _, module, arguments = RUNNERS[library]
    return WORK / "logs" / ("".join((module, *arguments)) + ".txt")
