"""Figures for files and the clipboard. Imports matplotlib."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import numpy as np

from mmviewer.core.errors import MediaError
from mmviewer.core.figures.render import render
from mmviewer.core.figures.spec import ImageMapFigure, ScoreFigure
from mmviewer.core.media.image import display_copy
from mmviewer.core.types import Provenance
from mmviewer.engine.protocol import RenderFigure
from mmviewer.engine.routes import Call

_MOST_PIXELS = 24_000_000  # of a picture in a file; more is beyond any print

_log = logging.getLogger(__name__)


def render_figure(request: RenderFigure, call: Call) -> str | bytes:
    """Draw a figure; a picture goes into a file at its own resolution, not at that of the window."""
    call.progress.report(0, None, "Drawing")
    if request.path is None:
        return render(request.figure, request.provenance, dpi=request.dpi, caption=request.caption)
    figure = _with_original(request, call)
    call.progress.check()
    return render(figure, request.provenance, request.path, dpi=request.dpi, caption=request.caption)


def first_figure(request: None, call: Call) -> None:
    """Draw something small: the first figure of a process looks for fonts, of a machine for some seconds."""
    one = np.ones((1, 1), np.float32)
    render(ScoreFigure(("a",), one, one, ("a",), "softmax"), Provenance("", ""), dpi=30)


def _with_original(request: RenderFigure, call: Call) -> Any:
    figure = request.figure
    if not isinstance(figure, ImageMapFigure) or request.media is None:
        return figure
    if request.media.id != request.provenance.item_id or figure.pixels.shape[:2] == figure.geometry.source:
        return figure
    try:
        pixels = display_copy(call.workspace.media(request.media), _MOST_PIXELS).pixels
    except MediaError as error:  # the file has gone since: what the window shows is still true
        _log.info("the figure keeps the reduced picture", exc_info=error)
        return figure
    return figure if pixels is None else replace(figure, pixels=pixels)
