"""What the engine holds between requests: models, decoded media, prepared inputs, features, captures."""

from __future__ import annotations

from mmviewer.core.media.open import reopen
from mmviewer.core.types import Media, MediaRef
from mmviewer.engine.lru import ByteCache

_MEDIA_BYTES = 1_000_000_000


class Workspace:
    """Shared by all lanes; every method may be called from any of them."""

    def __init__(self) -> None:
        self._media: ByteCache[Media] = ByteCache(_MEDIA_BYTES, _media_bytes)

    # --- media ---------------------------------------------------------------------------------------
    def remember(self, media: Media) -> None:
        """Keep a decoded item at hand."""
        self._media.put(media.id, media)

    def media(self, ref: MediaRef) -> Media:
        """The decoded item, decoded anew when it is no longer at hand; raises `MediaError` if it changed."""
        media = self._media.get(ref.id)
        if media is None:
            media = reopen(ref)
            self._media.put(media.id, media)
        return media

    def free_caches(self) -> None:
        """Give up everything that can be made again."""
        self._media.drop()

    def memory(self) -> tuple[int, int] | None:
        """Used and whole memory of the device of the loaded models in bytes; None on the CPU."""
        return None

    def placement(self) -> tuple[str, str, str] | None:
        """Device, dtype and reason of the model loaded last, or None."""
        return None

    def model_labels(self) -> tuple[str, ...]:
        """Labels of the loaded models."""
        return ()


def _media_bytes(media: Media) -> int:
    arrays = (media.pixels, media.samples)
    return sum(array.nbytes for array in arrays if array is not None) + len(media.text or "")
