"""Matrix products."""

from __future__ import annotations

import math
from collections.abc import Sequence
from string import ascii_letters
from typing import Any

import numpy as np

from pertcore.adapters.onnx.op import Op, Tensor, View
from pertcore.adapters.onnx.registry import jvp, lower, refusal, vjp

# The cofactors take n^2 determinants of n - 1 rows.
LARGEST_DETERMINANT = 16
# Bytes of a constant above which no transposed copy of it is kept.
LARGE = 1 << 26


def _turned(op: Op, matrix: Tensor) -> Tensor:
    """The transpose of the last two axes of a value of the model."""
    last = list(range(matrix.rank))
    return op.Transpose(matrix, perm=[*last[:-2], last[-1], last[-2]])


def _by_turned(op: Op, t: Tensor, matrix: Tensor) -> Tensor:
    """t W^T. A large constant W is turned inside the product: its transpose would be a copy."""
    held = matrix.value
    if held is None or matrix.rank != 2 or held.nbytes <= LARGE:
        return t @ _turned(op, matrix)
    rows = math.prod(t.shape[:-1])
    flat = t if t.rank == 2 else op.resized(t, [rows, t.shape[-1]])
    made = op.Gemm(flat, matrix, transB=1)
    return made if t.rank == 2 else op.resized(made, [*t.shape[:-1], matrix.shape[0]])


def _turned_tangent(op: Op, t: Tensor, rank: int) -> Tensor:
    last = list(range(rank))
    return op.transpose(t, [*last[:-2], last[-1], last[-2]])


@vjp("Gemm")
def gemm_vjp(op: Op, n: View, g: Tensor) -> list[Tensor | None]:
    """Y = alpha A' B' + beta C: dA' = alpha g B'^T, dB' = alpha A'^T g, dC = beta g."""
    alpha, beta = n.attr("alpha", 1.0), n.attr("beta", 1.0)
    flip_a, flip_b = n.attr("transA", 0), n.attr("transB", 0)
    found: list[Tensor | None] = [None, None, None]
    if n.wants(0):
        da = (g @ n.b if flip_b else _by_turned(op, g, n.b)) * alpha
        found[0] = _turned_tangent(op, da, 2) if flip_a else da
    if n.wants(1):
        db = (n.a if flip_a else _turned(op, n.a)) @ g * alpha
        found[1] = _turned_tangent(op, db, 2) if flip_b else db
    if n.wants(2):
        found[2] = op.sum_to(g * beta, n.i[2].shape)  # type: ignore[union-attr]
    return found


@jvp("Gemm")
def gemm_jvp(
    op: Op, n: View, ta: Tensor | None, tb: Tensor | None, tc: Tensor | None = None
) -> Tensor | None:
    alpha, beta = n.attr("alpha", 1.0), n.attr("beta", 1.0)
    flip_a, flip_b = n.attr("transA", 0), n.attr("transB", 0)
    total: Tensor | None = None
    if ta is not None:
        ta = _turned_tangent(op, ta, 2) if flip_a else ta
        total = (_by_turned(op, ta, n.b) if flip_b else ta @ n.b) * alpha
    if tb is not None:
        tb = _turned_tangent(op, tb, 2) if flip_b else tb
        term = (_turned(op, n.a) if flip_a else n.a) @ tb * alpha
        total = term if total is None else total + term
    if tc is not None:
        term = op.align(tc, n.i[2].shape, 2) * beta  # type: ignore[union-attr]
        total = term if total is None else total + term
    return None if total is None else op.expand(total, n.y.shape)


@vjp("MatMul")
def matmul_vjp(op: Op, n: View, g: Tensor) -> list[Tensor | None]:
    """Y = A B: dA = g B^T, dB = A^T g, vectors as one-row or one-column matrices."""
    a_rows = [1, *n.a.shape] if n.a.rank == 1 else list(n.a.shape)
    b_columns = [*n.b.shape, 1] if n.b.rank == 1 else list(n.b.shape)
    full = list(n.y.shape)
    full = [*full[: len(full)], 1] if n.b.rank == 1 else full
    full = [*full[:-1], 1, full[-1]] if n.a.rank == 1 else full
    g = op.reshape(g, full)
    found: list[Tensor | None] = [None, None]
    if n.wants(0):
        da = op.sum_to(_by_turned(op, g, op.resized(n.b, b_columns)), a_rows)
        found[0] = op.reshape(da, n.a.shape)
    if n.wants(1):
        db = op.sum_to(_turned(op, op.resized(n.a, a_rows)) @ g, b_columns)
        found[1] = op.reshape(db, n.b.shape)
    return found


@jvp("MatMul")
def matmul_jvp(op: Op, n: View, ta: Tensor | None, tb: Tensor | None) -> Tensor | None:
    a_rows = [1, *n.a.shape] if n.a.rank == 1 else list(n.a.shape)
    b_columns = [*n.b.shape, 1] if n.b.rank == 1 else list(n.b.shape)
    rank = max(len(a_rows), len(b_columns))
    total: Tensor | None = None
    if ta is not None:
        ta = op.align(op.reshape(ta, a_rows), a_rows, rank)
        total = ta @ op.resized(n.b, b_columns)
    if tb is not None:
        tb = op.align(op.reshape(tb, b_columns), b_columns, rank)
        term = op.resized(n.a, a_rows) @ tb
        total = term if total is None else total + term
    return None if total is None else op.reshape(total, n.y.shape)


