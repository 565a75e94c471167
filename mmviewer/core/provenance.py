"""Where a figure or an array comes from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a figure or array comes from: enough to make it again."""

    version: str
    created: str
    item: str = ""
    item_id: str = ""
    model: str = ""
    model_source: str = ""
    revision: str = ""
    weights_hash: str = ""
    device: str = ""
    dtype: str = ""
    preprocessing: str = ""
    method: str = ""
    kind: str = ""
    layer: str = ""
    head: str = ""
    tokens: str = ""
    text: str = ""
    extra: dict[str, Any] = field(default_factory=dict)
