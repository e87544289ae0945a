"""Broken models, read in processes with limits: a refusal or a right answer, nothing else."""

import json
import os
import select
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.adapters.onnx.mutations import mutated

FULL = bool(os.environ.get("PERTCORE_FULL"))
COUNT, SEED, SECONDS = (5000, 1, 10) if FULL else (60, 0, 10)
PASSES = {"right", "not finite", "ModelError", "InputError", "CapabilityError"}


class Worker:
    """A process that judges models; it is started again after a crash or a hang."""

    def __init__(self):
        self.process = None

    def start(self):
        root = Path(__file__).parents[3]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.adapters.onnx.fuzz_worker"],
            cwd=root,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        self.answer(0, 60)

    def answer(self, number, seconds):
        self.process.stdin.write(json.dumps([number, SEED]) + "\n")
        self.process.stdin.flush()
        ready, _, _ = select.select([self.process.stdout], [], [], seconds)
        line = self.process.stdout.readline() if ready else ""
        if line:
            return json.loads(line)[1]
        found = "hangs" if not ready else f"crashes ({self.process.wait()})"
        self.stop()
        return found

    def judge(self, number):
        if self.process is None:
            self.start()
        return self.answer(number, SECONDS)

    def stop(self):
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            self.process = None


@pytest.fixture(scope="module")
def verdicts():
    worker = Worker()
    try:
        return {number: worker.judge(number) for number in range(COUNT)}
    finally:
        worker.stop()


def test_broken_models_are_refused_or_answered(verdicts):
    wrong = {number: said for number, said in verdicts.items() if said not in PASSES}
    listed = "\n".join(f"{number}: {said}" for number, said in wrong.items())
    assert not wrong, f"{len(wrong)} of {COUNT}\n{listed}"


def test_the_sample_reaches_both_ends(verdicts):
    """A fuzzer whose models are all refused, or all taken, tests nothing."""
    counts = Counter(verdicts.values())
    assert counts["right"] >= COUNT // 10
    assert counts["ModelError"] >= COUNT // 10


def test_a_number_is_always_the_same_model():
    assert mutated(17, SEED) == mutated(17, SEED)
