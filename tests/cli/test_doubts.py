"""What is allowed but hardly meant is said in a warning."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pertcore.cli.app import main
from pertcore.demo import CLASSIFIER, DATA, digits

ATTACK = ["attack", str(CLASSIFIER), "--inputs", f"{DATA}:x", "--limit", "20", "--bounds", "0,1"]


@pytest.mark.parametrize(
    ("norm", "eps", "told"),
    [("inf", "8", True), ("inf", "1", False), ("2", "8", False), ("2", "8.1", True)],
)
def test_a_budget_wider_than_the_box(
    norm: str, eps: str, told: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main([*ATTACK, "--norm", norm, "--eps", eps, "--attack", "random"]) == 0
    assert (f"--eps {eps} is more than --bounds 0,1 is wide" in capfd.readouterr().err) == told


@pytest.mark.parametrize(
    ("bounds", "told"), [("0,255", True), ("0,1", False), ("0,40", False), ("-60,60", True)]
)
def test_inputs_that_fill_little_of_the_box(
    bounds: str, told: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main([*ATTACK[:-1], bounds, "--eps", "0.1", "--attack", "random"]) == 0
    said = capfd.readouterr().err
    assert (f"the inputs hold 0 to 1, a small part of --bounds {bounds}" in said) == told


@pytest.mark.parametrize("shift", [0, 1])
def test_labels_that_do_not_fit_the_model(
    shift: int, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "y.npy", (digits()[1] + shift) % 10)
    flags = ["--labels", str(tmp_path / "y.npy"), "--eps", "0.01", "--attack", "random"]
    assert main([*ATTACK, *flags]) == 0
    told = "20 of 20 samples are misclassified before the attack" in capfd.readouterr().err
    assert told == bool(shift)
    assert main([*ATTACK, *flags, "--target", "3"]) == 0
    assert "misclassified before" not in capfd.readouterr().err


@pytest.mark.parametrize("flag", ["--threshold", "--decision"])
def test_a_flag_without_effect(flag: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main([*ATTACK, "--eps", "0.1", flag, "0.5"]) == 0
    assert f"{flag} is for" in capfd.readouterr().err
