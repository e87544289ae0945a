"""Messages of the Python API in the words of the command line: `task='x'` becomes `--task x`."""

from __future__ import annotations

import ast
import re

# keyword of the API -> flag; the rest of the message, values included, stays as it is
WORDS = (
    "attack", "norm", "eps", "bounds", "steps", "restarts", "loss", "step_size", "rel_step_size",
    "rel_alpha", "dither", "overshoot", "tolerance", "classes", "refine", "task", "decision",
    "threshold", "peak", "partition", "mean", "std", "input", "output", "weights", "freeze",
    "limit", "scale", "layout", "batch_size", "threads", "finite_differences", "deterministic",
    "input_shape", "mode", "straight_through", "method", "certify", "max_memory",
    "timeout", "rounds", "out", "resume",
)  # fmt: skip
OTHERS = {"rng": "--seed", "outputs": "--output", "wrt": "--input", "path": "--out", "model": ""}
FLAGS = {name: f"--{name.replace('_', '-')}" for name in WORDS} | OTHERS
PHRASES = {
    "freeze={name: array}": "--freeze NAME=FILE",
    ", or a callable loss(f, y) -> (value, cotangent)": "",
    " or a callable loss": "",
    "ensemble(..., reduce='logits')": "give one MODEL.onnx",
    "targeted=True": "--target",
    "give `pertcore.ensemble`": "give several MODEL.onnx",
    "and no y:": "and no --labels:",
    "an integer array": "integers in a .npy",
    "squared_error": "squared-error",
    "cross_entropy": "cross-entropy",
}
OWN = re.compile(r"--[a-z-]+ ")
SUBJECT = re.compile(r"(?P<name>x|y|mean|std|eps|partition|freeze)(?= has |: | given)")
VALUE = r"'[^']*'|\"[^\"]*\"|\([^)]*\)|\[[^\]]*\]|[^\s,;:)]*[^\s,;:).]|(?=\s|$|[,;:)])"
GIVEN = re.compile(rf"(?<![\w/.=])(?:--)?(?P<name>[a-z][a-z_-]*)=(?P<value>{VALUE})")
LISTED = re.compile(r"(?<=no such option; it has )[a-z_, ]+$")
UNDERSCORED = re.compile(rf"(?<![\w/.])({'|'.join(n for n in FLAGS if '_' in n)})(?![\w/.=])")


def as_flags(text: str) -> str:
    """The message with flags in place of keyword arguments; values are kept.

    A message that opens with a flag was written for the command line and is left alone.
    """
    if OWN.match(text):
        return text
    for phrase, spoken in PHRASES.items():
        text = text.replace(phrase, spoken)
    text = SUBJECT.sub(_subject, text, count=1) if SUBJECT.match(text) else text
    text = GIVEN.sub(_assigned, text)
    text = LISTED.sub(lambda found: re.sub(r"[a-z_]+", _named, found[0]), text)
    return UNDERSCORED.sub(_named, text)


def _subject(found: re.Match[str]) -> str:
    return {"x": "--inputs", "y": "--labels"}.get(found["name"]) or FLAGS[found["name"]]


def _named(found: re.Match[str]) -> str:
    return FLAGS.get(found[0], found[0])


def _assigned(found: re.Match[str]) -> str:
    flag = FLAGS.get(found["name"].replace("-", "_"))
    if flag is None:
        return found[0]
    if found["value"] == "None":
        return f"{flag} is not given"
    value = _written(found["value"])
    return f"{flag} {value}".strip()


def _written(value: str) -> str:
    """A Python value as it is typed in a shell; True is the flag alone."""
    try:
        read = ast.literal_eval(value)
    except (SyntaxError, ValueError):
        return value
    if read is True:
        return ""
    if isinstance(read, tuple | list):
        return ",".join(str(entry) for entry in read)
    return read if isinstance(read, str) else value
