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
    except ModuleNotFoundError as error:
        return _fail(error, REFUSED, _missing(error))
    try:
        return execute(arguments or ["--help"])
    except KeyboardInterrupt as error:
        return _fail(error, STOPPED, "stopped")
    except (InputError, ModelError) as error:
        return _fail(error, WRONG_USE, as_flags(str(error)))
    except PertcoreError as error:
        return _fail(error, REFUSED, as_flags(str(error)))
    except ModuleNotFoundError as error:
        return _fail(error, REFUSED, _missing(error))
    except MemoryError as error:
        return _fail(error, REFUSED, "out of memory: give a smaller --batch-size")
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return _fail(error, REFUSED, f"{where}{error.strerror or error}")
    except Exception as error:  # noqa: BLE001  (the last boundary: a user never sees a traceback)
        return _fail(error, REFUSED, f"{type(error).__name__}: {error} {FAULT}")


def _missing(error: ModuleNotFoundError) -> str:
    if error.name is None or error.name.startswith("pertcore"):
        return f"{error} {FAULT}"
    return f"needs {error.name}: pip install 'pertcore[onnx,cli]'"


def _fail(error: BaseException, code: int, text: str) -> int:
    if os.environ.get("PERTCORE_DEBUG"):
        raise error
    sys.stderr.write(f"pertcore: {' '.join(text.split())}\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
