#!/usr/bin/env bash
# Installs the oldest versions that setup.cfg allows, in a virtual environment of its own, and runs the tests with them.
#     benchmarks/oldest.sh [arguments of pytest]
set -euo pipefail
cd "$(dirname "$0")/.."
room="$(mktemp -d)"
trap 'rm -rf "$room"' EXIT
python3 -m venv "$room/venv"
. "$room/venv/bin/activate"
# Every `name>=1.2` in setup.cfg becomes `name==1.2`, which pip reads as 1.2.0 as well.
sed -n 's/^    \([A-Za-z.-]*\)>=\([0-9.]*\)$/\1==\2/p' setup.cfg | sort -u > "$room/oldest.txt"
cat "$room/oldest.txt"
pip install -c "$room/oldest.txt" -e ".[test]"
export OMP_NUM_THREADS=1
pytest -n 2 "$@"
