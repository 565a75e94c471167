# Shared by run.sh and test.sh: finds Python, keeps .venv up to date, looks for system libraries.
# Everything is said on stderr, so that the output of a headless command stays clean.
# shellcheck shell=sh disable=SC2034 # the scripts that read this file use its variables

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
venv=$root/.venv
PATH=$PATH:/usr/sbin:/sbin # ldconfig is not on every user's path

say() { printf '· %s\n' "$*" >&2; }

stop() {
    printf 'mmviewer: %s\n' "$*" >&2
    exit 1
}

# --- Python -----------------------------------------------------------------------------------------
# Prints the first Python that is new enough. MMVIEWER_PYTHON names another one.
find_python() {
    for candidate in ${MMVIEWER_PYTHON:+"$MMVIEWER_PYTHON"} python3.13 python3.12 python3.11 python3 python; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
            command -v "$candidate"
            return
        fi
    done
    return 1
}

# What the environment was made from; another text means: install again.
fingerprint() { # python extra
    sum=$(cksum <"$root/pyproject.toml")
    version=$("$1" -c 'import sys; print(sys.version.split()[0])') || return 1
    printf '%s %s %s %s\n' "$sum" "$version" "$2" "$root"
}

is_current() { # extra
    [ -x "$venv/bin/python" ] && [ -f "$venv/mmviewer.stamp" ] || return 1
    wanted=$(fingerprint "$venv/bin/python" "$1" 2>/dev/null) || return 1
    [ "$(cat "$venv/mmviewer.stamp")" = "$wanted" ]
}

make_venv() {
    python=$(find_python) || stop "Python 3.11 or newer is needed and was not found." \
        "Install it (Debian, Ubuntu: apt install python3 python3-venv) or name it: MMVIEWER_PYTHON=/path/to/python3."
    if ! "$python" -c 'import ensurepip, venv' >/dev/null 2>&1; then
        package=$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
        apt_install "$package" || stop "$python cannot make an environment. Install $package, then start again."
    fi
    say "making .venv with $("$python" --version)"
    "$python" -m venv --clear "$venv" >&2 || stop "the environment $venv could not be made (see above)."
}

# Installs the project into .venv unless nothing changed since. The extra is "run" or "test"; an environment
# made for tests serves for running as well.
ensure_environment() { # extra
    if is_current "$1" || { [ "$1" = run ] && is_current test; }; then
        return
    fi
    # An environment of a Python that is gone, or of a folder that was moved, cannot be mended.
    if ! grep -qsF " $root" "$venv/mmviewer.stamp" || ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
        make_venv
    fi
    printf 'unfinished %s\n' "$root" >"$venv/mmviewer.stamp"
    quiet=-q
    [ ! -t 2 ] || quiet=
    target=$root
    [ "$1" = run ] || target="${root}[$1]"
    say "installing mmviewer and its libraries into .venv (the first time downloads some GB and takes minutes)"
    # shellcheck disable=SC2086 # $quiet is one word or none
    "$venv/bin/python" -m pip install $quiet -e "$target" >&2 ||
        stop "the installation did not finish (see above). Check the network and the free disk space, then start again."
    fingerprint "$venv/bin/python" "$1" >"$venv/mmviewer.stamp"
}

# --- system libraries ---------------------------------------------------------------------------------
# library, Debian package: what Qt's wheels load but do not carry
window_libraries='
libEGL.so.1 libegl1
libGL.so.1 libgl1
libdbus-1.so.3 libdbus-1-3
libfontconfig.so.1 libfontconfig1
libxkbcommon.so.0 libxkbcommon0
libxkbcommon-x11.so.0 libxkbcommon-x11-0
libX11-xcb.so.1 libx11-xcb1
libxcb-cursor.so.0 libxcb-cursor0
libxcb-icccm.so.4 libxcb-icccm4
libxcb-image.so.0 libxcb-image0
libxcb-keysyms.so.1 libxcb-keysyms1
libxcb-randr.so.0 libxcb-randr0
libxcb-render-util.so.0 libxcb-render-util0
libxcb-shape.so.0 libxcb-shape0
libxcb-xkb.so.1 libxcb-xkb1'
sound_library='libportaudio.so.2 libportaudio2'

# Prints the packages of the table that this machine lacks. Asks the loader, not the package manager, so that
# it holds on any Linux.
missing_packages() { # table
    present=$(ldconfig -p 2>/dev/null) || return 0
    printf '%s\n' "$1" | while read -r library package; do
        case $present in
            *"$library"*) ;;
            *) [ -z "$package" ] || printf '%s ' "$package" ;;
        esac
    done
}

apt_install() { # packages
    command -v apt-get >/dev/null 2>&1 || return 1
    as_root=
    if [ "$(id -u)" -ne 0 ]; then
        sudo -n true >/dev/null 2>&1 || return 1
        as_root='sudo -n'
    fi
    say "installing system packages: $*"
    log=$(mktemp) || return 1
    # The package lists of a fresh image are empty or old: fetch them only when the first try fails.
    # shellcheck disable=SC2086 # $as_root is two words or none
    for lists in present fetched; do
        [ "$lists" = present ] || $as_root apt-get update >>"$log" 2>&1 || true
        $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@" \
            >>"$log" 2>&1 && rm -f "$log" && return 0
    done
    tail -n 3 "$log" >&2
    rm -f "$log"
    return 1
}

# Installs what of a table is missing; what cannot be installed is left in $lacking.
ensure_libraries() { # table
    lacking=
    [ "$(uname -s)" = Linux ] || return 0
    missing=$(missing_packages "$1")
    [ -n "$missing" ] || return 0
    # shellcheck disable=SC2086 # a list of packages
    apt_install $missing || lacking=$missing
}
