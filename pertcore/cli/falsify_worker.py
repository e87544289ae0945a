"""The process behind `pertcore falsify`: one property of one model, the answer as a line of JSON.

`python -m pertcore.cli.falsify_worker '{"model": ..., "spec": ..., ...}'`, keywords of
`pertcore.falsify`. It is a process of its own so that what hangs or crashes inside of a library
can be ended and named.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from typing import Any

from pertcore.cli.app import told


def answer(given: dict[str, Any], started: float) -> dict[str, Any]:
    """What became of the search; `code` is that of an error, else 0."""
    try:
        from pertcore.falsification.run import falsify

        gone = time.perf_counter() - started
        found = falsify(**given | {"timeout": max(given["timeout"] - gone, 1e-3)})
    except Exception as error:
        if os.environ.get("PERTCORE_DEBUG"):
            raise
        code, text = told(error)
        return {"verdict": "error", "code": code, "said": text}
    return {
        "verdict": found.verdict,
        "code": 0,
        "text": found.text(),
        "margin": found.witness.margin if found.witness else None,
        "rounds": found.rounds,
        "notes": found.notes,
    }


def _end_with_parent() -> None:
    """Standard input closes when the command that started this process is gone."""
    sys.stdin.buffer.read()
    os._exit(1)


def main() -> None:
    started = time.perf_counter()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    line = json.dumps(answer(json.loads(sys.argv[1]), started))
    sys.stdout.write(f"\n{line}\n")
    sys.stdout.flush()
    os._exit(0)  # the libraries take long to leave in good order


if __name__ == "__main__":
    main()
