"""Cases of a property against all combinations of its alternatives."""

import itertools
import time

import numpy as np
import pytest

from pertcore.errors import InputError
from pertcore.falsification.cases import MOST_LISTED, Cases
from pertcore.falsification.vnnlib import Node, parse
from tests.falsification.nets import spec

F32 = np.dtype(np.float32)


def random_tree(rng, depth):
    if not depth or rng.integers(3) == 0:
        return f"(<= Y_{rng.integers(4)} {rng.integers(9)})"
    inner = [random_tree(rng, depth - 1) for _ in range(rng.integers(1, 4))]
    return f"({rng.choice(['and', 'or'])} {' '.join(inner)})"


def holds(part, true):
    """The tree where exactly the atoms `true` hold."""
    if isinstance(part, Node):
        return (all if part.together else any)(holds(inner, true) for inner in part.parts)
    return part in true


@pytest.mark.parametrize("seed", range(30))
def test_a_property_holds_where_all_of_one_case_does(seed):
    rng = np.random.default_rng(seed)
    prop = parse(spec([("0", "1")], 4, *(random_tree(rng, 3) for _ in range(2))))
    cases = Cases(prop, F32)
    listed = list(cases.listed())
    assert len(listed) == cases.count
    outputs = [i for i, atom in enumerate(prop.atoms) if atom.variable < 0]
    inputs = {i for i, atom in enumerate(prop.atoms) if atom.variable >= 0}
    for _ in range(200):
        true = {i for i in outputs if rng.integers(4)}
        told = any(set(case.atoms) <= true for case in listed)
        assert told == holds(prop.root, true | inputs)
    for _ in range(20):
        assert set(cases.drawn(rng).atoms) in [set(case.atoms) for case in listed]
        slacks = rng.standard_normal(len(prop.atoms))
        slacks[list(inputs)] = np.inf
        best = max(min(slacks[list(case.atoms)]) for case in listed)
        assert min(slacks[list(cases.greedy(slacks).atoms)]) == best


def test_boxes_belong_to_their_cases():
    either = "(or (and (<= X_0 0.25) (<= Y_0 0)) (and (>= X_0 0.75) (>= X_1 3) (>= Y_0 1)))"
    cases = list(Cases(parse(spec([("0", "1"), ("2", "3")], 1, either)), F32).listed())
    boxes = [(c.box.lo.tolist(), c.box.hi.tolist()) for c in cases]
    assert boxes == [([0, 2], [0.25, 3]), ([0.75, 3], [1, 3])]
    assert [len(c.atoms) for c in cases] == [1, 1]


def test_bounds_may_come_from_the_cases_alone():
    text = (
        "(declare-const X_0 Real)(declare-const Y_0 Real)(assert (or (and (>= X_0 0) (<= X_0 1) "
        "(<= Y_0 0)) (and (>= X_0 5) (<= X_0 4)) (and (>= X_0 2) (<= X_0 3) (<= Y_0 1))))"
    )
    listed = list(Cases(parse(text), F32).listed())
    assert [case and case.box.lo[0] for case in listed] == [0, None, 2]
    with pytest.raises(InputError, match="X_0 has no bound from above"):
        list(Cases(parse(text.replace("(<= X_0 3)", "")), F32).listed())


def test_an_empty_box_has_no_case():
    cases = Cases(parse(spec([("1", "0")], 1, "(<= Y_0 0)")), F32)
    assert cases.empty and cases.count == 0 and all(case is None for case in cases.listed())


def test_cases_beyond_all_bounds_are_not_listed():
    pairs = [f"(or (<= Y_0 {i}) (>= Y_0 {i + 100}))" for i in range(60)]
    prop = parse(spec([("0", "1")], 1, *pairs))
    began = time.perf_counter()
    cases = Cases(prop, F32)
    assert cases.count > MOST_LISTED
    first = list(itertools.islice(cases.listed(), 100))
    assert len({case.atoms for case in first}) == 100
    assert len(cases.drawn(np.random.default_rng(0)).atoms) == 60
    assert time.perf_counter() - began < 2
