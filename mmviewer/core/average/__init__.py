"""The average map of many items: each map brought to one frame, their mean, and who differs from it."""
