"""What a graph is made of: operators and the types of the tensors between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pertcore.adapters.onnx.symbolic import Poly


@dataclass(frozen=True)
class Type:
    """Element type and dimensions of a tensor; `shape` is None where even the rank is unknown."""

    dtype: np.dtype[Any]
    shape: tuple[int | Poly, ...] | None

    @property
    def floating(self) -> bool:
        return self.dtype.kind == "f"


@dataclass
class Node:
    """One operator; an absent input is the empty string, attributes are plain Python values."""

    op: str
    inputs: tuple[str, ...]
    outputs: list[str]
    attrs: dict[str, Any]
    domain: str = ""
    label: str = ""


def live_nodes(nodes: Sequence[Node], wanted: Sequence[str]) -> list[Node]:
    """The nodes that some wanted value depends on, in order."""
    needed = set(wanted)
    kept = []
    for node in reversed(nodes):
        if any(name in needed for name in node.outputs):
            needed.update(node.inputs)
            kept.append(node)
    return kept[::-1]
