"""What if: hide a part of the input, change a word, switch heads off, and compare."""
