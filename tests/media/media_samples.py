"""Files made for the tests."""

from __future__ import annotations

from io import BytesIO

import numpy as np
from PIL import Image


def encode_png(pixels: np.ndarray) -> bytes:
    """PNG file of an 8-bit RGB picture [H, W, 3]."""
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    return buffer.getvalue()
