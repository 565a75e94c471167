#!/bin/sh
# Starts mmviewer, setting it up first where needed.
#
#   sh packaging/run.sh                      the window, with the sample session
#   sh packaging/run.sh photo.jpg talk.wav   the window, with these files
#   sh packaging/run.sh caption photo.jpg    a command without a window (see: run.sh --help)
set -eu

# shellcheck source=packaging/common.sh
. "$(dirname -- "$0")/common.sh"

has_display() {
    [ "$(uname -s)" != Linux ] || [ -n "${DISPLAY:-}${WAYLAND_DISPLAY:-}${QT_QPA_PLATFORM:-}" ]
}

if [ $# -eq 0 ]; then
    set -- gui --samples
elif [ -e "$1" ]; then
    case $1 in
        */* | *.*) set -- gui "$@" ;; # files to look at, not a command of the same name
    esac
fi

if [ "$1" = gui ]; then
    has_display || stop "there is no display (neither DISPLAY nor WAYLAND_DISPLAY is set), so no window can open." \
        "Without a window: sh packaging/run.sh classify | caption | transcribe | explain | embed | models | doctor," \
        "each with --help."
    ensure_libraries "$window_libraries"
    [ -z "$lacking" ] || stop "the window needs system libraries that are missing." \
        "Install them and start again: sudo apt install $lacking"
    ensure_libraries "$sound_library"
    [ -z "$lacking" ] || say "sounds cannot be played: PortAudio is missing (sudo apt install $lacking)"
fi

ensure_environment run
exec "$venv/bin/mmviewer" "$@"
