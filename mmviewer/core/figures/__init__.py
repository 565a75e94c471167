"""Colour maps, overlays and exported figures."""
