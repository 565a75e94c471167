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
from mmviewer.engine import protocol_average as averages
from mmviewer.engine import protocol_collection as collection
from mmviewer.engine import protocol_hub as hub
from mmviewer.engine import protocol_layers as layers
from mmviewer.engine import protocol_space as space
from mmviewer.engine import protocol_structure as structure

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
TRUST_LANE = "trust"
DOWNLOAD_LANE = "download"
SEARCH_LANE = "search"
COLLECTION_LANE = "collection"
INDEX_LANE = "index"
CHECK_LANE = "check"
WATCH_LANE = "watch"
EARLY_LANES = frozenset({"media", FIGURE_LANE})
"""Lanes that import no torch and so need not wait until the model lane has."""
_FEW = 16  # items that the model lane takes; more would keep a caption waiting

_MEDIA = "mmviewer.engine.handlers_media"
_MODEL = "mmviewer.engine.handlers_model"
_EXPLAIN = "mmviewer.engine.handlers_explain"
_FAITHFULNESS = "mmviewer.engine.handlers_faithfulness"
_SPACE = "mmviewer.engine.handlers_space"
_SPACES = "mmviewer.engine.handlers_spaces"
_WHAT_IF = "mmviewer.engine.handlers_whatif"
_FIGURE = "mmviewer.engine.handlers_figure"
_HUB = "mmviewer.engine.handlers_hub"
_AVERAGE = "mmviewer.engine.handlers_average"
_LAYERS = "mmviewer.engine.handlers_layers"
_STRUCTURE = "mmviewer.engine.handlers_structure"
_COLLECTION = "mmviewer.engine.handlers_collection"

