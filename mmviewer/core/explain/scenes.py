"""Pictures with true captions and boxes, on which methods are measured: a folder with a ``boxes.json``."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mmviewer.core.errors import InputError

BOXES = "boxes.json"
_MOST_BYTES = 64 * 2**20


class Thing(BaseModel):
    """Something in a scene.

    Parameters
    ----------
    noun : str
        As the caption calls it.
    text : str
        What to ask for; the noun if empty.
    boxes : tuple
        Where it lies: left, top, right and bottom in pixels of the picture.
    """

    model_config = ConfigDict(frozen=True)

    noun: str = Field(min_length=1, max_length=200)
    text: str = Field(default="", max_length=1_000)
    boxes: tuple[tuple[float, float, float, float], ...] = Field(min_length=1, max_length=1_000)


class Scene(BaseModel):
    """A picture, its true caption, and where the things lie that it names; figures are told by `group`."""

    model_config = ConfigDict(frozen=True)

    file: str = Field(min_length=1)
    group: str = "scenes"
    caption: str = ""
    things: tuple[Thing, ...] = Field(min_length=1)


class Scenes(BaseModel):
    """What ``boxes.json`` holds."""

    model_config = ConfigDict(frozen=True)

    scenes: tuple[Scene, ...] = Field(min_length=1)


def read_scenes(folder: Path) -> tuple[Scene, ...]:
    """Read the scenes of a folder; `InputError` where there are none, or a file is missing or broken."""
    path = folder / BOXES
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise InputError(f"{path} is too large for a list of boxes; describe fewer pictures in it.")
        scenes = Scenes.model_validate_json(path.read_bytes()).scenes
    except OSError as error:
        raise InputError(
            f"{folder} has no readable {BOXES}; give a folder with pictures and this list of what they show."
        ) from error
    except ValidationError as error:
        first = error.errors()[0]
        place = " › ".join(str(part) for part in first["loc"]) or "the beginning"
        raise InputError(
            f"{path} is not such a list ({place}: {first['msg']}); see the README of the shipped scenes for "
            "its shape."
        ) from error
    outside = [scene.file for scene in scenes if Path(scene.file).name != scene.file]
    if outside:
        raise InputError(
            f"{path} names {outside[0]}, which lies outside of its folder; put it beside the list."
        )
    return scenes
