#!/bin/sh
# Runs every check: linters, types, import contracts and the whole test suite, setting up first where needed.
# Arguments go to pytest: sh packaging/test.sh tests/media -k crop
set -eu

# shellcheck source=packaging/common.sh
. "$(dirname -- "$0")/common.sh"
cd "$root"

ensure_libraries "$window_libraries
$sound_library"
[ -z "$lacking" ] || say "missing system libraries, some tests will fail or skip: sudo apt install $lacking"
if [ "$(uname -s)" = Linux ] && ! command -v xvfb-run >/dev/null 2>&1; then
    apt_install xvfb xauth || say "without xvfb the tests of a real window are skipped: sudo apt install xvfb xauth"
fi
ensure_environment test

failed=
check() { # name command...
    name=$1
    shift
    say "$name"
    "$@" || failed="$failed, $name"
}

# Tests run on Qt's offscreen platform; those that want a real window look for this display.
on_display() {
    if command -v xvfb-run >/dev/null 2>&1; then
        xvfb-run -a -s '-screen 0 1600x1000x24' "$@"
    else
        "$@"
    fi
}

bin=$venv/bin
check "ruff check" "$bin/ruff" check --quiet .
check "ruff format" "$bin/ruff" format --check --quiet .
check "mypy" "$bin/mypy"
check "import contracts" "$bin/lint-imports" --no-cache
[ -z "$failed" ] || say "failed so far: ${failed#, }"
# Two workers, each with one thread: more would want more memory than many machines have. What fails is tried once
# more and listed as RERUN: many tests race real processes and windows on whatever else the machine has to do.
OMP_NUM_THREADS=1
export OMP_NUM_THREADS
check "pytest" on_display "$bin/python" -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder --reruns 1 "$@"
[ -z "$failed" ] # the last line is pytest's; the exit code speaks for all
