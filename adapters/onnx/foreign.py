"""Operators of ONNX Runtime and of ONNX-ML inside a model: which are taken, advice on the rest."""

from __future__ import annotations

from collections.abc import Iterable

import onnx

from pertcore.adapters.onnx import runtime
from pertcore.adapters.onnx.inspection import MISPLACED, inner_graphs

RUNTIME = "com.microsoft"
ADVICE = {
    "com.microsoft.nchwc": "the model was saved after ONNX Runtime laid it out for one machine: "
    "give the model before that (optimisation level ORT_ENABLE_EXTENDED or lower)",
    "ai.onnx.ml::ZipMap": "a dictionary has no derivative: export with zipmap=False",
}


def taken(op: str, domain: str) -> bool:
    """Whether an operator that is not written in others may stay in the graph as it is."""
    refused = domain in ADVICE or f"{domain}::{op}" in ADVICE
    return not refused and runtime.runs(op, domain)


def misplaced(node: onnx.NodeProto, opset: int) -> bool:
    """Whether a node of ONNX's domain is one of ONNX Runtime's own."""
    if node.op_type not in MISPLACED or node.domain not in ("", "ai.onnx"):
        return False
    try:
        onnx.defs.get_schema(node.op_type, opset, "")
    except onnx.defs.SchemaError:
        return True
    return False


def adopted(model: onnx.ModelProto, opset: int) -> onnx.ModelProto:
    """The model with ONNX Runtime's own operators in its own domain."""
    if not any(misplaced(node, opset) for node in model.graph.node):
        return model
    made = onnx.ModelProto()
    made.CopyFrom(model)
    for node in made.graph.node:
        if misplaced(node, opset):
            node.domain = RUNTIME
    if RUNTIME not in {entry.domain for entry in made.opset_import}:
        made.opset_import.append(onnx.helper.make_opsetid(RUNTIME, 1))
    return made


def pruned(model: onnx.ModelProto, *outputs: str) -> onnx.ModelProto:
    """The part of the model that some of its outputs need; the rest is neither judged nor run."""
    kept = needed(model.graph.node, outputs)
    if len(kept) == len(model.graph.node):
        return model
    made = onnx.ModelProto()
    made.CopyFrom(model)
    given = [value for value in model.graph.output if value.name in outputs]
    del made.graph.node[:]
    made.graph.node.extend(kept)
    del made.graph.output[:]
    made.graph.output.extend(given)
    return made


def needed(nodes: Iterable[onnx.NodeProto], outputs: Iterable[str]) -> list[onnx.NodeProto]:
    """The nodes that some outputs depend on, in order; what inner graphs use counts as used."""
    wanted, kept = set(outputs), []
    for node in reversed(list(nodes)):
        if wanted.intersection(node.output):
            wanted.update(used(node))
            kept.append(node)
    return kept[::-1]


def used(node: onnx.NodeProto) -> set[str]:
    """What a node reads, inside its inner graphs too."""
    names = set(node.input)
    for attribute in node.attribute:
        for graph in inner_graphs(attribute):
            names.update(value.name for value in graph.output)
            names.update(*(used(inner) for inner in graph.node))
    return names


def advice(kinds: Iterable[str]) -> str:
    """What else to do about operators (`domain::name`), empty where nothing is known."""
    found = [ADVICE.get(kind) or ADVICE.get(kind.partition("::")[0]) for kind in kinds]
    return "; ".join(dict.fromkeys(text for text in found if text))
