"""A judge of counterexamples that shares nothing with the finder: own reader, exact fractions, and
a plain session of ONNX Runtime on the file."""

import gzip
import re
from fractions import Fraction
from pathlib import Path

import numpy as np
import onnxruntime

TYPES = {"tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(float16)": np.float16}


def text_of(path):
    content = Path(path).read_bytes()
    return (gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content).decode()


def expressions(text):
    """Parentheses as lists of words and lists."""
    outer = stack = [[]]
    for word in re.findall(r"[()]|[^\s()]+", re.sub(r";[^\n]*", "", text)):
        if word == "(":
            stack = [*stack, []]
        elif word == ")":
            *stack, inner = stack
            stack[-1].append(inner)
        else:
            stack[-1].append(word)
    assert len(stack) == 1
    return outer[0]


def value(term, at):
    """A condition or a number, exactly."""
    if isinstance(term, str):
        return at[term] if term in at else Fraction(term)
    head, *rest = term
    parts = [value(inner, at) for inner in rest]
    if head in ("and", "or"):
        return all(parts) if head == "and" else any(parts)
    if head in ("<=", ">=", "<", ">", "="):
        a, b = parts
        return {"<=": a <= b, ">=": a >= b, "<": a < b, ">": a > b, "=": a == b}[head]
    if head == "-" and len(parts) == 1:
        return -parts[0]
    total = parts[0]
    for part in parts[1:]:
        if head == "/":
            total = total / part
        else:
            total = {"+": total + part, "-": total - part, "*": total * part}[head]
    return total


def fixed(conditions, name):
    """The decimal at which the assertions fix an input, else None."""
    ends = {}
    for term in conditions:
        if len(term) == 3 and term[1] == name and re.match(r"[-+.\d]", str(term[2])):
            ends[term[0]] = Fraction(term[2])
    lo, hi = ends.get(">=", ends.get("=")), ends.get("<=", ends.get("="))
    return lo if lo is not None and lo == hi else None


def check(model, spec, answer, tolerance=1e-5):
    """Raises AssertionError unless `answer`, the text that pertcore prints, is a counterexample.

    An input fixed at a decimal that is no float of the model's type must be the nearest float, and
    counts as the decimal.
    """
    verdict, _, body = answer.partition("\n")
    assert verdict == "sat", verdict
    (pairs,) = expressions(body)
    given = {name: float(number) for name, number in pairs}
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(model), options, ["CPUExecutionProvider"])
    conditions = [e[1] for e in expressions(text_of(spec)) if e[0] == "assert"]
    feeds, at, place = {}, {}, 0
    for entry in session.get_inputs():
        dtype = TYPES[entry.type]
        shape = [size if isinstance(size, int) else 1 for size in entry.shape]
        flat = []
        for _ in range(int(np.prod(shape))):
            number = given[f"X_{place}"]
            assert float(dtype(number)) == number, f"X_{place} is no {dtype.__name__}"
            decimal = fixed(conditions, f"X_{place}")
            near = decimal is not None and float(dtype(float(decimal))) == number
            at[f"X_{place}"] = decimal if near else Fraction(number)
            flat.append(number)
            place += 1
        feeds[entry.name] = np.array(flat, dtype).reshape(shape)
    found = np.concatenate([np.ravel(y) for y in session.run(None, feeds)]).astype(np.float64)
    for number, y in enumerate(found):
        at[f"Y_{number}"] = Fraction(float(y))
        off = abs(given[f"Y_{number}"] - y)
        assert off <= tolerance * max(1.0, abs(y)), f"Y_{number} is {y}"
    assert set(given) == set(at), "a variable is missing, or one too many"
    for condition in conditions:
        assert value(condition, at), condition
