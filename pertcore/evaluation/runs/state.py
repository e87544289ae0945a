"""A result without its points as plain JSON and back, bit for bit."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

from pertcore.oracle import Calls
from pertcore.result import AttackResult, Certificate, Stage, Transfer

NOUNS = {noun.__name__: noun for noun in (AttackResult, Calls, Certificate, Stage, Transfer)}


def encoded(value: Any) -> Any:
    """Plain JSON; arrays and nouns carry a tag. What is none of these becomes its text."""
    if is_dataclass(value) and type(value).__name__ in NOUNS:
        parts = {entry.name: encoded(getattr(value, entry.name)) for entry in fields(value)}
        return {"noun": type(value).__name__, "parts": parts}
    if isinstance(value, np.ndarray):
        return {"array": value.ravel().tolist(), "dtype": value.dtype.str, "shape": value.shape}
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, tuple):
        return {"tuple": [encoded(item) for item in value]}
    if isinstance(value, list):
        return [encoded(item) for item in value]
    if isinstance(value, dict):
        return {"dict": {str(key): encoded(item) for key, item in value.items()}}
    return value if value is None or isinstance(value, str | int | float) else str(value)


def decoded(value: Any) -> Any:
    """What `encoded` was given."""
    if isinstance(value, list):
        return [decoded(item) for item in value]
    if not isinstance(value, dict):
        return value
    if "noun" in value:
        parts = {name: decoded(part) for name, part in value["parts"].items()}
        return NOUNS[value["noun"]](**parts)
    if "array" in value:
        return np.array(value["array"], dtype=value["dtype"]).reshape(value["shape"])
    if "tuple" in value:
        return tuple(decoded(item) for item in value["tuple"])
    return {name: decoded(item) for name, item in value["dict"].items()}
