"""`pertcore falsify --csv`: every instance of a list, kept as it is done, taken up again."""

import csv
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pertcore.cli.app import main
from pertcore.cli.instances import instances
from pertcore.errors import InputError
from tests.falsification.checker import check
from tests.falsification.nets import endless, linear, spec, written

UNIT = [("0", "1")] * 2


@pytest.fixture
def room(tmp_path):
    """A folder as competitions have it: onnx/, vnnlib/ and instances.csv."""
    for name in ("onnx", "vnnlib"):
        (tmp_path / name).mkdir()
    linear(tmp_path / "onnx/m.onnx", [[1.0, -1.0]])
    written(tmp_path / "vnnlib/yes.vnnlib", spec(UNIT, 1, "(>= Y_0 0.5)"))
    written(tmp_path / "vnnlib/no.vnnlib", spec(UNIT, 1, "(>= Y_0 1.5)"))
    written(tmp_path / "vnnlib/bad.vnnlib", "(assert")
    return tmp_path


def listed(room, *rows):
    file = written(room / "instances.csv", "".join(f"{row}\n" for row in rows))
    return ["falsify", "--csv", str(file), "--rounds", "2"]


def results(out):
    with (out / "results.csv").open() as file:
        return list(csv.DictReader(file))


MIXED = [
    "onnx/m.onnx,vnnlib/yes.vnnlib,20",
    "onnx/m.onnx,vnnlib/no.vnnlib,20",
    "onnx/m.onnx,vnnlib/bad.vnnlib,20",
    "onnx/none.onnx,vnnlib/yes.vnnlib,20",
]


def test_a_list_is_worked_off(room, capfd):
    out = room / "out"
    assert main([*listed(room, *MIXED), "--out", str(out)]) == 1  # of errors
    shown = capfd.readouterr().out
    assert "4/4" in shown and "4 of 4 instances" in shown
    rows = results(out)
    assert [row["verdict"] for row in rows] == ["sat", "unknown", "error", "error"]
    assert [row["model"] for row in rows] == [line.split(",")[0] for line in MIXED]
    assert float(rows[0]["margin"]) > 0 and "line 1" in rows[2]["said"]
    check(
        room / "onnx/m.onnx", room / "vnnlib/yes.vnnlib", (out / "witnesses/000000.txt").read_text()
    )
    assert [p.name for p in (out / "witnesses").iterdir()] == ["000000.txt"]
    facts = json.loads((out / "run.json").read_text())
    assert facts["complete"] and facts["verdicts"] == {"sat": 1, "unknown": 1, "error": 2}
    assert not (out / "parts").exists()


def test_all_well_is_zero_with_one_process_or_several(room, capfd):
    for jobs in ("1", "3"):
        assert main([*listed(room, MIXED[0], MIXED[1]), "--jobs", jobs]) == 0
        shown = capfd.readouterr().out
        assert "sat" in shown and "unknown" in shown


def test_each_has_its_own_time(room, capfd):
    endless(room / "onnx/endless.onnx")
    written(room / "vnnlib/two.vnnlib", spec(UNIT, 2, "(<= Y_0 -1)"))
    slow = "onnx/endless.onnx,vnnlib/two.vnnlib,1.5"
    began = time.perf_counter()
    assert main([*listed(room, slow, MIXED[0]), "--jobs", "2"]) == 0
    assert time.perf_counter() - began < 5
    assert "timeout 1.5" in capfd.readouterr().out
    assert main([*listed(room, slow.replace("1.5", "500")), "--timeout", "1"]) == 0


