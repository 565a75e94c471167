"""One file per projection method."""
