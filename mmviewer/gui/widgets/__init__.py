"""NumPy in, signals out: widgets that know no session."""
