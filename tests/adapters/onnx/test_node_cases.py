"""The node tests that come with ONNX: passed or refused by name, never a wrong derivative."""

import os
import re
import sys
from collections import Counter

import numpy as np
import pytest

from pertcore.adapters.onnx import registry
from tests.adapters.onnx.node_cases import Case, cases, check, network_cases

FULL = bool(os.environ.get("PERTCORE_FULL"))
# What moves, its type, how many cases pass at least (a rule that is lost shows here), and how many
# of them a short run draws.
VARIANTS = {
    "the first float32 input": ("one", np.float32, 1129, 300),
    "all float32 inputs": ("all", np.float32, 575, 120),
    "the first float64 input": ("one", np.float64, 41, 20),
}
# name -> why it does not count as passed, though its derivative is judged as any other's: against
# ONNX Runtime's own value where that is not the test's, nearby where the point itself has none
EXCEPTIONS = {
    "test_acosh_example": "at x = 1 the derivative is infinite",
    "test_maxunpool_export_with_output_shape": "ONNX Runtime reads the indices in another shape",
    "test_resize_downsample_scales_linear_align_corners": "ONNX Runtime rounds scales otherwise",
    "test_resize_downsample_scales_cubic_align_corners": "ONNX Runtime rounds scales otherwise",
    "test_training_dropout": "ONNX Runtime draws other random numbers",
    "test_training_dropout_mask": "ONNX Runtime draws other random numbers",
    "test_training_dropout_default": "ONNX Runtime draws other random numbers",
    "test_training_dropout_default_mask": "ONNX Runtime draws other random numbers",
}
# What ONNX Runtime's CPU cannot run: it has no kernel for an operator, or for a type of it.
OPTIMIZERS = ("Adagrad", "Adam", "Momentum")
NOT_RUN = (
    "test_dequantizelinear_float4e2m1",
    "test_mod_float32_mixed_sign_fmod_0",
    "test_mod_float_edge_cases_fmod_0_float32",
    "test_mod_float64_mixed_sign_fmod_0",
    "test_mod_float_edge_cases_fmod_0_float64",
    "test_pow_types_float32_uint32",
    "test_pow_types_float32_uint64",
)
# The values that their data lead to are no numbers.
NAN = ("test_operator_pow", "test_operator_sqrt")
PASSED_NETWORKS = 115
NOT_DIFFERENTIABLE = ("identically zero", "does not depend")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("variant", VARIANTS)
def test_no_node_case_has_a_wrong_derivative(variant, capsys):
    moving, dtype, least, size = VARIANTS[variant]
    tally, others, wrong = Counter(), Counter(), []
    for case in chosen(cases(moving, dtype), size):
        outcome = check(case)
        kind = kind_of(case, outcome)
        tally[kind] += 1
        if kind in ("refused", "not run"):
            others[f"{kind}: {brief(outcome.reason)}"] += 1
        if kind in ("failed", "refused", "broken", "unrunnable", "apart"):
            wrong.append(f"{case.name}: {kind} {outcome.reason}")
    with capsys.disabled():
        sys.stdout.write(report(tally, others, variant))
    assert wrong == []
    assert tally["passed"] >= (least if FULL else size // 2)


def chosen(found, size):
    if FULL:
        return found
    picked = np.random.default_rng(2026).choice(len(found), size, replace=False)
    return [found[i] for i in sorted(picked)]


def kind_of(case, outcome):
    if outcome.kind == "refused" and any(word in outcome.reason for word in NOT_DIFFERENTIABLE):
        return "zero"
    if outcome.kind == "refused" and any(f"::{name} " in outcome.reason for name in OPTIMIZERS):
        return "not run"
    if outcome.kind == "unrunnable" and case.name in NOT_RUN:
        return "not run"
    return "excepted" if outcome.kind == "apart" and case.name in EXCEPTIONS else outcome.kind


def brief(reason):
    """The operator that was refused, or the beginning of another reason."""
    found = re.search(
        r"no derivative rule for (?!its)([\w.:]+)|^(\w+) .*no derivative rule", reason
    )
    return next(filter(None, found.groups())) if found else reason[:70]


def report(tally, others, variant):
    counts = ", ".join(f"{count} {kind}" for kind, count in tally.most_common())
    lines = [f"  {count:4d} {reason}" for reason, count in others.most_common()]
    return "\n".join(["", f"ONNX node tests, {variant}: {counts}", *lines, ""])


@pytest.mark.filterwarnings("ignore")
def test_no_network_case_has_a_wrong_derivative(capsys):
    tally, wrong = Counter(), []
    for case in network_cases() if FULL else network_cases()[::5]:
        outcome = check(case)
        kind = kind_of(case, outcome)
        if kind == "refused" and "training::Gradient" in outcome.reason:
            kind = "not run"
        if kind == "failed" and case.name in NAN:
            kind = "no numbers"
        tally[kind] += 1
        if kind not in ("passed", "zero", "not run", "no numbers"):
            wrong.append(f"{case.name}: {kind} {outcome.reason}")
    with capsys.disabled():
        counts = ", ".join(f"{count} {kind}" for kind, count in tally.most_common())
        sys.stdout.write(f"\nONNX model tests, the first float32 input: {counts}\n")
    assert wrong == []
    assert tally["passed"] >= (PASSED_NETWORKS if FULL else 20)


def test_exceptions_are_cases():
    names = {case.name for case in (*cases(), *cases(dtype=np.float64))}
    assert sorted({*EXCEPTIONS, *NOT_RUN} - names) == []
    assert len(EXCEPTIONS) <= 8


def test_a_wrong_rule_is_seen(monkeypatch):
    tanh = next(case for case in cases() if case.name == "test_tanh")
    assert check(tanh).kind == "passed"
    wrong = registry.Rule("Tanh", vjp=lambda op, n, g: [g * n.y], jvp=lambda op, n, t: t * n.y)
    monkeypatch.setitem(registry.RULES, ("", "Tanh"), wrong)
    outcome = check(tanh)
    assert outcome.kind == "failed" and "quotient" in outcome.reason
    lopsided = registry.Rule(
        "Tanh", vjp=lambda op, n, g: [g * n.y], jvp=lambda op, n, t: t * (1.0 - n.y * n.y)
    )
    monkeypatch.setitem(registry.RULES, ("", "Tanh"), lopsided)
    assert "adjoint" in check(tanh).reason
    assert isinstance(tanh, Case)
