"""A wrong call is one clear error before any model run."""

from __future__ import annotations

import numpy as np
import pytest

import pertcore as pc
from pertcore.errors import CapabilityError, InputError
from tests.attacks.models import network, samples

X = samples()
Y = np.zeros(len(X), dtype=np.int64)
NAN = X.copy()
NAN[2, 3] = np.nan

WRONG = {
    "unknown attack": ({"attack": "pgdd"}, "'pgdd'.*alg1"),
    "unknown option": ({"attack": "fgsm", "steps": 3}, "no such option"),
    "label too large": ({"y": Y + 5}, "label 5.*0 to 4"),
    "label negative": ({"y": Y - 1}, "label -1"),
    "too few labels": ({"y": Y[:-1]}, "one entry for each of 24"),
    "one-hot labels": ({"y": np.eye(5, dtype=np.int64)[Y]}, "argmax"),
    "x outside bounds": ({"bounds": (0, 0.5)}, "outside bounds, .*allowed there are 0.0 to 0.5"),
    "bounds reversed": ({"bounds": (1, 0)}, "lower bound"),
    "NaN in x": ({"x": NAN}, r"x\[2, 3\] is nan"),
    "eps negative": ({"eps": -0.1}, "-0.1.*>= 0"),
    "eps missing": ({"eps": None}, "needs a budget"),
    "eps text": ({"eps": "8/0"}, "8/0"),
    "eps wrong length": ({"eps": np.ones(3)}, "array of 24"),
    "norm below 1": ({"norm": 0.5}, "norm=0.5"),
    "norm text": ({"norm": "lots"}, "lots"),
    "wrong shape": ({"x": X[:, :5]}, r"takes \(n, 12\)"),
    "integers": ({"x": (X * 255).astype(np.uint8)}, "divide integers"),
    "strings": ({"x": np.array([["a"] * 12])}, "expected numbers"),
    "no samples": ({"x": X[:0]}, "no samples"),
    "targeted without y": ({"targeted": True}, "wanted classes"),
    "targeted without aim": ({"attack": "quadratic", "y": Y, "targeted": True}, "no target"),
    "mask of numbers": ({"mask": np.ones(12)}, "expected bool"),
    "mask of wrong shape": ({"mask": np.ones(5, dtype=bool)}, "broadcast"),
    "steps zero": ({"steps": 0}, "steps=0"),
    "restarts zero": ({"restarts": 0}, "restarts=0"),
    "batch size zero": ({"batch_size": 0}, "batch_size=0"),
    "unknown loss": ({"loss": "hinge"}, "hinge"),
    "loss of another task": ({"task": "regression", "loss": "margin"}, "squared_error"),
    "unknown task": ({"task": "ranking"}, "ranking"),
    "partition of wrong shape": ({"attack": "pixel", "partition": np.zeros(3, int)}, "shape"),
    "more pixels than there are": ({"attack": "pixel", "steps": 13}, "12 subsets"),
    "steps in half": ({"steps": 2.5}, "steps=2.5"),
    "batch size in half": ({"batch_size": 2.5}, "batch_size=2.5"),
    "step size text": ({"attack": "pgd", "step_size": "2/0"}, "2/0"),
    "rel step size negative": ({"attack": "pgd", "rel_step_size": -1}, "rel_step_size=-1"),
    "restarts of random": ({"attack": "random", "restarts": 0}, "restarts=0"),
    "rng None": ({"rng": None}, "rng=None"),
    "rng in half": ({"rng": 1.7}, "rng=1.7"),
    "decision text": ({"decision": "a"}, "decision='a'"),
    "threshold text": ({"threshold": "x"}, "threshold='x'"),
    "attack None": ({"attack": None}, "attack=None"),
    "eps ragged": ({"eps": [0.1, [0.2]]}, "ragged"),
    "bounds text": ({"bounds": "01"}, "bounds='01'"),
    "float labels": ({"y": Y.astype(float)}, "integer classes"),
    "float goal": ({"goal": "up"}, "goal='up'"),
    "norm None": ({"norm": None}, "norm=None"),
    "overshoot negative": ({"attack": "deepfool", "overshoot": -0.1}, "overshoot=-0.1"),
    "tolerance negative": ({"attack": "minnorm", "tolerance": -1.0}, "tolerance=-1"),
    "refine negative": ({"attack": "deepfool", "refine": -1}, "refine=-1"),
    "partition for a ball": ({"partition": np.zeros(12, int)}, "takes none"),
    "dither negative": ({"dither": -1.0}, "dither=-1"),
}


@pytest.mark.parametrize("case", WRONG)
def test_one_clear_error_before_any_run(case):
    settings, message = WRONG[case]
    model = network()
    settings = {"x": X, "eps": 0.1, **settings}
    with pytest.raises(InputError, match=message):
        pc.attack(model, **settings)
    assert model.calls.f == 0


def test_an_oracle_is_not_a_path():
    with pytest.raises(InputError, match="from_onnx"):
        pc.attack("model.onnx", X, eps=0.1)


def test_a_partition_may_skip_numbers_at_no_cost():
    sparse = np.arange(12) * 100_000_000
    result = pc.attack(network(), X, attack="pixel", eps=0.3, partition=sparse, steps=12)
    assert np.all(np.count_nonzero(result.delta, axis=1) <= 12)


def test_bfloat16_is_one_clear_error():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    with pytest.raises(InputError, match="bfloat16"):
        pc.attack(network(), torch.tensor(X).to(torch.bfloat16), eps=0.1)


def test_a_model_without_derivative_is_refused_with_the_cure():
    class Blind:
        input_shape, output_shape, dtype = (12,), (5,), np.dtype(np.float32)
        capabilities, calls = frozenset(), pc.Calls()

    with pytest.raises(CapabilityError, match="from_function"):
        pc.attack(Blind(), X, eps=0.1)


def test_a_model_that_ignores_its_input_is_refused():
    model = pc.from_matrix(np.zeros((3, 12)), np.array([1.0, 2.0, 3.0]), dtype=np.float32)
    for x in (X, X[:1]):
        with pytest.raises(InputError, match="ignores its input"):
            pc.attack(model, x, eps=0.1)


def test_what_may_mislead_is_warned_of():
    soft = pc.from_function(
        lambda x: np.stack([x[:, 0], 1 - x[:, 0]], axis=1), input_shape=(3,), output_shape=(2,),
        vjp=lambda x, v: np.pad((v[:, 0] - v[:, 1])[:, None], ((0, 0), (0, 2))), jvp=lambda x, u: u,
        dtype=np.float64,
    )  # fmt: skip
    x = np.random.default_rng(0).random((5, 3))
    with pytest.warns(pc.errors.PertcoreWarning, match="softmax"):
        result = pc.attack(soft, x, eps=0.1)
    assert any("softmax" in text for text in result.warnings)
