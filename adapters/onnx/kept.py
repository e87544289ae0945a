"""What was built for a model, kept for the next oracle of the same content and options.

In this process alone. While an oracle lives, the next one shares all that it has; afterwards its
graphs are kept, and no session: one holds on to as much memory as its largest batch took.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from hashlib import sha256
from threading import Lock
from typing import Any, Protocol, Self, TypeVar
from weakref import ref

import onnx

from pertcore.adapters.onnx.apart import any_apart
from pertcore.adapters.onnx.select import Choice


class Rests(Protocol):
    """What is kept: `rested()` is the same without sessions."""

    def rested(self) -> Self: ...


Made = TypeVar("Made", bound=Rests)

# Models, and bytes of all of them, that are kept; the one used longest ago goes first.
MOST, MOST_BYTES = 8, 1 << 28

_LOCK = Lock()
# Bytes, what is alive, and what it rests as, by content and options.
_KEPT: OrderedDict[bytes, tuple[int, ref[Any], Any]] = OrderedDict()


def kept(
    model: onnx.ModelProto, choice: Choice, options: tuple[Any, ...], make: Callable[[], Made]
) -> Made:
    """What `make()` gave the last time for this model, choice and `options`, or gives now.

    An error is raised anew every time. Weights that lie apart are too many to be kept.
    """
    if any_apart(model):
        return make()
    content = model.SerializeToString(deterministic=True)
    size, key = len(content), _key(content, choice, options)
    with _LOCK:
        if key in _KEPT:
            return _woken(key)
    made = make()
    with _LOCK:
        _KEPT[key] = size, ref(made), made.rested()
        while len(_KEPT) > MOST or sum(size for size, *_ in _KEPT.values()) > MOST_BYTES:
            _KEPT.popitem(last=False)
    return made


def _woken(key: bytes) -> Any:
    """What is still alive, else a new one of what rests."""
    _KEPT.move_to_end(key)
    size, alive, resting = _KEPT[key]
    found = alive()
    if found is None:
        found = resting.rested()
        _KEPT[key] = size, ref(found), resting
    return found


def forget() -> None:
    """Keeps nothing any more."""
    with _LOCK:
        _KEPT.clear()


def _key(content: bytes, choice: Choice, options: tuple[Any, ...]) -> bytes:
    found = sha256(content)
    dims = [str(dim) for dim in choice.dims]
    named = (choice.input, dims, choice.dtype.str, choice.output, options)
    found.update(repr(named).encode())
    for name, array in sorted(choice.freeze.items()):
        found.update(repr((name, array.dtype.str, array.shape)).encode())
        found.update(array.tobytes())
    return found.digest()
