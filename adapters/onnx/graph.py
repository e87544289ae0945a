"""The emitter: nodes come in one by one; types, shapes, constants and duplicates are settled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import count
from typing import Any, Literal

import numpy as np

from pertcore.adapters.onnx import bounds, folding, peepholes, shapes, values
from pertcore.adapters.onnx.nodes import Node, Type
from pertcore.adapters.onnx.symbolic import Poly, only_atom
from pertcore.errors import CapabilityError
from pertcore.oracle import Array

# Made of a few integers, yet large: not worth keeping between two graphs.
GROWING = frozenset(("ConstantOfShape", "Range", "Expand", "Tile"))
# Bytes up to which it is worth while to look for an equal constant.
LARGEST_SHARED = 1 << 20
STAYING = GROWING | {"Scan", "Loop", "If"}


@dataclass
class Graph:
    """A graph under construction; a child sees and extends the values of its parent.

    A child's nodes may use the parent's values (they are the residuals). What a child emits from
    the parent's values alone, and is small (a shape, a reduction), is built in the parent.
    """

    parent: Graph | None = None
    # An inner graph of Scan, Loop or If: nothing of it is built, nor found again, outside.
    inner: bool = False
    nodes: list[Node] = field(default_factory=list)
    inputs: list[str] = field(default_factory=list)
    local: set[str] = field(default_factory=set)
    opset: int = 18
    straight: bool = False
    # What becomes of an operator without a rule: no graph, its own differences, or it stays.
    unruled: Literal["refuse", "difference", "keep"] = "refuse"
    differences: dict[str, tuple[str, int]] = field(default_factory=dict)
    # Versions of the other domains' operators, as the model imports them.
    imports: Mapping[str, int] = field(default_factory=dict)
    types: dict[str, Type] = field(default_factory=dict)
    constants: dict[str, Array] = field(default_factory=dict)
    known: dict[str, Array] = field(default_factory=dict)
    sources: dict[str, tuple[str, int]] = field(default_factory=dict)
    makers: dict[str, Node] = field(default_factory=dict)
    readers: dict[str, list[Node]] = field(default_factory=dict)
    # The tensors of a sequence, None for an optional that is empty: no node makes or reads either.
    sequences: dict[str, tuple[str, ...] | None] = field(default_factory=dict)
    numbers: Any = field(default_factory=count)
    # What no input has a part in, and how many numbers it takes; shared with children.
    fixed: set[str] = field(default_factory=set)
    spent: list[int] = field(default_factory=lambda: [0])
    _seen: dict[Any, tuple[str, ...]] = field(default_factory=dict)
    _interned: dict[Any, str] = field(default_factory=dict)

    def child(self, *, inner: bool = False) -> Graph:
        return Graph(
            parent=self,
            inner=inner,
            opset=self.opset,
            straight=self.straight,
            unruled=self.unruled,
            differences=self.differences,
            imports=self.imports,
            types=self.types,
            constants=self.constants,
            known=self.known,
            makers=self.makers,
            readers=self.readers,
            sequences=self.sequences,
            numbers=self.numbers,
            fixed=self.fixed,
            spent=self.spent,
            _interned=self._interned,
        )

    def input(self, name: str, dtype: Any, shape: Sequence[int | Poly]) -> str:
        """Declares a graph input; its own symbols get it as the place where they are read."""
        self.types[name] = Type(np.dtype(dtype), tuple(shape))
        self.inputs.append(name)
        self.local.add(name)
        self.locate(name)
        return name

    def locate(self, name: str) -> None:
        for axis, dim in enumerate(self.types[name].shape or ()):
            spelled = only_atom(dim) if isinstance(dim, Poly) else None
            if spelled is not None:
                self.sources.setdefault(spelled, (name, axis))

    def constant(self, value: Any) -> str:
        """Name of a constant; equal constants share one, unless they are large."""
        array = np.asarray(value, order="C")
        shared = array.dtype.kind != "O" and array.nbytes <= LARGEST_SHARED
        key = _content(array) if shared else None
        if shared and key in self._interned:
            return self._interned[key]
        name = self.fresh("const")
        self.constants[name] = array
        self.types[name] = Type(array.dtype, array.shape)
        if shared:
            self._interned[key] = name
        return name

    def fresh(self, stem: str) -> str:
        name = f"pc.{stem}.{next(self.numbers)}"
        return self.fresh(stem) if name in self.types else name

    def value(self, name: str) -> Array | None:
        """The constant behind a name, None where there is none."""
        return self.constants.get(name)

    def known_value(self, name: str) -> Array | None:
        """An integer tensor as objects (integers or symbols), None where it is not known."""
        if name in self.known:
            return self.known[name]
        constant = self.constants.get(name)
        if constant is not None and constant.dtype.kind in "iu" and constant.size <= values.LONGEST:
            return constant.astype(object)
        return None

    def emit(
        self,
        op: str,
        inputs: Sequence[str],
        attrs: Mapping[str, Any] | None = None,
        *,
        outputs: int = 1,
        domain: str = "",
        label: str = "",
    ) -> tuple[str, ...]:
        """Adds an operator, or finds that its result is there already; returns output names."""
        attributes = dict(attrs or {})
        names = tuple(inputs)
        if not self.sequences.keys().isdisjoint(names):
            return self._of_sequence(op, names, label)
        if self.parent is not None and not self.inner and self._belongs_to_parent(op, names):
            return self.parent.emit(op, names, attributes, outputs=outputs, domain=domain)
        strangers = [n for n in names if n and not self._sees(n)]
        if strangers:
            raise ValueError(f"{op}: {strangers[0]} is no value of this graph nor of its parent")
        key = (op, domain, names, outputs, _frozen(attributes))
        found = self._duplicate(key)
        if found is None:
            node = Node(
                op, names, [self.fresh(op) for _ in range(outputs)], attributes, domain, label
            )
            found = self._settle(node)
            self._seen[key] = found
        return found

    def sequence(self, items: Sequence[str] | None) -> str:
        """A name for a list of tensors, or for an optional that is empty (None)."""
        name = self.fresh("sequence")
        self.types[name] = Type(np.dtype(object), None)
        self.sequences[name] = None if items is None else tuple(items)
        return name

    def _of_sequence(self, op: str, names: tuple[str, ...], label: str) -> tuple[str, ...]:
        if op == "Identity":
            return names
        raise CapabilityError(
            f"{op} {label!r} takes a sequence, or an optional, whose tensors are only known at run "
            "time"
        )

    def source(self, symbol: str) -> tuple[str, int] | None:
        """Tensor and axis that a symbol can be read from, one of this graph's own if possible."""
        found = self.sources.get(symbol)
        return self.parent.source(symbol) if found is None and self.parent is not None else found

    def _sees(self, name: str) -> bool:
        own = name in self.local or name in self.constants
        return own or (self.parent is not None and self.parent._sees(name))

    def request(self, node: Node, index: int) -> str:
        """Name of an optional output of a node that is there already, added where it was not."""
        if self.parent is not None and node.outputs[0] not in self.local:
            return self.parent.request(node, index)
        if len(node.outputs) <= index:
            node.outputs.append(self.fresh(node.op))
            self._own(node, index, shapes.infer(self, node)[index])
        return node.outputs[index]

    def extend(self, node: Node, kind: Type) -> str:
        """One output more of a node that is there already."""
        if self.parent is not None and node.outputs[0] not in self.local:
            return self.parent.extend(node, kind)
        node.outputs.append(self.fresh(node.op))
        return self._own(node, -1, kind)

    def _own(self, node: Node, index: int, kind: Type) -> str:
        name = node.outputs[index]
        self.types[name] = kind
        self.local.add(name)
        self.makers[name] = node
        self.locate(name)
        return name

    def _belongs_to_parent(self, op: str, names: tuple[str, ...]) -> bool:
        if not self.local.isdisjoint(names):
            return False
        whole = op not in STAYING and all(self.types[n].dtype.kind in "iu" for n in names if n)
        return whole or op in ("Shape", "Size") or op.startswith("Reduce")

    def _duplicate(self, key: Any) -> tuple[str, ...] | None:
        found = self._seen.get(key)
        outside = None if self.inner else self.parent
        return outside._duplicate(key) if found is None and outside is not None else found

    def _settle(self, node: Node) -> tuple[str, ...]:
        """Simplifies, folds, or really adds the node."""
        kinds = None
        if not node.domain:
            if node.op in peepholes.RESHAPING:
                kinds, shape = shapes.infer(self, node), self.types[node.inputs[0]].shape
                if shape is not None and kinds[0].shape == shape:
                    return node.inputs[:1]
            shorter = peepholes.shorten(self, node)
            if shorter is not None:
                return shorter
            folded = folding.fold(self, node)
            if folded is not None:
                return tuple(self.constant(array) for array in folded)
        for name, kind in zip(node.outputs, kinds or shapes.infer(self, node), strict=True):
            self.types[name] = kind
        bounds.count_fixed(self, node)
        known = values.evaluate(self, node) if not node.domain else None
        if known is not None and all(isinstance(dim, int) for dim in known.flat):
            return (self.constant(known.astype(self.types[node.outputs[0]].dtype)),)
        if known is not None:
            self.known[node.outputs[0]] = known
        self.nodes.append(node)
        for name in dict.fromkeys(node.inputs):
            self.readers.setdefault(name, []).append(node)
        for name in node.outputs:
            self.local.add(name)
            self.makers[name] = node
            self.locate(name)
        return tuple(node.outputs)


def _content(array: Array) -> Any:
    """A key by which equal arrays are found, a hash in place of many bytes."""
    if array.nbytes < 64 or array.dtype.kind == "O":
        data = array.tobytes()
    else:
        data = sha256(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data).digest()
    return (array.dtype.str, array.shape, data)


def _frozen(value: Any) -> Any:
    if isinstance(value, dict):
        return tuple(sorted((k, _frozen(v)) for k, v in value.items()))
    if isinstance(value, list | tuple):
        return tuple(_frozen(v) for v in value)
    if isinstance(value, np.ndarray):
        return _content(value)
    return value if isinstance(value, int | float | str | bytes) or value is None else id(value)
