"""`pertcore falsify` as users have it: what is printed, exit codes, and no search that outlives
its time."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pertcore.cli.app import main
from tests.falsification.checker import check
from tests.falsification.nets import endless, linear, mlp, spec, written

COMMAND = [sys.executable, "-m", "pertcore.cli.app", "falsify"]
UNIT = [("0", "1")]


@pytest.fixture
def pair(tmp_path):
    net = linear(tmp_path / "m.onnx", [[1.0, -1.0]])
    return [str(net), str(written(tmp_path / "p.vnnlib", spec(UNIT * 2, 1, "(>= Y_0 0.5)")))]


def test_a_counterexample_is_printed_and_nothing_else(pair, capfd):
    assert main(["falsify", *pair]) == 0
    shown = capfd.readouterr()
    check(*pair, shown.out)
    (line,) = shown.err.splitlines()
    assert line.startswith("margin 0.") and "replayed" in line


def test_the_answer_goes_into_a_file(pair, tmp_path, capfd):
    out = tmp_path / "answer.txt"
    assert main(["falsify", *pair, "--out", str(out)]) == 0
    assert capfd.readouterr().out == "sat\n"
    check(*pair, out.read_text())


def test_a_search_that_fails_claims_nothing(pair, tmp_path, capfd):
    written(Path(pair[1]), spec(UNIT * 2, 1, "(>= Y_0 1.5)"))
    assert main(["falsify", *pair, "--rounds", "2"]) == 0
    shown = capfd.readouterr()
    assert shown.out == "unknown\n" and "2 rounds" in shown.err and "proves nothing" in shown.err
    assert main(["falsify", *pair, "--timeout", "1"]) == 0
    assert capfd.readouterr().out == "timeout\n"


def test_notes_are_warnings(tmp_path, capfd):
    net = linear(tmp_path / "m.onnx", [[1.0]])
    file = written(tmp_path / "p.vnnlib", spec([("0.1", "0.1")], 1, "(<= Y_0 1)"))
    assert main(["falsify", str(net), str(file)]) == 0
    assert "warning: 1 of 1 inputs are bounded so closely" in capfd.readouterr().err


def test_the_same_seed_prints_the_same(tmp_path, capfd):
    net = mlp(tmp_path / "m.onnx", (5, 20, 2))
    file = written(tmp_path / "p.vnnlib", spec(UNIT * 5, 2, "(>= Y_0 (+ Y_1 0.1))"))
    answers = []
    for seed in ("3", "3", "4"):
        assert main(["falsify", str(net), str(file), "--seed", seed, "--deterministic"]) == 0
        answers.append(capfd.readouterr().out)
    assert answers[0] == answers[1] != answers[2]


def broken_spec(tmp_path, pair):
    return [pair[0], str(written(tmp_path / "b.vnnlib", "(assert\n(<= X_0 1))"))]


# what is searched -> exit code, what is said
ERRORS = {
    "a broken property": (broken_spec, 2, "b.vnnlib, line 2: X_0 is used before"),
    "a broken model": (lambda _, pair: [pair[1], pair[1]], 2, "not an ONNX model"),
    "no model": (lambda _, pair: ["no.onnx", pair[1]], 2, "no.onnx: no such file"),
    "another model": (
        lambda tmp, pair: [str(linear(tmp / "o.onnx", [1.0])), pair[1]], 2, "o.onnx has 1 input",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ERRORS)
def test_an_error_is_a_verdict_and_a_line(name, pair, tmp_path, capfd):
    arguments, code, said = ERRORS[name]
    assert main(["falsify", *arguments(tmp_path, pair)]) == code
    shown = capfd.readouterr()
    assert shown.out == "error\n"
    (line,) = shown.err.splitlines()
    assert line.startswith("pertcore: ") and said in line


# flags -> what is said before anything is searched
MISUSE = {
    ("m.onnx",): "expected MODEL.onnx and SPEC.vnnlib",
    ("m", "p", "--timeout", "0"): "--timeout 0.0: expected seconds",
    ("m", "p", "--timeout", "nan"): "--timeout nan",
    ("m", "p", "--rounds", "0"): "--rounds 0",
    ("m", "p", "--threads", "0"): "--threads 0",
    ("m", "p", "--seed", "-1"): "--seed -1",
    ("m", "p", "--resume"): "--resume: for runs of --csv alone",
    ("m", "p", "--jobs", "2"): "--jobs: for runs of --csv alone",
    ("m", "p", "--out", ""): "--out is empty",
    ("m", "p", "--out", "/"): "--out /: cannot write there",
    ("m", "p", "--csv", "x.csv"): "--csv names the models",
    ("--csv", "x.csv"): "--csv x.csv: cannot be read",
    ("--csv", "x.csv", "--jobs", "0"): "--jobs 0",
    ("--csv", "x.csv", "--resume"): "--resume: give the folder",
}


@pytest.mark.parametrize("flags", MISUSE, ids=" ".join)
def test_wrong_use_is_one_line(flags, capfd):
    assert main(["falsify", *flags]) == 2
    shown = capfd.readouterr()
    assert shown.out == "" and len(shown.err.splitlines()) == 1
    assert MISUSE[flags] in shown.err


def test_inputs_are_not_overwritten(pair, capfd):
    before = Path(pair[0]).read_bytes()
    assert main(["falsify", *pair, "--out", pair[0]]) == 2
    assert "would overwrite an input" in capfd.readouterr().err
    assert Path(pair[0]).read_bytes() == before


def test_a_model_that_never_ends_is_ended(tmp_path, capfd):
    net = endless(tmp_path / "m.onnx")
    file = written(tmp_path / "p.vnnlib", spec(UNIT * 2, 2, "(<= Y_0 -1)"))
    began = time.perf_counter()
    assert main(["falsify", str(net), str(file), "--timeout", "2"]) == 0
    assert capfd.readouterr().out == "timeout\n"
    assert 1.9 < time.perf_counter() - began < 4


def children(process):
    listed = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return [int(number) for number in listed]


def alive(pid):
    """Whether a process is at work, not merely waiting to be buried."""
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs /proc")
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_search_does_not_outlive_its_command(tmp_path, how):
    net = endless(tmp_path / "m.onnx")
    file = written(tmp_path / "p.vnnlib", spec(UNIT * 2, 2, "(<= Y_0 -1)"))
    process = subprocess.Popen(
        [*COMMAND, str(net), str(file)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    while not (found := children(process)):
        time.sleep(0.02)
    time.sleep(1.5)  # the search is inside of the model
    assert alive(found[0])
    os.kill(process.pid, how)
    said = process.communicate(timeout=40)[1]
    if how == signal.SIGINT:
        assert process.returncode == 130 and said == "pertcore: stopped\n"
    until = time.monotonic() + 5
    while alive(found[0]) and time.monotonic() < until:
        time.sleep(0.02)
    assert not alive(found[0])


def test_a_crash_is_named(pair, monkeypatch, capfd):
    """A process that a signal ends: here one that may take no memory."""
    monkeypatch.setenv("PYTHONSTARTUP", "")
    monkeypatch.setattr("pertcore.cli.supervised.sys.executable", "/bin/false")
    assert main(["falsify", *pair]) == 1
    shown = capfd.readouterr()
    assert shown.out == "error\n" and "ended with code 1 without an answer" in shown.err
    script = Path(pair[0]).with_name("dies.sh")
    script.write_text("#!/bin/sh\nkill -SEGV $$\n")
    script.chmod(0o755)
    monkeypatch.setattr("pertcore.cli.supervised.sys.executable", str(script))
    assert main(["falsify", *pair]) == 1
    assert "ended by signal 11 (SIGSEGV)" in capfd.readouterr().err


# What a search may load: each other library would cost more than the search of a small network.
LIGHT = {
    "numpy", "onnx", "onnxruntime", "pertcore", "google", "ml_dtypes", "typing_extensions",
    "cython_runtime",
}  # fmt: skip
PROCESSOR = """
import json, sys, time
t = time.process_time()
import numpy, onnx, onnxruntime
bare = time.process_time() - t
from pertcore.cli.falsify_worker import answer
import pertcore.falsification.run
t = time.process_time()
found = answer(dict(model=sys.argv[1], spec=sys.argv[2], timeout=60), time.perf_counter())
share = (time.process_time() - t) / bare
"""
LOADED = """
loaded = {name.partition(".")[0] for name in sys.modules} - sys.stdlib_module_names
"""


def said(code, pair):
    done = subprocess.run([sys.executable, "-c", code, *pair], capture_output=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def test_a_small_network_costs_less_than_the_start_of_onnx_runtime(pair):
    """Seconds of the processor from the first look at the file to the answer, in units of what
    loading ONNX Runtime takes; the best of several, as a busy machine adds to them."""
    code = PROCESSOR + "print(json.dumps([found['verdict'], share]))"
    shares = []
    while not shares or (min(shares) > 0.5 and len(shares) < 10):
        verdict, share = said(code, pair)
        assert verdict == "sat"
        shares.append(share)
    assert min(shares) <= 0.5, shares


def test_a_search_loads_no_library_that_it_can_do_without(pair):
    """Nor does the command beside it, which waits for the answer, load what the search needs."""
    show = LOADED + "print(json.dumps(sorted(n for n in loaded if not n.startswith('_'))))"
    assert set(said(PROCESSOR + show, pair)) <= LIGHT
    command = (
        "import json, sys\nfrom pertcore.cli.app import main\nmain(['falsify', *sys.argv[1:]])"
    )
    waiting = set(said(command + show, pair))
    assert "pertcore" in waiting and not waiting & {
        "numpy",
        "onnx",
        "onnxruntime",
        "numba",
        "scipy",
    }