ROUTES: Mapping[type[ask.Request], Route] = {
    ask.OpenMedia: Route("media", f"{_MEDIA}:open_files", "opening files"),
    ask.OpenText: Route("media", f"{_MEDIA}:open_text", "taking a text in"),
    ask.Spectrogram: Route("media", f"{_MEDIA}:spectrogram", "computing a spectrogram", retry=True),
    ask.RenderFigure: Route(FIGURE_LANE, f"{_FIGURE}:render_figure", "drawing a figure", retry=True),
    ask.ListModels: Route(MODEL_LANE, f"{_MODEL}:list_models", "listing models"),
    ask.LoadModel: Route(MODEL_LANE, f"{_MODEL}:load_model", "loading a model", retry=True),
    ask.UnloadModel: Route(MODEL_LANE, f"{_MODEL}:unload_model", "unloading a model"),
    ask.Generate: Route(MODEL_LANE, f"{_MODEL}:generate", "generating text", retry=True),
    ask.Branch: Route(MODEL_LANE, f"{_MODEL}:branch", "writing on from another token", retry=True),
    ask.ScoreAnswers: Route(MODEL_LANE, f"{_MODEL}:score_answers", "scoring answers", retry=True),
    ask.Tokenize: Route(MODEL_LANE, f"{_MODEL}:tokenize", "splitting a text into tokens"),
    ask.Explain: Route(MODEL_LANE, f"{_EXPLAIN}:explain", "computing maps", retry=True),
    ask.EstimateMaps: Route(MODEL_LANE, f"{_EXPLAIN}:estimate_maps", "estimating what maps take"),
    ask.ExploreHeads: Route(
        MODEL_LANE, f"{_EXPLAIN}:explore_heads", "computing the maps of heads", retry=True
    ),
    ask.Intervene: Route(MODEL_LANE, f"{_WHAT_IF}:intervene", "trying what if", retry=True),
    ask.MeasureMap: Route(TRUST_LANE, f"{_FAITHFULNESS}:measure_map", "measuring a map", retry=True),
    ask.CompareMethods: Route(TRUST_LANE, f"{_FAITHFULNESS}:compare_methods", "comparing methods"),
    ask.CheckRandomised: Route(TRUST_LANE, f"{_FAITHFULNESS}:check_randomised", "randomising weights"),
    ask.Classify: Route(MODEL_LANE, f"{_SPACE}:classify", "scoring labels", retry=True),
    ask.Embed: Route(MODEL_LANE, f"{_SPACE}:embed", "embedding items", retry=True),
    ask.Project: Route("plane", f"{_SPACE}:project", "placing items in the plane", retry=True),
    space.SearchSpace: Route(SEARCH_LANE, f"{_SPACES}:search", "searching the collection", retry=True),
    space.PlaceSpace: Route("plane", f"{_SPACES}:place", "placing the collection in the plane", retry=True),
    space.FallIntoMap: Route("plane", f"{_SPACES}:fall_into", "placing new items on the map", retry=True),
    space.MeasureSpace: Route("plane", f"{_SPACES}:measure", "measuring the space", retry=True),
    space.TrustMap: Route("plane", f"{_SPACES}:trust", "measuring the map", retry=True),
    structure.PrepareSearch: Route("lists", f"{_STRUCTURE}:prepare", "making an index", retry=True),
    structure.ClusterSpace: Route("structure", f"{_STRUCTURE}:cluster", "finding groups", retry=True),
    structure.CompareSpaces: Route("structure", f"{_STRUCTURE}:compare", "comparing two models", retry=True),
    structure.CompareItems: Route("structure", f"{_STRUCTURE}:compare_items", "comparing items", retry=True),
    structure.FindDuplicates: Route(
        "structure", f"{_STRUCTURE}:duplicates", "looking for near-duplicates", retry=True
    ),
    structure.MeasurePairs: Route("structure", f"{_STRUCTURE}:measure_pairs", "measuring pairs", retry=True),
    layers.LayerPaths: Route(
        "layers", f"{_LAYERS}:layer_paths", "following items through the layers", retry=True
    ),
    layers.IndexPatches: Route("layers", f"{_LAYERS}:index_patches", "embedding patches"),
    layers.EstimatePatches: Route(
        "layers", f"{_LAYERS}:estimate_patches", "estimating what patches take", retry=True
    ),
    layers.SearchPatches: Route("layers", f"{_LAYERS}:search_patches", "comparing patches", retry=True),
    averages.AverageItems: Route("average", f"{_AVERAGE}:average_items", "averaging maps"),
    collection.CreateCollection: Route(COLLECTION_LANE, f"{_COLLECTION}:create", "making a collection"),
    collection.RemoveSource: Route(COLLECTION_LANE, f"{_COLLECTION}:remove_source", "removing a source"),
    collection.WatchSources: Route(COLLECTION_LANE, f"{_COLLECTION}:watch_sources", "watching folders"),
    collection.RemoveItems: Route(COLLECTION_LANE, f"{_COLLECTION}:remove_items", "removing items"),
    collection.PauseIndexing: Route(COLLECTION_LANE, f"{_COLLECTION}:pause", "pausing"),
    collection.LabelItems: Route(COLLECTION_LANE, f"{_COLLECTION}:label", "labelling items"),
    collection.UndoLabels: Route(COLLECTION_LANE, f"{_COLLECTION}:undo", "undoing labels"),
    collection.AddSource: Route(INDEX_LANE, f"{_COLLECTION}:add_source", "adding a source"),
    collection.ScanCollection: Route(INDEX_LANE, f"{_COLLECTION}:scan", "looking through a collection"),
    collection.IndexCollection: Route(INDEX_LANE, f"{_COLLECTION}:run", "indexing a collection"),
    collection.WatchCollection: Route(WATCH_LANE, f"{_COLLECTION}:watch", "watching a collection"),
    collection.VerifyCollection: Route(CHECK_LANE, f"{_COLLECTION}:verify", "checking a collection"),
    collection.KeepMap: Route(COLLECTION_LANE, f"{_COLLECTION}:keep_map", "keeping a map"),
    collection.ExportCollection: Route(CHECK_LANE, f"{_COLLECTION}:export", "exporting a collection"),
    collection.ExportClasses: Route(CHECK_LANE, f"{_COLLECTION}:export_classes", "exporting classes"),
    collection.ClassifyCollection: Route(
        SEARCH_LANE, f"{_COLLECTION}:classify", "scoring labels of a collection", retry=True
    ),
    hub.LookAtHub: Route("hub", f"{_HUB}:look", "looking for models"),
    hub.PlanDownload: Route("hub", f"{_HUB}:plan", "planning a download"),
    hub.RemoveModel: Route("hub", f"{_HUB}:remove", "deleting a model"),
    hub.DiscardDownload: Route("hub", f"{_HUB}:discard", "deleting an unfinished download"),
    hub.AllowDownloads: Route("hub", f"{_HUB}:allow", "switching downloads"),
    hub.KeepToken: Route("hub", f"{_HUB}:keep_token", "keeping the token"),
    hub.VerifyModel: Route(DOWNLOAD_LANE, f"{_HUB}:verify", "verifying a model"),
    hub.DownloadModel: Route(DOWNLOAD_LANE, f"{_HUB}:fetch", "downloading a model"),
    hub.MoveModels: Route(DOWNLOAD_LANE, f"{_HUB}:move", "moving models"),
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
    if isinstance(request, collection.CollectionRequest) and route.lane in (INDEX_LANE, WATCH_LANE):
        return f"{route.lane} {request.folder}"  # a run takes hours, watching never ends
    if route.lane != MODEL_LANE:
        return route.lane
    if isinstance(request, ask.Classify | ask.Embed) and len(request.items) > _FEW:
        return BULK_LANE
    return SPEECH_LANE if speech else MODEL_LANE
