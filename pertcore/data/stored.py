"""Arrays in .npy and .npz files, and how a key or column is named behind a colon."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np

from pertcore.errors import InputError
from pertcore.oracle import Array


def split_key(text: str, flag: str) -> tuple[Path | None, str | None]:
    """Path and key of "FILE" or "FILE:key"; the path is None for a glob that matches something."""
    path = Path(text)
    if path.exists():
        return path, None
    head, colon, key = text.rpartition(":")
    if colon and Path(head).is_file():
        return Path(head), key
    if matching(text):
        return None, None
    raise InputError(f"{flag} {text}: no such file or folder")


def matching(text: str) -> list[Path]:
    """Files that a glob such as "photos/*.png" matches, sorted; none for text without a star."""
    pattern = Path(text)
    if not set("*?[") & set(text):
        return []
    return sorted(Path(pattern.anchor).glob(str(pattern.relative_to(pattern.anchor))))


def load_array(path: Path, key: str | None, flag: str) -> Array:
    """The array of a .npy file, memory-mapped, or the one under `key` in a .npz file."""
    try:
        if path.suffix == ".npy":
            if key is not None:
                raise InputError(f"{flag} {path}:{key}: a .npy file has no keys, give {path}")
            return np.lib.format.open_memmap(path, mode="r")
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            return archive[_key(path, key, list(archive.files), flag)]
    except (ValueError, EOFError, OSError, zipfile.BadZipFile, KeyError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{flag} {path}: {_why(error)}") from None


def _key(path: Path, key: str | None, keys: list[str], flag: str) -> str:
    listed = ", ".join(keys) or "none"
    if key is None and len(keys) == 1:
        return keys[0]
    if key is None:
        raise InputError(f"{flag} {path}: holds several arrays, name one as {path}:KEY: {listed}")
    if key not in keys:
        raise InputError(f"{flag} {path}:{key}: no such array: {listed}")
    return key


def _why(error: Exception) -> str:
    if any(word in str(error) for word in ("Object arrays", "Python objects", "pickle")):
        return "holds Python objects (strings or ragged lists) or is no NumPy file: give numbers"
    first = (str(error).splitlines() or ["unreadable"])[0]
    return f"cannot be read as a NumPy file ({first})"