@lower("Einsum")
def einsum_plain(op: Op, n: View) -> Tensor | None:
    """Without dots, and with every letter once in a term: a diagonal is a product with a unit
    matrix, i i -> i j with an operand i j more."""
    left, arrow, result = n.attr("equation").replace(" ", "").partition("->")
    terms, operands = left.split(","), list(n.i)
    if "..." not in left and all(len(set(term)) == len(term) for term in terms):
        return None
    letters = sorted(set(ascii_letters) - set(left))
    counts = [t.rank - len(term) + 3 for term, t in zip(terms, operands) if "..." in term]  # type: ignore[union-attr]
    dots = [letters.pop(0) for _ in range(max(counts, default=0))]
    if not arrow:
        joined = left.replace("...", "").replace(",", "")
        result = "..." + "".join(sorted(c for c in set(joined) if joined.count(c) == 1))
    for place, term in enumerate(list(terms)):
        x: Any = operands[place]
        kept = dots[len(dots) - (x.rank - len(term) + 3) :] if "..." in term else []
        before, _, after = term.partition("...")
        ones = [i for i in range(len(before), len(before) + len(kept)) if x.shape[i] == 1]
        if ones:
            operands[place] = x = op.Squeeze(x, ones)
        held = [c for i, c in enumerate(kept, len(before)) if i not in ones]
        spelled = [*before, *held, *after]
        for i, letter in enumerate(spelled):
            if letter in spelled[:i]:
                spelled[i] = letters.pop(0)
                operands.append(_unit(op, x, x.shape[i]))
                terms.append(letter + spelled[i])
        terms[place] = "".join(spelled)
    made = result.replace("...", "".join(dots))
    lost = [made.index(c) for c in dots if c in made and not any(c in t for t in terms)]
    equation = f"{','.join(terms)}->{''.join(c for i, c in enumerate(made) if i not in lost)}"
    y: Tensor = op.Einsum(*operands, equation=equation)
    return op.Unsqueeze(y, lost) if lost else y


def _unit(op: Op, x: Tensor, size: Any) -> Tensor:
    """The unit matrix of a size that may be a symbol."""
    places = op.positions(size)
    same = op.Equal(op.Unsqueeze(places, [0]), op.Unsqueeze(places, [1]))
    return op.indicator(same, x)


@vjp("Einsum")
def einsum_vjp(op: Op, n: View, g: Tensor) -> list[Tensor | None]:
    """The same sum with g in the place of one operand: letters found nowhere else are repeated."""
    terms, result = _letters(n)
    found: list[Tensor | None] = []
    for place, letters in enumerate(terms):
        if not n.wants(place):
            found.append(None)
            continue
        rest = [i for i in range(len(terms)) if i != place]
        seen = set(result).union(*(terms[i] for i in rest))
        kept = "".join(letter for letter in letters if letter in seen)
        made = _einsum(op, [result, *(terms[i] for i in rest)], kept, [g, *(n.i[i] for i in rest)])
        shape = n.i[place].shape  # type: ignore[union-attr]
        ones = [size if letter in seen else 1 for letter, size in zip(letters, shape, strict=True)]
        found.append(op.expand(op.reshape(made, ones), shape))
    return found


@jvp("Einsum")
def einsum_jvp(op: Op, n: View, *tangents: Tensor | None) -> Tensor | None:
    terms, result = _letters(n)
    total: Tensor | None = None
    for place, tangent in enumerate(tangents):
        if tangent is not None:
            rest = [i for i in range(len(terms)) if i != place]
            order = [terms[place], *(terms[i] for i in rest)]
            part = _einsum(op, order, result, [tangent, *(n.i[i] for i in rest)])
            total = part if total is None else total + part
    return total


def _letters(n: View) -> tuple[list[str], str]:
    """The letters of every operand and of the result, each of them at most once."""
    equation = n.attr("equation").replace(" ", "")
    operands, arrow, result = equation.partition("->")
    terms = operands.split(",")
    if not arrow:
        joined = "".join(terms)
        result = "".join(sorted(c for c in set(joined) if joined.count(c) == 1))
    if "." in equation or any(len(set(term)) < len(term) for term in [*terms, result]):
        raise refusal(n, 0)
    return terms, result


def _einsum(op: Op, terms: Sequence[str], result: str, operands: Sequence[Tensor | None]) -> Tensor:
    """Einsum whose first operand is a (co)tangent: its leading axis is one letter more."""
    used = set("".join(terms))
    lead = "" if op.lead is None else next(c for c in "zyxwvutsrqponmlkjihgfedcba" if c not in used)
    equation = f"{','.join([lead + terms[0], *terms[1:]])}->{lead}{result}"
    return op.Einsum(*operands, equation=equation)


@vjp("Det")
def det_vjp(op: Op, n: View, g: Tensor) -> list[Tensor | None]:
    """Jacobi 1841: d det / dX is the matrix of cofactors, which exists where X is singular too."""
    return [op.reshape(g, [*n.y.shape, 1, 1]) * _cofactors(op, n)]


@jvp("Det")
def det_jvp(op: Op, n: View, t: Tensor) -> Tensor:
    return op.ReduceSum(t * _cofactors(op, n), [-2, -1], keepdims=0)


def _cofactors(op: Op, n: View) -> Tensor:
    """(-1)^(i+j) times the determinant without row i and column j."""
    size = n.x.shape[-1]
    if not isinstance(size, int) or size > LARGEST_DETERMINANT:
        raise refusal(n, 0)
    if size == 1:
        return op.const(np.ones((1, 1)), n.x.dtype)
    rest = [[k for k in range(size) if k != i] for i in range(size)]
    index = np.array([[[[r * size + c for c in q] for r in p] for q in rest] for p in rest])
    flat = op.resized(n.x, [*n.x.shape[:-2], size * size])
    minors = op.Det(op.Gather(flat, index, axis=n.x.rank - 2))
    signs = (-1.0) ** np.add.outer(np.arange(size), np.arange(size))
    return op.reshaped_type(minors, n.x.shape) * op.const(signs, n.x.dtype)
