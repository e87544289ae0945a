"""Messages of the API in the words of the command line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from pertcore.cli.app import main
from pertcore.cli.arguments import OPTIONS
from pertcore.cli.flags import FLAGS, as_flags
from pertcore.demo import AUTOENCODER, CLASSIFIER, DATA

SPOKEN = {
    "several outputs, a, b: pick one by output=": "several outputs, a, b: pick one by --output",
    "choose one with input= and give values for z with freeze={name: array}":
        "choose one with --input and give values for z with --freeze NAME=FILE",
    "has the free dimensions h, w: give it, as in input_shape=(1, 64, 64)":
        "has the free dimensions h, w: give it, as in --input-shape 1,64,64",
    "no y: say task='classification' if so": "no y: say --task classification if so",
    "outputs of shape (3, 8) and no y: regression":
        "outputs of shape (3, 8) and no --labels: regression",
    "partition=None: needs 'pixels' or an integer array":
        "--partition is not given: needs 'pixels' or integers in a .npy",
    "at decision=0 unless you say decision=0.5":
        "at --decision 0 unless you say --decision 0.5",
    "bounds=None: give bounds=(0, 1) or such": "--bounds is not given: give --bounds 0,1 or such",
    "eps=-0.003: a budget is >= 0": "--eps -0.003: a budget is >= 0",
    "steps=5, refine=-1: too few": "--steps 5, --refine -1: too few",
    "no rule; finite_differences=True approximates": "no rule; --finite-differences approximates",
    "overshoot=1.0: attack 'alg1' has no such option; it has dither, rel_step_size":
        "--overshoot 1.0: attack 'alg1' has no such option; it has --dither, --rel-step-size",
    "loss='joy': allowed are dlr, cross_entropy, or a callable loss(f, y) -> (value, cotangent)":
        "--loss joy: allowed are dlr, cross-entropy",
    "use loss='cross_entropy'.": "use --loss cross-entropy.",
    "std=[1.0, 0.0]: every entry must be > 0": "--std 1.0,0.0: every entry must be > 0",
    "y has shape (5,): the model gives (n, 4)": "--labels has shape (5,): the model gives (n, 4)",
    "freeze: 'gain' has shape (3,)": "--freeze: 'gain' has shape (3,)",
    "partition given: attack 'alg1' takes none": "--partition given: attack 'alg1' takes none",
    "model='/a/eps=3.onnx': no such file": "/a/eps=3.onnx: no such file",
    "--step-size='big': expected a number": "--step-size big: expected a number",
}  # fmt: skip
KEPT = (
    "--freeze loss=1: expected NAME=FILE.npy or NAME=NUMBER",
    "--inputs eps=0.1.npy: no such file or folder",
    "/data/eps=0.1/m.onnx is not an ONNX model",
    "weights 'w' have alpha=3",
    "the loss returned value (3,)",
)


@pytest.mark.parametrize("said", SPOKEN)
def test_keywords_become_flags(said: str) -> None:
    assert as_flags(said) == SPOKEN[said]
    assert as_flags(SPOKEN[said]) == SPOKEN[said]


@pytest.mark.parametrize("said", KEPT)
def test_the_rest_is_left_alone(said: str) -> None:
    assert as_flags(said) == said


def test_every_flag_exists(capfd: pytest.CaptureFixture[str]) -> None:
    shown = ""
    for command in ("attack", "info", "differentiate", "falsify"):
        main([command, "--help"])
        shown += capfd.readouterr().out
    assert [flag for flag in FLAGS.values() if flag not in shown] == []
    assert set(OPTIONS) <= set(FLAGS)


def a_model(room: Path) -> str:
    """(n, 3, h, w) -> two outputs, each the mean over height and width times a matrix."""
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, "h", "w"])
    outs = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["n", 4]) for n in ("a", "b")]
    weight = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    nodes = [
        helper.make_node("GlobalAveragePool", ["x"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("MatMul", ["f", "m"], ["a"]),
        helper.make_node("Neg", ["a"], ["b"]),
    ]
    graph = helper.make_graph(nodes, "g", [x], outs, [numpy_helper.from_array(weight, "m")])
    opset = helper.make_opsetid("", 18)
    onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=10), room / "m.onnx")
    return str(room / "m.onnx")


def test_what_the_shell_shows(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    model = a_model(tmp_path)
    np.save(tmp_path / "x.npy", np.random.default_rng(1).random((4, 3, 5, 6), dtype=np.float32))
    attack = ["attack", model, "--inputs", str(tmp_path / "x.npy")]
    assert main([*attack, "--eps", "0.1"]) == 2
    assert "a, b: pick one by --output" in capfd.readouterr().err
    assert main([*attack, "--output", "a"]) == 2
    assert "--eps is not given" in capfd.readouterr().err
    assert main([*attack, "--output", "a", "--eps", "0.1"]) == 0
    assert "warning: --bounds is not given" in capfd.readouterr().err
    assert main(["info", model, "--output", "b", "--input-shape", "1,5,5"]) == 2
    assert "--input-shape 1,5,5: one sample" in capfd.readouterr().err


def test_info_suggests_the_channels_of_the_model(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    model = onnx.load(a_model(tmp_path))
    model.graph.output.pop()
    onnx.save(model, tmp_path / "one.onnx")
    assert main(["info", str(tmp_path / "one.onnx")]) == 0
    assert "--input-shape 3,64,64" in " ".join(capfd.readouterr().out.split())


def test_warnings_in_the_page_speak_the_same(tmp_path: Path) -> None:
    data = ["--inputs", f"{DATA}:x", "--limit", "9", "--eps", "0.1", "--out", str(tmp_path)]
    assert main(["attack", str(AUTOENCODER), *data]) == 0
    for name in ("report.html", "run.json"):
        text = (tmp_path / name).read_text()
        assert "say --task classification" in text and "--bounds is not given" in text


def test_wrong_words_of_the_bundled_model(capfd: pytest.CaptureFixture[str]) -> None:
    attack = ["attack", str(CLASSIFIER), "--inputs", f"{DATA}:x", "--eps", "0.1"]
    for flags, told in (
        (["--loss", "joy"], "--loss joy: allowed are"),
        (["--overshoot", "1"], "--overshoot 1.0: attack 'alg1' has no such option"),
        (["--norm", "0.5"], "--norm 0.5: allowed are"),
        (["--task", "guess"], "--task guess: allowed are"),
    ):
        assert main([*attack, *flags]) == 2
        assert told in capfd.readouterr().err
