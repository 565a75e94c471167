"""Nearest neighbours of a query among up to a million vectors, and what a query can be made of."""
