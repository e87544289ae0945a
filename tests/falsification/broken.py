"""Broken properties and models, each from its number: cut, scrambled, with other numbers."""

import gzip
import re

import numpy as np
import onnx

from tests.adapters.onnx import test_control
from tests.adapters.onnx.models import small_net
from tests.adapters.onnx.mutations import mutated
from tests.falsification.nets import spec

NUMBERS = ("1e999", "-1e-999", "1e400", "0.1", "1e-45", "nan", "inf", "-", "1e", "3.5.1", "9" * 900)
WORDS = (
    "(", ")", "and", "or", "not", "<=", ">=", "<", ">", "=", "+", "-", "*", "/", "X_0", "X_99",
    "Y_0", "Y_7", "X_1_2", "assert", "(assert", "declare-const", "Real", "Int", "; ", "()",
    "\x00", "\u00e9",
)  # fmt: skip
CONDITIONS = (
    "(<= Y_0 0.1)",
    "(or (and (<= Y_0 Y_1) (>= Y_2 0)) (and (>= Y_0 Y_2)))",
    "(and (>= (+ Y_0 (* 2 Y_1)) X_0) (< (- Y_2) 3))",
    "(or (<= (* Y_0 Y_0) 0.5) (>= (/ X_0 (+ 2 X_1)) 0.1) (= Y_1 Y_1))",
)


def models(rng):
    """A small network, or one with control flow, whose inputs count as `whole` says."""
    nets = [small_net(batch=1), small_net(), *test_control.MODELS.values()]
    net = nets[int(rng.integers(len(nets)))]
    return onnx.ModelProto.FromString(net.SerializeToString())


def count(values):
    sizes = []
    for entry in values:
        dims = [d.dim_value or 1 for d in entry.type.tensor_type.shape.dim]
        sizes.append(int(np.prod(dims)))
    return sum(sizes)


def whole(net, rng):
    """A property that fits the model."""
    n, m = count(net.graph.input), max(count(net.graph.output), 3)
    box = [("-1", "1") if rng.integers(4) else ("0.1", "0.1") for _ in range(n)]
    return spec(box, m, CONDITIONS[int(rng.integers(len(CONDITIONS)))])


def scrambled(text, rng):
    """Some words of a property exchanged, doubled, dropped or replaced; most near its end, where
    the conditions are."""
    words = re.findall(r"[()]|[^\s()]+|\s+", text)
    for _ in range(rng.integers(1, 4)):
        reach = len(words) if rng.integers(2) else min(60, len(words))
        place = len(words) - 1 - int(rng.integers(reach))
        kind = rng.integers(5)
        if kind == 0:
            del words[place]
        elif kind == 1:
            words.insert(place, words[place])
        elif kind == 2:
            words[place] = str(rng.choice(NUMBERS))
        elif kind == 3:
            words[place] = str(rng.choice(WORDS))
        else:
            other = int(rng.integers(len(words)))
            words[place], words[other] = words[other], words[place]
    return "".join(words)


def bent(content, rng):
    """Bytes with some bits turned, or an end cut off."""
    if rng.integers(2):
        return content[: int(rng.integers(len(content)))]
    changed = bytearray(content)
    for _ in range(rng.integers(1, 6)):
        changed[int(rng.integers(len(changed)))] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def broken(number, folder, seed=0):
    """Writes broken pair `number`; returns the paths of model and property."""
    rng = np.random.default_rng([seed, number, 7])
    net = models(rng)
    model, file = folder / f"{number}.onnx", folder / f"{number}.vnnlib"
    text = whole(net, rng)
    content = text.encode()
    kind = rng.integers(4)
    if kind == 0:  # the same network as `mutated` draws: its first number chooses it
        model.write_bytes(mutated(number, seed, lambda _: net))
    else:
        model.write_bytes(net.SerializeToString())
    if kind in (1, 2):
        content = scrambled(text, rng).encode()
    elif kind == 3:
        packed = rng.integers(2)
        content = bent(gzip.compress(content) if packed else content, rng)
    file.write_bytes(content)
    return model, file
