"""Indexing: from files to vectors in a collection, with decoding on processes ahead of the device."""
