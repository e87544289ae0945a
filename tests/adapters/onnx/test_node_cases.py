"""The node tests that come with ONNX: passed or refused by name, never a wrong derivative."""

import os
import re
import sys
from collections import Counter

import numpy as np
import pytest

from pertcore.adapters.onnx import registry
from tests.adapters.onnx.node_cases import Case, cases, check

FULL = bool(os.environ.get("PERTCORE_FULL"))
SAMPLE = 300
# Cases of the whole collection that pass, at least: a rule that is lost shows here.
PASSED = 1097
# name -> why no derivative of it can be judged
EXCEPTIONS = {
    "test_acosh_example": "at x = 1 the derivative is infinite",
    "test_maxunpool_export_with_output_shape": "ONNX Runtime reads the indices in another shape",
    "test_resize_downsample_scales_linear_align_corners": "ONNX Runtime rounds scales otherwise",
    "test_training_dropout": "random",
    "test_training_dropout_mask": "random",
    "test_training_dropout_default": "random",
    "test_training_dropout_default_mask": "random",
    "test_resize_downsample_scales_cubic_align_corners": "ONNX Runtime rounds scales otherwise",
}
NOT_DIFFERENTIABLE = ("identically zero", "does not depend")


def chosen():
    found = cases()
    if FULL:
        return found
    picked = np.random.default_rng(2026).choice(len(found), SAMPLE, replace=False)
    return [found[i] for i in sorted(picked)]


@pytest.mark.filterwarnings("ignore")
def test_no_node_case_has_a_wrong_derivative(capsys):
    tally, refused, wrong = Counter(), Counter(), []
    for case in chosen():
        outcome = check(case)
        kind = outcome.kind
        if kind == "refused" and any(word in outcome.reason for word in NOT_DIFFERENTIABLE):
            kind = "zero"
        if case.name in EXCEPTIONS:
            kind = "excepted"
        tally[kind] += 1
        if kind in ("refused", "broken", "unrunnable"):
            refused[f"{kind}: {brief(outcome.reason)}"] += 1
        if kind == "failed":
            wrong.append(f"{case.name}: {outcome.reason}")
    with capsys.disabled():
        sys.stdout.write(report(tally, refused))
    assert wrong == []
    assert tally["passed"] >= (PASSED if FULL else SAMPLE // 2)


def brief(reason):
    """The operator that was refused, or the beginning of another reason."""
    found = re.search(
        r"no derivative rule for (?!its)([\w.:]+)|^(\w+) .*no derivative rule", reason
    )
    return next(filter(None, found.groups())) if found else reason[:70]


def report(tally, refused):
    counts = ", ".join(f"{count} {kind}" for kind, count in tally.most_common())
    lines = [f"  {count:4d} {reason}" for reason, count in refused.most_common()]
    return "\n".join(["", f"ONNX node tests: {counts}", *lines, ""])


def test_exceptions_are_cases():
    assert sorted(set(EXCEPTIONS) - {case.name for case in cases()}) == []


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
