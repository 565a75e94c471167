"""The help: pages for all that is shipped, search, links, pictures, and the way from a card to its page."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from PySide6.QtCore import QSettings, QSize, Qt, QUrl
from PySide6.QtGui import QTextDocument
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from mmviewer import paths
from mmviewer.core.help_pages import Page, load_pages, page_of, search
from mmviewer.gui.help_dialog import HelpDialog
from mmviewer.gui.jobs import Jobs
from mmviewer.gui.main_window import MainWindow
from mmviewer.gui.panels.base import PANELS
from mmviewer.gui.theme import Theme
from mmviewer.gui.widgets.map_card import CardText, MapCard
from mmviewer.gui.workbench import Workbench

PAGES = load_pages()
OWN = {path.stem for path in paths.help_pages().glob("*.md")}
PICTURE, LINK = re.compile(r"!\[([^\]]+)\]\(([^)]+)\)"), re.compile(r"(?<!!)\[[^\]]+\]\(([^)]+)\)")
MOST_BYTES = 2_000_000


@pytest.fixture
def dialog(qtbot: QtBot) -> HelpDialog:
    shown = HelpDialog()
    shown.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose, False)
    qtbot.addWidget(shown)
    shown.show()
    return shown


def test_every_page_has_a_title_and_its_links_and_pictures_are_there():
    folder = paths.help_pages()
    for page in PAGES:
        assert page.markdown.startswith("# "), page.key
        for alternative, name in PICTURE.findall(page.markdown):
            assert len(alternative) > 10, page.key
            assert (folder / name).is_file(), f"{page.key}: draw it with packaging/help_pictures.py {name}"
        for name in LINK.findall(page.markdown):
            assert name.startswith("https://") or (folder / name).is_file(), f"{page.key}: {name}"


def test_concepts_and_methods_say_how_when_not_and_from_whom():
    for page in PAGES:
        if page.key not in OWN or page.group in ("Measured", "Reference"):
            continue
        assert PICTURE.search(page.markdown), page.key
        for part in ("**How it is computed.**", "**When it misleads.**", "*Source:*"):
            assert part in page.markdown, f"{page.key} lacks {part}"


def test_pictures_are_small():
    assert sum(path.stat().st_size for path in paths.help_pages().glob("*.png")) <= MOST_BYTES


METHOD = '''
"""A new method."""


class Even(Method):
    """Every position alike, for want of anything better."""

    key = "even"
    label = "Even"
    explanation = "The same everywhere."
'''


def test_a_method_without_a_page_is_explained_by_its_docstring(tmp_path: Path):
    (tmp_path / "even.py").write_text(METHOD)
    (tmp_path / "broken.py").write_text("class :")
    pages = load_pages(tmp_path / "no pages", tmp_path)
    assert [page.key for page in pages] == ["method-even"]
    assert pages[0].title == "Even"
    assert "The same everywhere." in pages[0].markdown
    assert "for want of anything better" in pages[0].markdown


def test_a_page_of_its_own_comes_before_the_docstring(tmp_path: Path):
    (tmp_path / "even.py").write_text(METHOD)
    (tmp_path / "method-even.md").write_text("# Evenly\n\nWritten by hand.")
    assert [page.title for page in load_pages(tmp_path, tmp_path)] == ["Evenly"]


def test_a_page_that_is_no_text_says_so(tmp_path: Path):
    (tmp_path / "bad.md").write_bytes(b"\xff\xfe\x00\x81")
    page = load_pages(tmp_path, tmp_path)[0]
    assert "cannot be read" in page.markdown


def test_search_puts_titles_first_and_needs_every_word():
    assert search(PAGES, "sinks")[0].key == "sinks"
    assert {page.key for page in search(PAGES, "gradient saturation")} <= {page.key for page in PAGES}
    assert search(PAGES, "  ") == PAGES
    assert search(PAGES, "zebra crossing") == ()


def test_an_unknown_key_leads_to_the_first_page():
    page = page_of(PAGES, "nowhere")
    assert page is not None
    assert page.key == "start"
    assert page_of((), "sinks") is None


def test_pages_are_read_linked_and_left_by_back(dialog: HelpDialog, qtbot: QtBot):
    dialog.open_page("")
    assert dialog.page is not None
    assert dialog.page.key == "start"
    assert not dialog.back.isEnabled()
    dialog.text.anchorClicked.emit(QUrl("attention.md"))
    assert dialog.page.key == "attention"
    assert "Attention and attribution" in dialog.text.toPlainText()
    assert dialog.list.currentItem().text() == "Attention and attribution"
    dialog.open_page("sinks")
    qtbot.keyClick(dialog, Qt.Key.Key_Left, Qt.KeyboardModifier.AltModifier)
    dialog.back.click()
    assert dialog.page.key in ("start", "attention")


def test_search_by_keyboard_alone(dialog: HelpDialog, qtbot: QtBot):
    dialog.open_page("")
    qtbot.keyClicks(dialog.field, "occlusion window")
    listed = [dialog.list.item(row).text() for row in range(dialog.list.count())]
    assert "Occlusion" in listed
    assert "Attention sinks" not in listed
    qtbot.keyClick(dialog.field, Qt.Key.Key_Return)
    assert dialog.page is not None
    assert dialog.page.key == "method-occlusion"
    assert dialog.text.textCursor().selectedText().lower() == "occlusion"
    dialog.field.setText("zebra crossing")
    assert dialog.nothing.isVisible()
    assert dialog.list.count() == 0


def test_pictures_fit_the_width_and_come_from_the_help_alone(dialog: HelpDialog, tmp_path: Path):
    image = QTextDocument.ResourceType.ImageResource.value
    dialog.resize(QSize(640, 480))
    dialog.open_page("start")
    picture = dialog.text.loadResource(image, QUrl("start.png"))
    assert 160 <= picture.deviceIndependentSize().width() <= dialog.text.viewport().width()
    secret = tmp_path / "secret.png"
    picture.save(str(secret))
    assert dialog.text.loadResource(image, QUrl.fromLocalFile(str(secret))) is None
    assert (
        dialog.text.loadResource(QTextDocument.ResourceType.StyleSheetResource.value, QUrl("a.css")) is None
    )


def test_without_pages_the_window_opens_all_the_same(qtbot: QtBot):
    dialog = HelpDialog(pages=())
    qtbot.addWidget(dialog)
    dialog.open_page("sinks")
    assert dialog.page is None


def test_a_card_leads_to_the_page_of_its_caution(qtbot: QtBot):
    from PySide6.QtWidgets import QWidget

    view = QWidget()
    view.resize(700, 500)
    qtbot.addWidget(view)
    card = MapCard(view)
    view.show()
    caution = "Several things are named; this method may mix them up."
    card.show_text(CardText("“owl” · attribution", ("LeGrad",), "First-order.", caution, "several-objects"))
    assert card.accessibleDescription().endswith(caution)
    with qtbot.waitSignal(card.learn_more) as wanted:
        card._learn.click()
    assert wanted.args == ["several-objects"]
    assert page_of(PAGES, wanted.args[0]).key == "several-objects"  # type: ignore[union-attr]
    card.show_text(CardText("“owl” · attention", (), "Attention is where it looked.", "", "method-attention"))
    assert card.accessibleDescription().endswith("where it looked.")


def test_plain_words_have_no_marks():
    page = Page("a", "A", "", "# A\n\n![picture of a cat](a.png) **bold** [link](b.md)")
    assert page.plain == "A bold link"


def test_the_menu_and_the_card_open_one_window(qtbot: QtBot, qapp: QApplication, user_folders: Path):
    jobs = Jobs()
    bench, theme = Workbench(jobs), Theme(qapp)
    window = MainWindow(bench, theme, QSettings(str(user_folders / "help.ini"), QSettings.Format.IniFormat))
    window.show()
    window.actions_by_key["help-pages"].trigger()
    (dialog,) = window.findChildren(HelpDialog)
    assert dialog.page is not None
    assert dialog.page.key == "start"
    window.docks.centre.image.card.learn_more.emit("sinks")  # type: ignore[union-attr]
    assert window.findChildren(HelpDialog) == [dialog]
    assert dialog.page.key == "sinks"
    window.docks.bring("labels")
    window.actions_by_key["help-pages"].trigger()
    assert dialog.page.key == window.docks.in_use().help_page  # type: ignore[union-attr]
    dialog.close()
    window.open_help("pointing")
    assert any(each.isVisible() and each.page.key == "pointing" for each in window.findChildren(HelpDialog))
    window.close()
    bench.release()
    jobs.close()
    theme.release()
    for each in (window, theme):
        each.deleteLater()


def test_panels_name_pages_that_are_there():
    named = {kind.help_page for kind in PANELS if kind.help_page}
    assert {"scores", "heads", "projection", "what-if"} <= named <= {page.key for page in PAGES}
