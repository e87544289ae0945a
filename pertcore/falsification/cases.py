"""Cases of a property: one choice of each alternative, that is a box of inputs and the atoms that
must hold in it. They are made when asked for; their number may be beyond all bounds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from pertcore.falsification.boxes import Box, Ends
from pertcore.falsification.terms import Bound
from pertcore.falsification.vnnlib import Node, Property
from pertcore.oracle import Array

# So many cases are taken one by one; of more, chance draws.
MOST_LISTED = 200_000


@dataclass(frozen=True)
class Case:
    """`box` of inputs, the `atoms` (numbers) that must hold in it beside the box itself."""

    box: Box
    atoms: tuple[int, ...]


class Cases:
    """The cases of a property for inputs of one dtype.

    Raises InputError where an input has no bounds.
    """

    def __init__(self, prop: Property, dtype: np.dtype[Any]) -> None:
        self._property, self._dtype = prop, dtype
        own = [part for part in prop.root.parts if not isinstance(part, Node)]
        if not prop.root.together:
            own = []
        self._root_ends = Ends(prop.inputs)
        self._root_ends.add(self._bounds(own))
        self._root_atoms = frozenset(own)
        self._base: Box | None = None
        self.empty = False
        if all(self._root_ends.lower) and all(self._root_ends.upper):
            self._base = self._root_ends.rounded(dtype, range(prop.inputs), None)
            self.empty = self._base is None
        self.count = 0 if self.empty else _count(prop.root)

    def listed(self) -> Iterator[Case | None]:
        """All cases in the order of the text, the first MOST_LISTED of them; None for an empty
        box."""
        return map(self.case, islice(_choices(self._property.root), MOST_LISTED))

    def drawn(self, rng: np.random.Generator) -> Case | None:
        """A case at random: each alternative as likely as the others beside it."""
        return self.case(_draw(self._property.root, rng))

    def greedy(self, slacks: Array) -> Case | None:
        """The case of the best alternatives at a point where the atoms have these slacks."""
        return self.case(_best(self._property.root, slacks)[1])

    def case(self, atoms: tuple[int, ...]) -> Case | None:
        """The case of a choice of atoms, None where its box is empty."""
        if self.empty:
            return None
        chosen = [atom for atom in atoms if atom not in self._root_atoms]
        ends, bounds = self._root_ends, list(self._bounds(chosen))
        places: Any = range(self._property.inputs)
        if bounds:
            ends = ends.copy()
            touched = ends.add(bounds)
            places = touched if self._base is not None else places
        if self._base is None:
            ends.require(self._property.name)
        box = self._base
        if box is None or bounds:
            box = ends.rounded(self._dtype, places, self._base)
        if box is None:
            return None
        return Case(box, tuple(atom for atom in atoms if not self._is_bound(atom)))

    def _bounds(self, atoms: Any) -> Iterator[Bound]:
        return (self._property.atoms[atom] for atom in atoms if self._is_bound(atom))

    def _is_bound(self, number: int) -> bool:
        atom = self._property.atoms[number]
        return isinstance(atom, Bound) and atom.variable >= 0


def _count(part: Any) -> int:
    """How many choices there are, MOST_LISTED + 1 for more."""
    if not isinstance(part, Node):
        return 1
    total = 1 if part.together else 0
    for inner in part.parts:
        count = _count(inner)
        total = total * count if part.together else total + count
        if total > MOST_LISTED:
            return MOST_LISTED + 1
    return total


def _choices(part: Any) -> Iterator[tuple[int, ...]]:
    if not isinstance(part, Node):
        yield (part,)
    elif part.together:
        yield from _together(part.parts)
    else:
        for inner in part.parts:
            yield from _choices(inner)


def _together(parts: tuple[Any, ...]) -> Iterator[tuple[int, ...]]:
    """Atoms as they are, beside every combination of the choices of the nodes; the last varies
    fastest. An odometer, so that thousands of nodes need no recursion."""
    atoms = tuple(part for part in parts if not isinstance(part, Node))
    nodes = [part for part in parts if isinstance(part, Node)]
    wheels = [_choices(node) for node in nodes]
    shown = [next(wheel) for wheel in wheels]
    while True:
        yield atoms + tuple(atom for choice in shown for atom in choice)
        for place in range(len(nodes) - 1, -1, -1):
            turned = next(wheels[place], None)
            if turned is not None:
                shown[place] = turned
                break
            wheels[place] = _choices(nodes[place])
            shown[place] = next(wheels[place])
        else:
            return


def _draw(part: Any, rng: np.random.Generator) -> tuple[int, ...]:
    if not isinstance(part, Node):
        return (part,)
    if part.together:
        return tuple(atom for inner in part.parts for atom in _draw(inner, rng))
    return _draw(part.parts[int(rng.integers(len(part.parts)))], rng)


def _best(part: Any, slacks: Array) -> tuple[float, tuple[int, ...]]:
    """The largest margin of the choices of a part, and its choice."""
    if not isinstance(part, Node):
        return float(slacks[part]), (part,)
    found = [_best(inner, slacks) for inner in part.parts]
    if not part.together:
        return max(found, key=lambda pair: pair[0])
    return min(pair[0] for pair in found), tuple(atom for pair in found for atom in pair[1])
