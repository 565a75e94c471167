"""What the app remembers between runs: a small JSON file that never keeps the app from starting."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError

VERSION = 1
_RECENT_KEPT = 12
_MAX_BYTES = 1 << 20

logger = logging.getLogger(__name__)


class Settings(BaseModel):
    """Preferences and memories; every field has a default, so an empty file is a good one.

    Parameters
    ----------
    theme : str
        "system", "light" or "dark".
    model, speech_model : str
        Sources that were loaded last; empty for the starter, or none.
    device, dtype : str
        "auto" or a name.
    allow_network : bool
        Whether models may be fetched from a hub.
    generate_on_choose : bool
        Caption or transcribe an item as soon as it is chosen.
    recent_files : list of str
        Newest first.
    collections : list of str
        Folders of collections, the one opened last first.
    export_folder : str
        Where a figure was written last; empty for the user's pictures.
    sample_notes : bool
        Whether samples are shown with a note on what there is to see.
    measure_live : bool
        Whether the map that is looked at is measured in the background.
    tour_offered : bool
        Whether the guided tour was offered; it is once.
    colormap, interpolation, opacity
        How maps were painted last.
    """

    model_config = ConfigDict(validate_assignment=True, extra="ignore")

    version: int = VERSION
    theme: Literal["system", "light", "dark"] = "system"
    model: str = ""
    speech_model: str = ""
    device: str = "auto"
    dtype: str = "auto"
    allow_network: bool = False
    generate_on_choose: bool = True
    recent_files: list[str] = []
    collections: list[str] = []
    export_folder: str = ""
    sample_notes: bool = True
    measure_live: bool = True
    tour_offered: bool = False
    colormap: str = "inferno"
    interpolation: Literal["bilinear", "bicubic", "nearest"] = "bilinear"
    opacity: float = Field(default=0.65, ge=0, le=1)

    _path: Path | None = PrivateAttr(default=None)

    @classmethod
    def load(cls, path: Path) -> Settings:
        """Read settings; what is broken or unknown is dropped with a line in the log."""
        values = _migrate(_read(path))
        settings = cls()
        for name, value in values.items():
            if name not in cls.model_fields:
                logger.warning("settings: dropped the unknown key %r", name)
                continue
            try:
                setattr(settings, name, value)
            except ValidationError:
                logger.warning("settings: dropped %r, which cannot be %.80r", name, value)
        settings._path = path
        return settings

    @property
    def folder(self) -> Path | None:
        """Where it was loaded from, and where more of the user's may be kept; None for mere defaults."""
        return None if self._path is None else self._path.parent

    def save(self) -> None:
        """Write to where it was loaded from, in one step; a failure is logged, not raised."""
        if self._path is None:
            return
        partial = self._path.with_name(self._path.name + ".part")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            partial.write_text(self.model_dump_json(indent=2), encoding="utf-8")
            partial.replace(self._path)
        except OSError as error:
            logger.warning("settings cannot be written: %s", error)

    def remember_recent(self, names: Iterable[str]) -> None:
        """Put files at the top of the recent ones, each once, the newest kept."""
        newest = [str(Path(name).absolute()) for name in names]
        self.recent_files = list(dict.fromkeys([*newest, *self.recent_files]))[:_RECENT_KEPT]


def _read(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > _MAX_BYTES:
            logger.warning("settings: %s is too big to be ours; starting with defaults", path.name)
            return {}
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        logger.warning("settings cannot be read (%s); starting with defaults", error)
        return {}
    if not isinstance(values, dict):
        logger.warning("settings are no table; starting with defaults")
        return {}
    return values


def _migrate(values: dict[str, Any]) -> dict[str, Any]:
    """Bring the values of an older version to the names of this one; a newer file is read as far as known."""
    version = values.pop("version", VERSION)
    if not isinstance(version, int) or version > VERSION:
        logger.warning("settings come from version %r; keeping what is known", version)
    return values
