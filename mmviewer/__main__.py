"""``python -m mmviewer``."""

import sys

from mmviewer.cli import main

if __name__ == "__main__":
    sys.exit(main())
