"""How maps are painted, as the widgets take it."""

from __future__ import annotations

from mmviewer.core.session.state import LibraryItem, ViewOptions
from mmviewer.gui.view_model import dimmed_twin, dimming, map_colors
from mmviewer.gui.widgets.painting import MapStyle
from mmviewer.gui.widgets.picture import Picture


def map_style(options: ViewOptions, signed: bool) -> MapStyle:
    """The style for a map under the session's options."""
    return MapStyle(
        map_colors(options, signed),
        dimming(options),
        options.interpolation,
        options.show_map,
        options.show_grid,
    )


def picture_of(item: LibraryItem) -> Picture | None:
    """The item's picture for the screen, or None if it has none."""
    pixels = item.media.pixels
    if pixels is None or 0 in pixels.shape:
        return None
    return Picture(pixels, item.media.size, dimmed_twin)
