"""Dimensions that may be symbols: integers, or polynomials over names such as N, H and floors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

Monomial = tuple["str | Floor", ...]
Shape = tuple["int | Poly", ...]

# The free first axis of inputs.
BATCH = "N"
# A file can square a dimension again and again.
MOST_TERMS = 128


@dataclass(frozen=True)
class Floor:
    """The integer floor(num / den) where the division is not known to be exact."""

    num: int | Poly
    den: int | Poly

    def __str__(self) -> str:
        return f"(({self.num})//({self.den}))"


@dataclass(frozen=True)
class Poly:
    """sum_k coefficient_k * product(atoms_k), kept sorted, so that equal sums are equal objects."""

    terms: tuple[tuple[Monomial, int], ...]

    def __str__(self) -> str:
        return "+".join(
            "*".join([*map(str, m)] + [str(c)] * (c != 1 or not m)) for m, c in self.terms
        )

    def __add__(self, other: int | Poly) -> int | Poly:
        return _poly([*self.terms, *_terms(other)])

    def __mul__(self, other: int | Poly) -> int | Poly:
        if isinstance(other, int):
            return Poly(tuple((m, c * other) for m, c in self.terms)) if other else 0
        pairs = [(a, b) for a in self.terms for b in _terms(other)]
        return _poly([((*a, *b), c * d) for (a, c), (b, d) in pairs])

    def __neg__(self) -> int | Poly:
        return self * -1

    def __sub__(self, other: int | Poly) -> int | Poly:
        return self + other * -1

    def __rsub__(self, other: int | Poly) -> int | Poly:
        return -self + other

    def __floordiv__(self, other: int | Poly) -> int | Poly:
        return _divide(self, other)

    def __rfloordiv__(self, other: int | Poly) -> int | Poly:
        return _divide(other, self)

    __radd__ = __add__
    __rmul__ = __mul__

    @property
    def atoms(self) -> frozenset[str | Floor]:
        return frozenset(atom for monomial, _ in self.terms for atom in monomial)


def symbol(name: str) -> Poly:
    """The dimension that is called `name`."""
    return Poly((((name,), 1),))


def evaluate(dim: int | Poly, values: Mapping[str, int]) -> int:
    """The integer that `dim` is when each symbol has its value; KeyError names a missing one."""
    if isinstance(dim, int):
        return dim
    total = 0
    for monomial, coefficient in dim.terms:
        product = coefficient
        for atom in monomial:
            product *= _atom_value(atom, values)
        total += product
    return total


def symbols(dim: int | Poly) -> set[str]:
    """Names that `dim` depends on."""
    found: set[str] = set()
    for atom in dim.atoms if isinstance(dim, Poly) else ():
        inner = {atom} if isinstance(atom, str) else symbols(atom.num) | symbols(atom.den)
        found |= inner
    return found


def product(dims: Iterable[int | Poly]) -> int | Poly:
    return _product(tuple(dims))


@lru_cache(maxsize=4096)
def _product(dims: tuple[int | Poly, ...]) -> int | Poly:
    result: int | Poly = 1
    for dim in dims:
        result = result * dim
    return result


@lru_cache(maxsize=4096)
def only_atom(dim: Poly) -> str | None:
    """How a dimension with one symbol or floor in it is spelled, None for more."""
    return str(dim) if len(dim.atoms) == 1 else None


def _atom_value(atom: str | Floor, values: Mapping[str, int]) -> int:
    if isinstance(atom, str):
        return values[atom]
    return evaluate(atom.num, values) // evaluate(atom.den, values)


def _terms(value: int | Poly) -> tuple[tuple[Monomial, int], ...]:
    return value.terms if isinstance(value, Poly) else (((), int(value)),)


def _poly(terms: Iterable[tuple[Monomial, int]]) -> int | Poly:
    collected: dict[Monomial, int] = {}
    for monomial, coefficient in terms:
        key = tuple(sorted(monomial, key=str))
        collected[key] = collected.get(key, 0) + coefficient
    kept = tuple(
        sorted(
            ((m, c) for m, c in collected.items() if c), key=lambda term: [str(a) for a in term[0]]
        )
    )
    if not kept:
        return 0
    if len(kept) > MOST_TERMS or max(len(m) for m, _ in kept) > MOST_TERMS:
        raise OverflowError(f"a dimension is a sum or product of more than {MOST_TERMS} symbols")
    if len(kept) == 1 and not kept[0][0]:
        return kept[0][1]
    return Poly(kept)


def _divide(num: int | Poly, den: int | Poly) -> int | Poly:
    if num == den:
        return 1
    (atoms, factor), *rest = _terms(den)
    quotients = [] if rest else [_cancel(term, atoms, factor) for term in _terms(num)]
    exact = [term for term in quotients if term is not None]
    if exact and len(exact) == len(quotients):
        return _poly(exact)
    if isinstance(den, int) and isinstance(num, Poly):
        return _split_floor(num, den)
    return Poly((((Floor(num, den),), 1),))


def _cancel(
    term: tuple[Monomial, int], atoms: Monomial, factor: int
) -> tuple[Monomial, int] | None:
    monomial = list(term[0])
    for atom in atoms:
        if atom not in monomial:
            return None
        monomial.remove(atom)
    return (tuple(monomial), term[1] // factor) if term[1] % factor == 0 else None


def _split_floor(num: Poly, den: int) -> int | Poly:
    """floor((a + b) / den) = a / den + floor(b / den) for every multiple a of den."""
    whole = [(m, c - c % den) for m, c in num.terms]
    rest = _poly([(m, c % den) for m, c in num.terms])
    inside: int | Poly = (
        Poly((((Floor(rest, den),), 1),)) if isinstance(rest, Poly) else rest // den
    )
    return _poly([(m, c // den) for m, c in whole]) + inside
