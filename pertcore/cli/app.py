"""The console script: runs a command and turns whatever happens into one line and an exit code.

0 done; 1 refused by its own checks, or an error of pertcore itself; 2 wrong use or bad input;
130 stopped by Ctrl-C. PERTCORE_DEBUG=1 shows the traceback behind the line.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from pertcore.cli.flags import as_flags
from pertcore.errors import InputError, ModelError, PertcoreError

DONE, REFUSED, WRONG_USE, STOPPED = 0, 1, 2, 130
FAULT = "(a fault of pertcore; PERTCORE_DEBUG=1 shows where)"


def main(argv: Sequence[str] | None = None) -> int:
    """Run `pertcore argv...` (default: the process's arguments); returns the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    # Arrow's other allocators keep what they are given back; it is read when Arrow is imported.
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    try:
        from pertcore.cli.commands import execute

        return execute(arguments or ["--help"])
    except (Exception, KeyboardInterrupt) as error:
        # the last boundary: a user never sees a traceback
        if os.environ.get("PERTCORE_DEBUG"):
            raise
        code, text = told(error)
        sys.stderr.write(f"pertcore: {text}\n")
        return code


def told(error: BaseException) -> tuple[int, str]:
    """The exit code of an error and the one line that is said of it."""
    code, text = REFUSED, f"{type(error).__name__}: {error} {FAULT}"
    if isinstance(error, KeyboardInterrupt):
        code, text = STOPPED, "stopped"
    elif isinstance(error, PertcoreError):
        code = WRONG_USE if isinstance(error, InputError | ModelError) else REFUSED
        text = as_flags(str(error))
    elif isinstance(error, ModuleNotFoundError):
        text = _missing(error)
    elif isinstance(error, MemoryError):
        text = "out of memory: give a smaller --batch-size"
    elif isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        text = f"{where}{error.strerror or error}"
    return code, " ".join(text.split())


def _missing(error: ModuleNotFoundError) -> str:
    if error.name is None or error.name.startswith("pertcore"):
        return f"{error} {FAULT}"
    return f"needs {error.name}: pip install 'pertcore[onnx,cli]'"


if __name__ == "__main__":
    sys.exit(main())
