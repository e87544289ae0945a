"""The reader of VNN-LIB against an evaluation of the text that shares no code with it."""

import gzip
import time
from fractions import Fraction

import numpy as np
import pytest

from pertcore.errors import InputError
from pertcore.falsification.terms import Bound, Linear, Program
from pertcore.falsification.vnnlib import Node, parse, read
from tests.falsification.checker import expressions, value
from tests.falsification.nets import spec

X = [("-1", "1.5e0"), ("0", "2")]
NUMBERS = ("0", "2", "-1", "0.1", "+.5", "1.", "-2.5e-1", "1E1", "0.30000000000000004")
DECLARED = "(declare-const X_0 Real)(declare-const Y_0 Real)"


def holds(prop, part, at):
    """A property's tree at exact values, by the atoms' own arithmetic."""
    if isinstance(part, Node):
        return (all if part.together else any)(holds(prop, inner, at) for inner in part.parts)
    atom = prop.atoms[part]
    slack = atom.exact(lambda code: at[f"X_{code}" if code >= 0 else f"Y_{~code}"])
    return slack > 0 if atom.strict else slack >= 0


def random_term(rng, depth):
    kind = rng.integers(6) if depth else rng.integers(2)
    if kind == 0:
        return str(rng.choice(NUMBERS))
    if kind == 1 or not depth:
        return str(rng.choice(["X_0", "X_1", "Y_0", "Y_1"]))
    head = "+-*/"[kind - 2]
    count = rng.integers(1 if head != "/" else 2, 4)
    inner = [random_term(rng, depth - 1) for _ in range(count)]
    if head == "/":
        inner[1:] = [str(rng.choice(["2", "-0.5", "4e1"])) for _ in inner[1:]]
    return f"({head} {' '.join(inner)})"


def random_condition(rng, depth):
    if depth and rng.integers(2):
        inner = [random_condition(rng, depth - 1) for _ in range(rng.integers(1, 4))]
        return f"({rng.choice(['and', 'or'])} {' '.join(inner)})"
    relation = rng.choice(["<=", ">=", "<", ">", "="])
    return f"({relation} {random_term(rng, 2)} {random_term(rng, 2)})"


def verdicts(seed):
    """What a random text says at random points, after the tree said the same."""
    rng = np.random.default_rng(seed)
    text = spec(X, 2, *(random_condition(rng, 3) for _ in range(2)))
    prop = parse(text)
    conditions = [e[1] for e in expressions(text) if e[0] == "assert"]
    seen = set()
    for _ in range(60):
        # few values, so that ties happen
        names = ("X_0", "X_1", "Y_0", "Y_1")
        at = {name: Fraction(int(rng.integers(-4, 5)), 2) for name in names}
        told = all(value(condition, at) for condition in conditions)
        assert holds(prop, prop.root, at) == told, text
        seen.add(told)
    return seen


def test_random_texts_mean_what_they_say():
    both = sum(len(verdicts(seed)) == 2 for seed in range(60))
    assert both > 15  # a text that never holds would prove little


def test_numbers_are_the_decimals_that_are_written():
    for text in (*NUMBERS, "123456789.123456789123456789", "1e-300", "5e-324"):
        prop = parse(f"{DECLARED}(assert (<= X_0 {text}))(assert (<= Y_0 (* 1 {text})))")
        assert isinstance(prop.atoms[0], Bound) and isinstance(prop.atoms[1], Linear)
        for atom in prop.atoms:
            assert atom.exact(lambda _: Fraction(0)) == Fraction(text)


def test_atoms_are_as_simple_as_they_can_be():
    prop = parse(
        DECLARED + "(assert (<= X_0 1))(assert (<= (* 2 X_0) (+ Y_0 1)))"
        "(assert (<= (* X_0 Y_0) 1))(assert (< Y_0 X_0))"
    )
    assert [type(a) for a in prop.atoms] == [Bound, Linear, Program, Linear]
    assert [a.strict for a in prop.atoms] == [False, False, False, True]


def test_other_spellings_are_the_same(tmp_path):
    plain = spec([("0", "1")], 1, "(or (<= Y_0 0.5) (and (>= Y_0 2) (<= Y_0 3)))")
    other = (
        "; a comment with (parentheses\n(set-logic QF_LRA)\n(declare-fun X_0 () Real)\n"
        "(declare-fun\n Y_0 ( ) Real) (assert (and (>= X_0 0) (<= X_0 1.0)))\n"
        "(assert (or (and (<= ; here\n Y_0 5e-1)) (and (and (>= Y_0 2)) (<= Y_0 3))))(check-sat)"
    )
    a, b = parse(plain), parse(other)
    for x in (-1, 0, 1, 2):
        for y in (0, 0.5, 1, 2.5, 4):
            at = {"X_0": Fraction(x), "Y_0": Fraction(y)}
            assert holds(a, a.root, at) == holds(b, b.root, at)


