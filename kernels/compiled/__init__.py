"""The Numba version of each kernel, compiled on first use and kept on disk.

Numba keeps compiled code beside the source or in the user's cache folder. Where neither can be
written (a read-only installation without a home) it would refuse; then a private folder that
lasts as long as the temporary files is named, unless NUMBA_CACHE_DIR names one.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def _writable(folder: Path) -> bool:
    existing = next(place for place in (folder, *folder.parents) if place.exists())
    return os.access(existing, os.W_OK)


def _cache_folder() -> str | None:
    """The folder to name, or None where Numba finds one by itself."""
    user = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")  # noqa: PTH111
    if "NUMBA_CACHE_DIR" in os.environ or any(map(_writable, (Path(__file__).parent, Path(user)))):
        return None
    return tempfile.mkdtemp(prefix="pertcore-kernels-")


if (folder := _cache_folder()) is not None:
    os.environ["NUMBA_CACHE_DIR"] = folder
