"""Errors that a user can act on.

Every error raised on purpose is an `MMViewerError`: its message is one sentence that names what failed and
what to do about it; the technical cause is chained with ``raise ... from``. Kinds exist where a caller
behaves differently, not for each message.
"""

from __future__ import annotations

# Texts by which PyTorch's allocators name a lack of memory; CUDA and XPU have a class of their own.
_MEMORY_PHRASES = ("out of memory", "can't allocate memory", "not enough memory", "cannot allocate memory")


class MMViewerError(Exception):
    """Root of all expected errors.

    Parameters
    ----------
    message : str
        One sentence naming the thing that failed and the remedy.
    """

    @property
    def message(self) -> str:
        """The sentence shown to the user."""
        return str(self.args[0]) if self.args else type(self).__name__


class MediaError(MMViewerError):
    """A file or pasted content cannot be read as image, sound or text."""


class ModelError(MMViewerError):
    """A model cannot be found, is incomplete, unsafe or of another kind."""


class UnsupportedError(MMViewerError):
    """The loaded model cannot do what was asked."""


class InputError(MMViewerError):
    """A label, text, option or target is empty, too long or out of range."""


class DeviceError(MMViewerError):
    """A device is missing or out of memory."""


class ExportError(MMViewerError):
    """A figure or array cannot be written."""


class CollectionError(MMViewerError):
    """A collection on the disk is damaged, too new, in use by another writer, or cannot be written."""


class EngineError(MMViewerError):
    """The engine process died or does not answer."""


class Cancelled(Exception):  # noqa: N818 - not an error: the user asked for it
    """Raised between steps of long work after a cancel; never shown as an error."""


def out_of_memory(error: BaseException) -> bool:
    """Whether `error`, or what it was raised from, says that memory of the machine or a device ran out."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    if isinstance(error, RuntimeError) and any(phrase in str(error).lower() for phrase in _MEMORY_PHRASES):
        return True
    return error.__cause__ is not None and out_of_memory(error.__cause__)
