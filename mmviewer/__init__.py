"""mmviewer: see what multimodal transformers do.

The window starts with ``mmviewer``; a script uses the same core:

>>> import mmviewer as mv
>>> model, image = mv.load("starter"), mv.open("photo.jpg")
>>> caption = mv.caption(model, image)
>>> maps = mv.explain(model, image, caption, method="gradient_attention")
>>> mv.figure(maps, image, "dog.svg", word="dog", model=model)
>>> scores = mv.classify(model, image, ["dog", "cat"])
>>> mv.index("pictures.mmv", ["~/Pictures"], model)
>>> found = mv.search("pictures.mmv", model, image)

Each name is imported when it is first used, so that ``import mmviewer`` itself stays light.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mmviewer.api import (
        Example,
        ask,
        average_figure,
        average_map,
        branch,
        caption,
        classify,
        classify_collection,
        compare,
        embed,
        explain,
        figure,
        index,
        load,
        open_collection,
        project,
        score_answers,
        search,
        transcribe,
        what_if,
    )
    from mmviewer.api import open_item as open  # noqa: A004 - `mv.open` is the name that users expect

__version__ = "0.1.0"

__all__ = [
    "Example",
    "__version__",
    "ask",
    "average_figure",
    "average_map",
    "branch",
    "caption",
    "classify",
    "classify_collection",
    "compare",
    "embed",
    "explain",
    "figure",
    "index",
    "load",
    "open",
    "open_collection",
    "project",
    "score_answers",
    "search",
    "transcribe",
    "what_if",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("mmviewer.api"), "open_item" if name == "open" else name)


def __dir__() -> list[str]:
    return __all__
