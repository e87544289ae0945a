"""A model that fails on single samples: each has a row, a reason, and the run goes on."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper, save

from pertcore.cli.app import main
from pertcore.errors import ModelError
from pertcore.evaluation.runs.failing import surviving

parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")

BAD = (3, 17, 20, 21, 22, 23)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """y = x W + table[int(10 x_0)]: a first entry of 1.2 or more is outside the table."""
    folder, rng = tmp_path_factory.mktemp("failing"), np.random.default_rng(0)
    weights = {
        "W": rng.standard_normal((4, 3)).astype(np.float32), "table": np.zeros((12, 3), np.float32),
        "start": np.array([0]), "end": np.array([1]), "axis": np.array([1]), "ten": np.float32(10),
    }  # fmt: skip
    nodes = [
        helper.make_node("MatMul", ["x", "W"], ["a"]),
        helper.make_node("Slice", ["x", "start", "end", "axis"], ["c"]),
        helper.make_node("Mul", ["c", "ten"], ["d"]),
        helper.make_node("Cast", ["d"], ["i"], to=TensorProto.INT64),
        helper.make_node("Squeeze", ["i", "axis"], ["j"]),
        helper.make_node("Gather", ["table", "j"], ["g"]),
        helper.make_node("Add", ["a", "g"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes, "picky", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3])],
        [numpy_helper.from_array(np.asarray(w), name) for name, w in weights.items()],
    )  # fmt: skip
    opset = [helper.make_opsetid("", 17)]
    save(helper.make_model(graph, opset_imports=opset, ir_version=9), folder / "picky.onnx")
    x = rng.random((40, 4)).astype(np.float32)
    x[list(BAD), 0] = 5
    np.save(folder / "x.npy", x)
    return folder / "picky.onnx", folder / "x.npy"


def _attacked(files: tuple[Path, Path], out: Path, batch: int) -> tuple[dict, np.ndarray, dict]:
    model, data = map(str, files)
    code = main(["attack", model, "--inputs", data, "--eps", "0.1", "--deterministic",
                 "--batch-size", str(batch), "--out", str(out)])  # fmt: skip
    assert code == 0
    rows = parquet.read_table(out / "results.parquet").to_pydict()
    return rows, np.load(out / "x_adv.npy"), json.loads((out / "run.json").read_text())


def test_failed_samples_have_rows_and_the_others_are_untouched(files, tmp_path, capfd) -> None:
    whole, points, facts = _attacked(files, tmp_path / "whole", 40)
    assert "failed on 6 samples" in capfd.readouterr().err
    assert whole["index"] == list(range(40))
    assert [k for k, status in enumerate(whole["status"]) if status == "FAILED"] == list(BAD)
    assert np.array_equal(points[list(BAD)], np.load(files[1])[list(BAD)])
    assert set(map(int, facts["failed"])) == set(BAD) and "Gather" in facts["failed"]["3"]
    assert facts["complete"] and facts["summary"]["samples"] == 34
    # the fourth block of five holds failures alone
    split, same, _ = _attacked(files, tmp_path / "split", 4)
    del whole["calls"], split["calls"]
    np.testing.assert_equal(whole, split)
    assert np.array_equal(points, same)
    good = tmp_path / "good.npy"
    np.save(good, np.delete(np.load(files[1]), BAD, axis=0)[:3])
    alone, _, _ = _attacked((files[0], good), tmp_path / "good", 40)
    assert alone["margin"] == whole["margin"][:3]


def test_the_page_leaves_them_out_and_says_so(files, tmp_path) -> None:
    _attacked(files, tmp_path / "run", 16)
    assert main(["report", str(tmp_path / "run")]) == 0
    page = (tmp_path / "run" / "report.html").read_text()
    assert "failed on 6 samples" in page and "34 samples" in page


@pytest.mark.parametrize("command", ["curve", "robustness"])
def test_curves_and_robustness_leave_them_out_too(command, files, tmp_path, capfd) -> None:
    model, data = map(str, files)
    budgets = {"curve": ["--eps", "0.1", "--points", "4"],
               "robustness": ["--attack", "alg1", "--largest", "0.1"]}[command]  # fmt: skip
    good = tmp_path / "good.npy"
    np.save(good, np.delete(np.load(data), BAD, axis=0))
    found = {}
    for name, inputs, batch in (("whole", data, "40"), ("split", data, "4"), ("good", good, "40")):
        out = tmp_path / name
        own = ["--inputs", str(inputs), "--batch-size", batch, "--deterministic", "--out", str(out)]
        assert main([command, model, *budgets, *own]) == 0
        found[name] = parquet.read_table(out / "results.parquet").to_pydict()
        assert ("failed on 6 samples" in capfd.readouterr().err) == (name != "good")
        assert json.loads((out / "run.json").read_text())["summary"]["samples"] == 34
    np.testing.assert_equal(found["whole"], found["split"])
    status = np.array(found["whole"]["status"])
    assert np.flatnonzero(status == "FAILED").tolist() == list(BAD)
    assert np.array_equal(np.load(tmp_path / "whole" / "x_adv.npy")[list(BAD)],
                          np.load(data)[list(BAD)])  # fmt: skip
    # no random numbers here, so that the others are what they are without the six
    kept = np.array(found["whole"]["norm"])[status != "FAILED"]
    np.testing.assert_equal(kept, np.array(found["good"]["norm"]))
    assert "failed on 6 samples" in (tmp_path / "whole" / "report.html").read_text()


def test_a_model_that_fails_on_everything_is_an_error(files, tmp_path, capfd) -> None:
    np.save(tmp_path / "bad.npy", np.full((5, 4), 7, np.float32))
    for command in ("attack", "curve"):
        words = [command, str(files[0]), "--inputs", str(tmp_path / "bad.npy"), "--eps", "0.1"]
        assert main(words) == 2
        assert "the model failed on all 5 samples" in capfd.readouterr().err


def test_halving_calls_little_more_than_it_must() -> None:
    calls = []

    def run(rows: slice) -> int:
        calls.append(rows)
        if rows.start <= 37 < rows.stop:
            raise ModelError("no")
        return rows.stop - rows.start

    made, failed = surviving(slice(0, 64), run)
    assert failed == {37: "no"} and sum(size for _, size in made) == 63
    assert [rows.start for rows, _ in made] == sorted(rows.start for rows, _ in made)
    assert len(calls) == 1 + 2 * 6
