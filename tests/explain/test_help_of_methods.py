"""Every method and every caution leads to a page of the help."""

from __future__ import annotations

import pytest

from mmviewer import paths
from mmviewer.core.explain.base import METHODS
from mmviewer.core.help_pages import load_pages

PAGES = {page.key: page for page in load_pages()}


@pytest.mark.parametrize("key", METHODS.keys())
def test_every_method_has_a_page(key):
    written = paths.help_pages() / f"method-{key}.md"
    assert written.is_file(), f"{key} ships without a help page: write {written.name} beside the others"
    assert PAGES[f"method-{key}"].group == "Methods"


def test_no_page_is_left_of_a_method_that_is_gone():
    told = {page.key.removeprefix("method-") for page in PAGES.values() if page.group == "Methods"}
    assert told == set(METHODS.keys())