def searching(process):
    """Whether a search of that command is at work."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    lines = [Path(f"/proc/{child}/cmdline") for child in children]
    return any(b"falsify_worker" in line.read_bytes() for line in lines if line.exists())


def test_a_killed_run_goes_on(room, capfd):
    """Of two, the first is done and the second under way when the command is killed."""
    endless(room / "onnx/endless.onnx")
    written(room / "vnnlib/two.vnnlib", spec(UNIT, 2, "(<= Y_0 -1)"))
    out = room / "out"
    arguments = [*listed(room, MIXED[0], "onnx/endless.onnx,vnnlib/two.vnnlib,60"), "--jobs", "1"]
    arguments += ["--out", str(out)]
    for how in (signal.SIGKILL, signal.SIGINT):
        flags = ["--resume"] if how == signal.SIGINT else []
        process = subprocess.Popen(
            [sys.executable, "-m", "pertcore.cli.app", *arguments, *flags],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        deadline = time.monotonic() + 60
        part = out / "parts/000000.json"
        while not (part.exists() and searching(process)) and time.monotonic() < deadline:
            time.sleep(0.02)
        before = part.stat().st_mtime_ns
        process.send_signal(how)
        said = process.communicate(timeout=40)[1]
    assert process.returncode == 130 and "stopped: 1 of 2 done" in said
    assert (out / "parts/000000.json").stat().st_mtime_ns == before
    assert [row["verdict"] for row in results(out)] == ["sat"]
    capfd.readouterr()
    assert main(arguments) == 2
    assert "holds an unfinished run" in capfd.readouterr().err
    assert main([*arguments, "--resume", "--seed", "5"]) == 2
    assert "another run: options" in capfd.readouterr().err


def test_what_is_left_is_done_on_resuming(room, capfd):
    out = room / "out"
    arguments = [*listed(room, MIXED[0], MIXED[1]), "--out", str(out), "--jobs", "1"]
    whole = room / "whole"
    assert main([*arguments[:-4], "--out", str(whole), "--jobs", "1"]) == 0
    assert main(arguments) == 0
    facts = json.loads((out / "run.json").read_text())
    (out / "run.json").write_text(json.dumps(facts | {"complete": False, "status": "running"}))
    (out / "parts").mkdir()
    kept = {"verdict": "sat", "seconds": 1.25, "margin": 0.5, "notes": ["n"], "text": "sat\n"}
    (out / "parts/000000.json").write_text(json.dumps(kept))
    assert main([*arguments, "--resume"]) == 0
    assert "2/2 unknown" in capfd.readouterr().out
    rows = results(out)
    assert [row["verdict"] for row in rows] == ["sat", "unknown"]
    assert rows[0]["seconds"] == "1.25"  # not searched again
    assert main([*arguments, "--resume"]) == 2  # complete now


def test_lists_as_they_are_found(tmp_path):
    plain = written(tmp_path / "a.csv", "a.onnx,p.vnnlib,30\n\n ./b.onnx , q.vnnlib\n")
    first, second = instances(plain)
    assert (first.model, first.spec, first.timeout) == ("a.onnx", "p.vnnlib", 30)
    assert (second.model, second.timeout) == ("./b.onnx", None)
    named = written(tmp_path / "b.csv", "id,vnnlib,onnx,Timeout\n7,p.vnnlib,a.onnx,1.5\n")
    assert vars(instances(named)[0]) == vars(first) | {"timeout": 1.5}
    assert first.files()["model"] == str(tmp_path / "a.onnx")
    (tmp_path / "a.onnx.gz").touch()
    assert first.files()["model"] == str(tmp_path / "a.onnx.gz")
    (tmp_path / "a.onnx").touch()
    assert first.files()["model"] == str(tmp_path / "a.onnx")


WRONG = {
    "": "lists no instance",
    "onnx,vnnlib,timeout\n": "lists no instance",
    "a.onnx,p.vnnlib,30\na.onnx\n": "line 2: expected model,property,seconds",
    "a.onnx,p.vnnlib,soon\n": "line 1: soon: expected seconds",
    "a.onnx,p.vnnlib,-1\n": "line 1: -1: expected seconds",
    "a.onnx,p.vnnlib,inf\n": "line 1: inf: expected seconds",
}


@pytest.mark.parametrize("text", WRONG)
def test_what_is_no_list(text, tmp_path):
    with pytest.raises(InputError, match=r"i\.csv") as told:
        instances(written(tmp_path / "i.csv", text))
    assert WRONG[text] in str(told.value)
    (tmp_path / "j.csv").write_bytes(b"\xff\xfe,\n")
    with pytest.raises(InputError, match="no list of instances"):
        instances(Path(tmp_path / "j.csv"))
