"""A sound tower beside an image and a text tower."""
