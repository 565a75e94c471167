"""Groups of items in a space, and what to call them."""
