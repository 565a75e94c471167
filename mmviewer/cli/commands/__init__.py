"""The commands, one file each, found by scanning this folder: `add` declares one, `run` carries it out."""
