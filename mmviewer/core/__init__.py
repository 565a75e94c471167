"""What mmviewer computes, without Qt: usable from a script."""