def test_files_packed_or_not_whatever_their_name(tmp_path):
    text = spec([("0", "1")], 1, "(<= Y_0 0)")
    for name, content in (
        ("a.vnnlib", text.encode()),
        ("a.vnnlib.gz", gzip.compress(text.encode())),
        ("packed.vnnlib", gzip.compress(text.encode())),
    ):
        (tmp_path / name).write_bytes(content)
        prop = read(tmp_path / name)
        assert (prop.name, prop.inputs, prop.outputs, len(prop.atoms)) == (name, 1, 1, 3)


def test_megabytes_are_read_in_seconds():
    cases = " ".join(f"(and (>= X_0 {i}e-5) (<= X_0 {i + 1}e-5) (<= Y_0 0))" for i in range(40_000))
    text = f"{DECLARED}(assert (or {cases}))"
    began = time.perf_counter()
    prop = parse(text)
    assert len(text) > 2_000_000 and len(prop.root.parts) == 40_000
    assert time.perf_counter() - began < 10


WRONG = {
    "(assert (<= X_0 1)": (1, "never closed"),
    "\n(assert (<= X_0 1)))": (2, "never opened"),
    "\n\n(assert (<= X_1 1))": (3, "X_1 is used before it is declared"),
    "(assert (<= X_0 one))": (1, "expected a number, X_i or Y_i, got one"),
    "(assert (<= X_0))": (1, "<= takes two terms, got 1"),
    "(assert (<= X_0 1 2))": (1, "<= takes two terms, got 3"),
    "(assert)": (1, "assert takes one condition"),
    "(assert (and))": (1, "(and) of nothing"),
    "(assert X_0)": (1, "X_0 stands where a condition"),
    "(assert (+ X_0 1))": (1, "a number stands where a condition"),
    "(assert (<= (<= X_0 1) 2))": (1, "a condition stands where a number"),
    "(assert (not (<= X_0 1)))": (1, "(not ...) is not known"),
    "\n(assert (<= (/ X_0 0) 1))": (2, "division by zero"),
    "\n(declare-const X_0 Real)": (2, "declared twice"),
    "(declare-const Z_0 Real)": (1, "Z_0"),
    "(declare-const X_1 Int)": (1, "expected (declare-const X_0 Real)"),
    "(declare-const X_2 Real)(assert (<= X_0 1))": (1, "X_1 is not"),
    "(vnnlib-version <2.0>)": (1, "version 1.0 is read"),
    "(assert (<= X_0 1e999999))": (1, "exponent"),
    "(assert (<= X_0-1 1))": (1, "X_0-1"),
    "(assert (<= X_0_1 1))": (1, "several indices"),
    "word": (1, "word stands outside"),
    "": (1, "nothing is asserted"),
    "(assert " + "(or (and " * 200 + "(<= X_0 1)": (1, ""),
}


@pytest.mark.parametrize("text", WRONG)
def test_what_is_no_property_is_refused_with_its_line(text):
    line, said = WRONG[text]
    with pytest.raises(InputError) as told:
        parse(DECLARED + text, "p.vnnlib")
    assert f"p.vnnlib, line {line}: " in str(told.value) and said in str(told.value)


def test_missing_and_broken_files(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read(tmp_path / "none.vnnlib")
    packed = gzip.compress(spec([("0", "1")], 1).encode())
    (tmp_path / "cut.gz").write_bytes(packed[: len(packed) // 2])
    with pytest.raises(InputError, match=r"cut\.gz: cannot be read"):
        read(tmp_path / "cut.gz")
    (tmp_path / "bytes").write_bytes(b"(assert\n\xff\xfe)")
    with pytest.raises(InputError, match="bytes, line 2: this is not text"):
        read(tmp_path / "bytes")


def test_depth_is_no_matter_of_recursion():
    deep = "(and (<= X_0 1) " * 5000 + "(<= X_0 0)" + ")" * 5000
    assert len(parse(f"{DECLARED}(assert {deep})").root.parts) == 5001
    mixed = "(or (<= X_0 1) (and (<= Y_0 1) " * 300 + "(<= X_0 0)" + "))" * 300
    with pytest.raises(InputError, match="more than 200 levels"):
        parse(f"{DECLARED}(assert {mixed})")
    sums = "(+ 1 " * 3000 + "X_0" + ")" * 3000
    assert parse(f"{DECLARED}(assert (<= {sums} 1))").atoms[0].constant == -2999
