"""Maps and how they are painted, as the widgets take them."""

from __future__ import annotations

from mmviewer.core.media.geometry import ImageGeometry, TimeGeometry
from mmviewer.core.session.state import LibraryItem, ViewOptions
from mmviewer.gui.view_model import ShownGrid, dimmed_twin, dimming, enlarge, grid_box, map_colors
from mmviewer.gui.widgets.map_layer import GridMap
from mmviewer.gui.widgets.painting import MapStyle
from mmviewer.gui.widgets.picture import Picture
from mmviewer.gui.widgets.time_map import TimeMap


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


def image_map(grid: ShownGrid | None) -> GridMap | None:
    """The map over a picture; None where it is of something else."""
    if grid is None or not isinstance(grid.geometry, ImageGeometry) or grid.values.ndim != 2:
        return None
    return GridMap(grid.values, grid_box(grid.geometry), grid.low, grid.high, enlarge)


def time_map(grid: ShownGrid | None) -> TimeMap | None:
    """The map along a sound; None where it is of something else."""
    if grid is None or not isinstance(grid.geometry, TimeGeometry) or grid.values.ndim != 1:
        return None
    return TimeMap(grid.values, grid.geometry.start, grid.geometry.step, grid.low, grid.high)


def across(
    own: ShownGrid | None, there: ShownGrid | None, cell: tuple[int, ...] | None
) -> tuple[int, ...] | None:
    """The cell of another map of the same item that lies at the middle of a cell of this one."""
    if cell is None:
        return None
    along, beside = time_map(own), time_map(there)
    if along is not None and beside is not None:
        index = beside.index_at(along.start + (cell[0] + 0.5) * along.step)
        return None if index is None else (index,)
    over, under = image_map(own), image_map(there)
    if over is None or under is None or len(cell) != 2:
        return None
    return under.cell_at(over.cell_rect((cell[0], cell[1])).center())
