"""Line drawings with flat colour, made from a drawing in one ink and the colours of another drawing."""

from __future__ import annotations

import cv2
import numpy as np

_SOLID = 90  # alpha above which a pixel is ink
_MIN_AREA = 24
_MIN_FILLED = 0.12  # share of the sprite's box that must be closed areas; less is a drawing of open lines


def fill_lines(lines: np.ndarray, colours: np.ndarray) -> np.ndarray | None:
    """The line drawing with every closed area filled flat.

    Parameters
    ----------
    lines
        uint8 [S, S, 4], premultiplied, black ink on nothing.
    colours
        uint8 [S, S, 4], premultiplied: another drawing of the same thing. An area takes the median colour
        at its place there, or the whole drawing's where nothing is drawn there.

    Returns
    -------
    ndarray or None
        uint8 [S, S, 4], premultiplied; None when hardly any area is closed.
    """
    alpha = lines[..., 3]
    count, areas, stats, _ = cv2.connectedComponentsWithStats(
        (alpha < _SOLID).astype(np.uint8), connectivity=4
    )
    border = set(np.concatenate([areas[0], areas[-1], areas[:, 0], areas[:, -1]]).tolist())
    opaque = colours[..., 3] > 200
    if opaque.sum() < _MIN_AREA:
        return None
    fallback = np.median(colours[opaque][:, :3], axis=0)
    filled = np.zeros((*alpha.shape, 3), np.float32)
    closed = np.zeros(alpha.shape, bool)
    for area in range(1, count):
        if area in border or stats[area, cv2.CC_STAT_AREA] < _MIN_AREA:
            continue
        inside = areas == area
        painted = inside & opaque
        few = painted.sum() < 0.3 * inside.sum()
        filled[inside] = fallback if few else np.median(colours[painted][:, :3], axis=0)
        closed |= inside
    if closed.mean() < _MIN_FILLED:
        return None
    # Under the soft inner edge of a line lies the area's own colour, so that no light seam shows.
    grown = cv2.dilate(closed.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool)
    spread = cv2.dilate(filled, np.ones((3, 3), np.uint8))
    under = np.where(closed[..., None], filled, spread * grown[..., None])
    cover = alpha[..., None].astype(np.float32) / 255
    rgb = lines[..., :3] + under * (1 - cover)
    whole = np.where(grown, 255, alpha)[..., None]
    return np.dstack([np.minimum(rgb.round(), whole), whole]).astype(np.uint8)
