"""VNN-LIB 1.0: declarations and assertions over X (inputs) and Y (outputs), as one tree of atoms.

Read by hand, without recursion: the public parsers found build a tree for every bound, which takes
minutes where a file has megabytes. Format: the VNN-LIB standard (vnnlib.org, version 1.0), that is
SMT-LIB 2 with declare-const or declare-fun, assert, and, or, <=, >=, <, >, =, +, -, * and /.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pertcore.falsification import terms
from pertcore.falsification.terms import Atom, Bound, Linear, Program
from pertcore.falsification.tokens import VARIABLE, WORTH, Text, read_text

RELATIONS = ("<=", ">=", "<", ">", "=")
ARITHMETIC = ("+", "-", "*", "/")
# Of SMT-LIB, without meaning for what is asserted.
SILENT = ("set-logic", "set-info", "set-option", "check-sat", "get-model", "exit")
MOST_LEVELS = 200
MOST_STEPS = 10_000


@dataclass(frozen=True, slots=True)
class Node:
    """All of the parts hold (`together`), or any of them; a part is the number of an atom or a
    node of the other kind."""

    together: bool
    parts: tuple[Any, ...]
    levels: int


@dataclass(frozen=True)
class Property:
    """What a counterexample satisfies: every atom under one choice of the alternatives in `root`.

    `inputs` and `outputs` count X_0.. and Y_0..; `atoms` are numbered as `root` names them.
    """

    name: str
    inputs: int
    outputs: int
    atoms: list[Atom]
    root: Node


def read(source: str | Path) -> Property:
    """The property in a .vnnlib file, compressed by gzip or not.

    Raises InputError with the line where the text is not VNN-LIB 1.0.
    """
    return _Reader(read_text(source)).property()


def parse(text: str, name: str = "the property") -> Property:
    """The property of a text; `name` appears in errors. Raises InputError as `read` does."""
    return _Reader(Text(text, name)).property()


class _Reader:
    """Frames of open parentheses on a list; a frame is its place and what it holds so far."""

    def __init__(self, text: Text) -> None:
        self.text = text
        self.declared: dict[str, set[int]] = {"X": set(), "Y": set()}
        self.atoms: list[Atom] = []
        self.asserted: list[Any] = []
        self.stack: list[tuple[int, list[Any]]] = []

    def property(self) -> Property:
        for match in self.text.tokens():
            self._token(match)
        if self.stack:
            raise self.text.error(self.stack[-1][0], "this parenthesis is never closed")
        if not self.asserted:
            raise self.text.error(len(self.text.text), "nothing is asserted")
        counts = [self._count(letter) for letter in "XY"]
        root = self._node(True, self.asserted, len(self.text.text))
        if not isinstance(root, Node):
            root = Node(True, (root,), 1)
        return Property(self.text.name, counts[0], counts[1], self.atoms, root)

    def _token(self, match: re.Match[str]) -> None:
        kind = match.lastgroup
        if kind == "atom":
            self._add(self._simple(match), match.start())
        elif kind == "index":
            self._outside(match.start())
            self._declare(match["declared"], int(match["index"]), match.start())
        elif kind == "open":
            self.stack.append((match.start(), []))
        elif kind == "word":
            self._add(match[0], match.start())
        elif not self.stack:
            raise self.text.error(match.start(), "a parenthesis is closed that was never opened")
        else:
            place, items = self.stack.pop()
            self._closed(place, items)

    def _add(self, item: Any, place: int) -> None:
        if not self.stack:
            shown = item if isinstance(item, str) else "a condition"
            raise self.text.error(place, f"{shown} stands outside of (assert ...)")
        items = self.stack[-1][1]
        # Strings are the words still to be read; the first is the head, read when all is there.
        items.append(self._term(item, place) if items and self._holds_terms(items[0]) else item)

    @staticmethod
    def _holds_terms(head: Any) -> bool:
        return isinstance(head, str) and (head in RELATIONS or head in ARITHMETIC)

    def _outside(self, place: int) -> None:
        if self.stack:
            raise self.text.error(place, "a declaration inside of another parenthesis")

    def _closed(self, place: int, items: list[Any]) -> None:
        head, *rest = items or [None]
        if head == "assert" or (isinstance(head, str) and head.startswith("declare")):
            self._outside(place)
        if head == "assert":
            if len(rest) != 1:
                raise self.text.error(place, f"assert takes one condition, got {len(rest)}")
            self.asserted.append(self._condition(rest[0], place))
        elif head in ("and", "or"):
            self._add(
                self._node(head == "and", [self._condition(r, place) for r in rest], place), place
            )
        elif head in RELATIONS:
            self._add(self._relation(head, rest, place), place)
        elif head in ARITHMETIC:
            self._add(self._arithmetic(head, rest, place), place)
        elif head in ("declare-const", "declare-fun"):
            self._declaration(items, place)
        elif head is None and self.stack and self.stack[-1][1][:1] == ["declare-fun"]:
            self.stack[-1][1].append(())
        elif head not in SILENT or self.stack:
            raise self.text.error(place, _unknown(head))

    def _declaration(self, items: list[Any], place: int) -> None:
        kind = items[2:] if items[0] == "declare-const" else items[3:]
        plain = items[0] == "declare-const" or items[2:3] == [()]
        if len(items) < 2 or not plain or kind != ["Real"] or not isinstance(items[1], str):
            raise self.text.error(
                place, "expected (declare-const X_0 Real) or (declare-fun X_0 () Real)"
            )
        found = VARIABLE.fullmatch(items[1])
        if found is None:
            raise self.text.error(place, _misnamed(items[1]))
        self._declare(found[1], int(found[2]), place)

    def _declare(self, letter: str, index: int, place: int) -> None:
        if index in self.declared[letter]:
            raise self.text.error(place, f"{letter}_{index} is declared twice")
        self.declared[letter].add(index)

    def _count(self, letter: str) -> int:
        indices = self.declared[letter]
        if not indices:
            raise self.text.error(len(self.text.text), f"no {letter}_0 is declared")
        if max(indices) != len(indices) - 1:
            missing = next(i for i in range(len(indices) + 1) if i not in indices)
            raise self.text.error(
                len(self.text.text),
                f"{letter}_{max(indices)} is declared, but {letter}_{missing} is not",
            )
        return len(indices)

    def _variable(self, letter: str, index: int, place: int) -> int:
        if index not in self.declared[letter]:
            raise self.text.error(place, f"{letter}_{index} is used before it is declared")
        return index if letter == "X" else ~index

    def _simple(self, match: re.Match[str]) -> int:
        """A relation of a variable to a number or another variable, read in one piece."""
        relation, place = match["relation"], match.start()
        left = self._variable(match["letter"], int(match["place"]), place)
        strict, below = len(relation) == 1, relation[0] == "<"
        text = match["number"]
        if text is not None:
            if len(text) > 24 or "e" in text or "E" in text:
                self.text.checked(text, place)
            self.atoms.append(Bound(left, -1 if below else 1, text, strict))
        else:
            right = self._variable(match["letter2"], int(match["place2"]), place)
            self._append_pair(*((right, left) if below else (left, right)), strict)
        return len(self.atoms) - 1

    def _append_pair(self, more: int, less: int, strict: bool) -> None:
        coefficients = {more: terms.ONE, less: -terms.ONE} if more != less else {}
        self.atoms.append(Linear(coefficients, terms.ZERO, strict))

    def _term(self, item: Any, place: int) -> Linear | Program:
        if isinstance(item, Linear | Program):
            return item
        if not isinstance(item, str):
            raise self.text.error(place, "a condition stands where a number is needed")
        if WORTH.fullmatch(item):
            return terms.number(self.text.checked(item, place))
        found = VARIABLE.fullmatch(item)
        if found is None:
            raise self.text.error(place, _misnamed(item))
        return terms.variable(self._variable(found[1], int(found[2]), place))

    def _condition(self, item: Any, place: int) -> Any:
        if isinstance(item, str | tuple) and not isinstance(item, Linear | Program):
            raise self.text.error(place, f"{item or '()'} stands where a condition is needed")
        if isinstance(item, Linear | Program):
            raise self.text.error(place, "a number stands where a condition is needed")
        return item

    def _relation(self, relation: str, given: list[Any], place: int) -> Any:
        if len(given) != 2:
            raise self.text.error(place, f"{relation} takes two terms, got {len(given)}")
        a, b = given
        if relation == "=":
            first = len(self.atoms)
            for more, less in ((b, a), (a, b)):
                self.atoms.append(_atom(terms.difference(_copy(more), less, False)))
            return self._node(True, [first, first + 1], place)
        more, less = (b, a) if relation[0] == "<" else (a, b)
        self.atoms.append(_atom(terms.difference(more, less, len(relation) == 1)))
        return len(self.atoms) - 1

    def _arithmetic(self, operator: str, given: list[Any], place: int) -> Linear | Program:
        if not given or (operator == "/" and len(given) == 1):
            raise self.text.error(place, f"{operator} is given {len(given)} terms")
        try:
            term = terms.combined(operator, given)
        except ZeroDivisionError:
            raise self.text.error(place, "a division by zero") from None
        if isinstance(term, Program) and len(term.code) > MOST_STEPS:
            raise self.text.error(place, f"a nonlinear term of more than {MOST_STEPS} steps")
        return term

    def _node(self, together: bool, parts: list[Any], place: int) -> Any:
        """One node, into which parts of its own kind are merged; a single part is itself."""
        if not parts:
            raise self.text.error(place, f"({'and' if together else 'or'}) of nothing")
        if len(parts) == 1:
            return parts[0]
        merged: list[Any] = []
        for part in parts:
            same = isinstance(part, Node) and part.together == together
            merged.extend(part.parts if same else [part])
        levels = 1 + max((part.levels for part in merged if isinstance(part, Node)), default=0)
        if levels > MOST_LEVELS:
            raise self.text.error(place, f"and and or are nested in more than {MOST_LEVELS} levels")
        return Node(together, tuple(merged), levels)


def _copy(term: Linear | Program) -> Linear | Program:
    return term._replace(coefficients=dict(term.coefficients)) if isinstance(term, Linear) else term


def _atom(term: Linear | Program) -> Linear | Program:
    if isinstance(term, Program):
        return term
    return term._replace(coefficients={v: c for v, c in term.coefficients.items() if c})


def _misnamed(word: str) -> str:
    if re.fullmatch(r"[XY]_\d+([-_]\d+)+", word) or "[" in word:
        return f"{word[:60]} has several indices: number inputs and outputs flat, as X_0, X_1"
    return f"expected a number, X_i or Y_i, got {word[:60]}"


def _unknown(head: Any) -> str:
    if not isinstance(head, str):
        return "a parenthesis begins with no word that is known"
    if head in ("vnnlib-version", "declare-network"):
        return f"({head} ...) is of VNN-LIB 2.0: version 1.0 is read"
    return (
        f"({head[:60]} ...) is not known: expected declare-const, declare-fun, assert, and, or, "
        f"{', '.join((*RELATIONS, *ARITHMETIC))}"
    )
