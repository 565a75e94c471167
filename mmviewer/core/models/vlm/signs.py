"""Reading the signs by which Kosmos-2 grounds phrases: tags around words, and cells of a grid for boxes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from mmviewer.core.media.geometry import Box

_CELL = re.compile(r"<patch_index_(\d+)>")
_NEXT = "</delimiter_of_multi_objects/>"


def grounded(names: Sequence[str], side: int) -> Iterator[tuple[list[int], list[Box]]]:
    """Yield the places of the tokens of each phrase with its boxes, in shares of the input.

    Parameters
    ----------
    names : sequence of str
        The token at each place.
    side : int
        Cells along each side of the grid that signs for cells count.

    Notes
    -----
    What is not well formed (a phrase without a box, a box of one corner) is left out.
    """
    phrase: list[int] = []
    inside = False
    place = 0
    while place < len(names):
        name = names[place]
        if name == "<phrase>":
            phrase, inside = [], True
        elif name == "</phrase>":
            inside = False
        elif name == "<object>":
            end = next((at for at in range(place, len(names)) if names[at] == "</object>"), len(names))
            boxes = list(_boxes(names[place + 1 : end], side)) if end < len(names) else []
            if phrase and boxes:
                yield phrase, boxes
            phrase, place = [], end
        elif inside:
            phrase.append(place)
        else:
            phrase = []  # words between a phrase and its box: the box is of something else
        place += 1


def _boxes(names: Sequence[str], side: int) -> Iterator[Box]:
    """Boxes of pairs of cells, the upper left and the lower right one, with signs between the pairs."""
    found = [_CELL.fullmatch(name) for name in names if name != _NEXT]
    cells = [int(match.group(1)) for match in found if match is not None]
    if len(cells) != len(found) or len(cells) % 2 or any(cell >= side**2 for cell in cells):
        return
    for first, last in zip(cells[::2], cells[1::2], strict=True):
        (top, left), (bottom, right) = divmod(first, side), divmod(last, side)
        # corners are the middles of their cells, but a box of one row or column has the cells' own edges
        thin = top == bottom or left == right
        before, behind = (0.0, 1.0) if thin else (0.5, 0.5)
        if bottom >= top and right >= left:
            box = (top + before, left + before, bottom + behind, right + behind)
            yield (box[0] / side, box[1] / side, box[2] / side, box[3] / side)
