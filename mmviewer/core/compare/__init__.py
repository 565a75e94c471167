"""Maps side by side: which cells a matrix has, on which scales they may be compared, and their making."""
