#!/usr/bin/env bash
# Runs the tests with the oldest releases that setup.cfg allows, with some between, and with the newest there are.
#     benchmarks/oldest.sh [oldest|middle|newest] [arguments of pytest]
# Each has a virtual environment of its own. PYTHON chooses the interpreter; the oldest is python3.10.
set -euo pipefail
cd "$(dirname "$0")/.."
point="${1:-oldest}"
shift || true
room="$(mktemp -d)"
trap 'rm -rf "$room"' EXIT
case "$point" in
    # Every `name>=1.2` in setup.cfg becomes `name==1.2`, which pip reads as 1.2.0 as well.
    oldest) sed -n 's/^    \([A-Za-z0-9._-]*\)>=\([0-9.]*\)$/\1==\2/p' setup.cfg | sort -u ;;
    middle) printf '%s\n' torch==2.9.1 torchvision==0.24.1 timm==1.0.20 numpy==2.1.3 ;;
    newest) : ;;
    *) echo "oldest, middle or newest, not $point" >&2; exit 2 ;;
esac > "$room/constraints.txt"
cat "$room/constraints.txt"
default=python3
[ "$point" = oldest ] && default=python3.10
"${PYTHON:-$default}" -m venv "$room/venv"
. "$room/venv/bin/activate"
pip install -c "$room/constraints.txt" -e ".[test]"
python -c "import sys, torch, torchvision, timm, numpy; print(sys.version.split()[0], torch.__version__, torchvision.__version__, timm.__version__, numpy.__version__)"
export OMP_NUM_THREADS=1
python -m pytest "$@"
