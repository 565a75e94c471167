"""A family of vision-language models: a module, a tokenizer, an image processor and a chat template."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

from mmviewer.core.models import files
from mmviewer.core.models.base import LoadedModel, Placement
from mmviewer.core.models.hf.family import HfFamily
from mmviewer.core.models.hf.source import Found
from mmviewer.core.models.identity import Identity
from mmviewer.core.progress import Progress

_TEMPLATES = ("chat_template.jinja", "chat_template.json")
_LONGEST = 1 << 20


@dataclass(frozen=True, slots=True, eq=False)
class Parts:
    """What a vision-language model is made of; `template` is its chat template, None where it has none."""

    module: Any
    tokenizer: Any
    images: Any
    template: str | None


class VlmFamily(HfFamily):
    """Loads the parts of a model and puts them together.

    A subclass says how in `assemble`, and gives the parts of a random model in `tiny_parts`.

    Attributes
    ----------
    class_name : str
        Of the module, in transformers.
    """

    spreads = True
    quantises = True
    class_name: str

    def open(self, found: Found, placement: Placement, progress: Progress) -> LoadedModel:
        """Load the parts from a model's folder."""
        from mmviewer.core.models.hf import build

        module = build.load_module(self.class_name, found, placement)
        tokenizer = build.load_processor("AutoTokenizer", found)
        images = build.load_processor("AutoImageProcessor", found)
        with build.broken_files(found):
            template = _template(found) or getattr(tokenizer, "chat_template", None)
            parts = Parts(module, tokenizer, images, template)
            return self.assemble(parts, placement, build.identity_of(found, progress))

    def tiny(self, variant: str = "") -> LoadedModel:
        """A random model of a few thousand weights that reads single bytes."""
        from mmviewer.core.models.hf import build

        name = variant or self.tiny_variants()[0] or self.key
        identity = Identity(f"tiny {name}", f"tiny:{self.key}:{name}", name)
        return self.assemble(self.tiny_parts(variant or self.tiny_variants()[0]), build.CPU, identity)

    @abstractmethod
    def assemble(self, parts: Parts, placement: Placement, identity: Identity) -> LoadedModel:
        """Put a model together; imports what it needs of transformers."""

    @abstractmethod
    def tiny_parts(self, variant: str) -> Parts:
        """The parts of a random model."""


def _template(found: Found) -> str | None:
    """The chat template in a file of its own, in either form that processors are saved in."""
    jinja, wrapped = (found.folder / name for name in _TEMPLATES)
    if jinja.is_file() and jinja.stat().st_size <= _LONGEST:
        return jinja.read_text(encoding="utf-8")
    if wrapped.is_file():
        template = files.read_json(wrapped).get("chat_template")
        return template if isinstance(template, str) else None
    return None
