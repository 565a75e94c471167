"""The table of families in the help is what the program says of itself."""

from __future__ import annotations

from mmviewer import paths
from mmviewer.core.models.overview import family_rows, page


def test_the_page_is_up_to_date():
    shown = (paths.help_pages() / "families.md").read_text(encoding="utf-8")
    assert shown == page(family_rows()), "run: mmviewer families > resources/help/families.md"
