#!/bin/sh
# mypy sees the package as users do: built as a wheel and unpacked, so that mapped folders resolve.
set -eu
bin=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$bin/python" - "$work" <<'PY'
import sys, shutil, pathlib
target = pathlib.Path(sys.argv[1]) / "pertcore"
shutil.copytree("pertcore", target)
for folder in ("adapters", "kernels"):
    shutil.copytree(folder, target / folder)
PY
"$bin/mypy" --config-file pyproject.toml --cache-dir .mypy_cache "$work/pertcore"
