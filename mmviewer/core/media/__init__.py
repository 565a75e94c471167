"""Safe decoding of images, sounds and texts, and the geometry of preprocessing."""
