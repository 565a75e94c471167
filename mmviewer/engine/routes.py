"""Which lane runs a request, and which function answers it.

Functions are named, not imported: a handler of the model lane pulls in torch, and the media lane shall
answer while torch is still being imported.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mmviewer.core.progress import Progress
from mmviewer.engine import protocol as ask

if TYPE_CHECKING:
    from mmviewer.engine.workspace import Workspace


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """What a handler receives beside its request.

    Parameters
    ----------
    workspace : Workspace
        Loaded models and caches, shared by all lanes.
    progress : Progress
        Reports to the client; raises `Cancelled` at its checks.
    partial : callable
        Sends one partial value.
    """

    workspace: Workspace
    progress: Progress
    partial: Callable[[Any], None]


Handler = Callable[[Any, Call], Any]


@dataclass(frozen=True, slots=True)
class Route:
    """How a request is answered.

    Parameters
    ----------
    lane : str
        Requests of one lane run in order; lanes run side by side. See also `lane_of`.
    function : str
        "module:function".
    doing : str
        Completes "Something went wrong while ...".
    retry : bool
        Whether it may run again from the start after memory ran out and caches were freed.
    """

    lane: str
    function: str
    doing: str
    retry: bool = False

    def handler(self) -> Handler:
        """Import and return the function."""
        module, _, name = self.function.partition(":")
        handler: Handler = getattr(importlib.import_module(module), name)
        return handler


MODEL_LANE = "model"
SPEECH_LANE = "speech"
BULK_LANE = "bulk"
FIGURE_LANE = "figure"
EARLY_LANES = frozenset({"media", FIGURE_LANE})
"""Lanes that import no torch and so need not wait until the model lane has."""
_FEW = 16  # items that the model lane takes; more would keep a caption waiting

_MEDIA = "mmviewer.engine.handlers_media"
_MODEL = "mmviewer.engine.handlers_model"
_EXPLAIN = "mmviewer.engine.handlers_explain"
_SPACE = "mmviewer.engine.handlers_space"
_FIGURE = "mmviewer.engine.handlers_figure"

ROUTES: Mapping[type[ask.Request], Route] = {
    ask.OpenMedia: Route("media", f"{_MEDIA}:open_files", "opening files"),
    ask.OpenText: Route("media", f"{_MEDIA}:open_text", "taking a text in"),
    ask.Spectrogram: Route("media", f"{_MEDIA}:spectrogram", "computing a spectrogram", retry=True),
    ask.RenderFigure: Route(FIGURE_LANE, f"{_FIGURE}:render_figure", "drawing a figure", retry=True),
    ask.ListModels: Route(MODEL_LANE, f"{_MODEL}:list_models", "listing models"),
    ask.LoadModel: Route(MODEL_LANE, f"{_MODEL}:load_model", "loading a model", retry=True),
    ask.UnloadModel: Route(MODEL_LANE, f"{_MODEL}:unload_model", "unloading a model"),
    ask.Generate: Route(MODEL_LANE, f"{_MODEL}:generate", "generating text", retry=True),
    ask.Tokenize: Route(MODEL_LANE, f"{_MODEL}:tokenize", "splitting a text into tokens"),
    ask.Explain: Route(MODEL_LANE, f"{_EXPLAIN}:explain", "computing maps", retry=True),
    ask.ExploreHeads: Route(
        MODEL_LANE, f"{_EXPLAIN}:explore_heads", "computing the maps of heads", retry=True
    ),
    ask.Classify: Route(MODEL_LANE, f"{_SPACE}:classify", "scoring labels", retry=True),
    ask.Embed: Route(MODEL_LANE, f"{_SPACE}:embed", "embedding items", retry=True),
    ask.Project: Route("plane", f"{_SPACE}:project", "placing items in the plane", retry=True),
}
"""Every request but `Ping`, which the server answers itself."""


WARM_UP = Route(MODEL_LANE, f"{_MODEL}:warm_up", "starting PyTorch")
FIRST_FIGURE = Route(FIGURE_LANE, f"{_FIGURE}:first_figure", "preparing to draw")
"""Run once when the engine has nothing to do, so that the user's first figure does not wait for it."""


def lane_of(request: ask.Request, route: Route, *, speech: bool) -> str:
    """The lane that runs a request.

    A long transcript (`speech`: the request's model is a speech model) delays no scores, and a library being
    embedded delays no caption.
    """
    if route.lane != MODEL_LANE:
        return route.lane
    if isinstance(request, ask.Classify | ask.Embed) and len(request.items) > _FEW:
        return BULK_LANE
    return SPEECH_LANE if speech else MODEL_LANE
