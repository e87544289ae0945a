"""The text of a VNN-LIB file in pieces: whole declarations and simple atoms at once, for speed."""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Iterator
from pathlib import Path

from pertcore.errors import InputError

MOST_BYTES = 1 << 27
MOST_DIGITS, MOST_EXPONENT = 800, 400

NUMBER = r"[-+]?(?:\d++(?:\.\d*+)?|\.\d++)(?:[eE][-+]?\d++)?"
WORTH = re.compile(NUMBER)
EXPONENT = re.compile(r"[eE]([-+]?\d+)")
VARIABLE = re.compile(r"([XY])_(\d{1,9})")
# Comments inside an atom, or other spellings, go the slow way through its parentheses and words.
TOKENS = re.compile(
    r"\s++|;[^\n]*+"
    r"|\(\s*+declare-const\s++(?P<declared>[XY])_(?P<index>\d{1,9})\s++Real\s*+\)"
    r"|\(\s*+(?P<relation><=|>=|<|>)\s++(?P<letter>[XY])_(?P<place>\d{1,9})\s++"
    rf"(?:(?P<number>{NUMBER})|(?P<letter2>[XY])_(?P<place2>\d{{1,9}}))\s*+(?P<atom>\))"
    r"|(?P<open>\()|(?P<close>\))|(?P<word>[^\s();]++)"
)


class Text:
    """The text of a property with its name, for errors that give the line."""

    def __init__(self, text: str, name: str) -> None:
        self.text, self.name = text, name

    def tokens(self) -> Iterator[re.Match[str]]:
        """Every match but space and comments."""
        return (match for match in TOKENS.finditer(self.text) if match.lastgroup)

    def error(self, place: int, problem: str) -> InputError:
        line = self.text.count("\n", 0, place) + 1
        return InputError(f"{self.name}, line {line}: {problem}")

    def checked(self, number: str, place: int) -> str:
        """The number, short enough for exact arithmetic."""
        exponent = EXPONENT.search(number)
        if len(number) > MOST_DIGITS or (
            exponent and (len(exponent[1]) > 5 or abs(int(exponent[1])) > MOST_EXPONENT)
        ):
            raise self.error(
                place,
                f"the number {number[:40]} has more than {MOST_DIGITS} digits or an exponent "
                f"beyond {MOST_EXPONENT}",
            )
        return number


def read_text(source: str | Path) -> Text:
    """The text of a .vnnlib file, or of one compressed by gzip, whatever its name.

    Raises InputError for what is no such file, or holds more than 128 MiB.
    """
    path = Path(source)
    if not path.is_file():
        raise InputError(f"property {str(source)!r}: no such file")
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    try:
        with gzip.open(path) if packed else path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except (EOFError, OSError, zlib.error) as error:
        raise InputError(f"property {path.name}: cannot be read: {error}") from error
    if len(content) > MOST_BYTES:
        raise InputError(f"property {path.name}: more than {MOST_BYTES >> 20} MiB of text")
    try:
        return Text(content.decode("utf-8"), path.name)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InputError(f"{path.name}, line {line}: this is not text") from error
