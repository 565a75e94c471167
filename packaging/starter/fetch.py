"""Fetch the art and build the sprite cache: ``python packaging/starter/fetch.py --work FOLDER``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from recipe.fetch import FetchError, fetch_all
from recipe.sprites import build_cache


def main() -> int:
    """Parse the command line, fetch and build."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="work folder outside the repository")
    parser.add_argument("--processes", type=int, default=2, help="processes that render sprites")
    parser.add_argument("--only", nargs="+", default=[], metavar="STYLE", help="render these styles only")
    args = parser.parse_args()
    try:
        fetch_all(args.work)
    except FetchError as error:
        print(error, file=sys.stderr)
        return 1
    build_cache(args.work, args.processes, args.only)
    return 0


if __name__ == "__main__":
    sys.exit(main())
