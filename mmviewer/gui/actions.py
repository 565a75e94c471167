"""What a user can do from menus and keys, as a table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mmviewer.core.types import Modality

if TYPE_CHECKING:
    from mmviewer.gui.main_window import MainWindow
    from mmviewer.gui.workbench import Workbench

MENUS = ("File", "Edit", "View", "Model", "Help")


@dataclass(frozen=True, slots=True)
class ActionInfo:
    """One action.

    Parameters
    ----------
    key : str
        Stable name; ``window.actions_by_key[key]`` is the `QAction`.
    text : str
        In the menu.
    menu : str
        One of `MENUS`.
    run : callable
        Gets the window.
    shortcut : str
        Portable text ("Ctrl+O") or empty.
    tip : str
        One sentence.
    enabled : callable, optional
        Gets the workbench; asked again whenever the state changes.
    checked : callable, optional
        Makes the action checkable; gets the workbench.
    separated : bool
        A line stands above it.
    """

    key: str
    text: str
    menu: str
    run: Callable[[MainWindow], object]
    shortcut: str = ""
    tip: str = ""
    icon: str = ""
    enabled: Callable[[Workbench], bool] | None = None
    checked: Callable[[Workbench], bool] | None = None
    separated: bool = False


def _has_items(bench: Workbench) -> bool:
    return bool(bench.state.items)


def _has_selection(bench: Workbench) -> bool:
    return bool(bench.state.selection)


def _has_picture(bench: Workbench) -> bool:
    current = bench.state.current
    return current is not None and current.media.modality is not Modality.TEXT


def _has_sequence(bench: Workbench) -> bool:
    return bench.state.sequence is not None


def _has_path(bench: Workbench) -> bool:
    return bench.state.current is not None and bench.state.current.media.path is not None


ACTIONS: tuple[ActionInfo, ...] = (
    ActionInfo(
        "open", "Open…", "File", lambda w: w.choose_files(), "Ctrl+O", "Open images, sounds or texts.", "open"
    ),
    ActionInfo(
        "open-folder",
        "Open folder…",
        "File",
        lambda w: w.choose_folder(),
        "Ctrl+Shift+O",
        "Open all files of a folder.",
    ),
    ActionInfo(
        "samples",
        "Open the sample session",
        "File",
        lambda w: w.open_samples(),
        tip="Open the pictures, sounds and the text that come with mmviewer.",
    ),
    ActionInfo(
        "export",
        "Export figure…",
        "File",
        lambda w: w.bench.export_requested.emit(),
        "Ctrl+E",
        "Write what is shown as PNG, SVG, PDF, or as numbers.",
        "export",
        _has_items,
        separated=True,
    ),
    ActionInfo("quit", "Quit", "File", lambda w: w.close(), "Ctrl+Q", separated=True),
    ActionInfo(
        "undo",
        "Undo",
        "Edit",
        lambda w: w.bench.undo_stack.undo(),
        "Ctrl+Z",
        "Take the last change of the library back.",
        "undo",
        lambda b: b.undo_stack.canUndo(),
    ),
    ActionInfo(
        "redo",
        "Redo",
        "Edit",
        lambda w: w.bench.undo_stack.redo(),
        "Ctrl+Shift+Z",
        "Do it again.",
        "",
        lambda b: b.undo_stack.canRedo(),
    ),
    ActionInfo(
        "paste",
        "Paste",
        "Edit",
        lambda w: w.paste(),
        "Ctrl+V",
        "Open the image, files or text on the clipboard.",
        "paste",
        separated=True,
    ),
    ActionInfo(
        "copy-figure",
        "Copy figure",
        "Edit",
        lambda w: w.copy_figure(),
        "Ctrl+Shift+C",
        "Copy what is shown as an image.",
        "copy",
        _has_items,
    ),
    ActionInfo(
        "copy-text",
        "Copy caption",
        "Edit",
        lambda w: w.copy_sequence(),
        "Ctrl+Alt+C",
        "Copy the caption, transcript or description.",
        "",
        _has_sequence,
    ),
    ActionInfo(
        "rename",
        "Rename item",
        "Edit",
        lambda w: w.rename_current(),
        "F2",
        "Give the current item another name.",
        "rename",
        _has_items,
        separated=True,
    ),
    ActionInfo(
        "remove",
        "Remove from library",
        "Edit",
        lambda w: w.remove_selected(),
        "",
        "Take the selected items out of the library; the files stay.",
        "remove",
        _has_selection,
    ),
    ActionInfo(
        "reveal",
        "Show in file manager",
        "Edit",
        lambda w: w.reveal_current(),
        "",
        "Show the file of the current item.",
        "",
        _has_path,
    ),
    ActionInfo(
        "compare",
        "Compare maps side by side",
        "View",
        lambda w: w.toggle_compare(),
        "Ctrl+K",
        "Words, methods, layers, items or models in one table of maps; again goes back to the viewer.",
        "",
        _has_items,
        lambda b: b.compare.is_open,
        separated=True,
    ),
    ActionInfo(
        "twin",
        "Two models side by side",
        "View",
        lambda w: w.toggle_twin(),
        "Ctrl+J",
        "The same item under two loaded models, linked where their words agree; again goes back.",
        "",
        _has_items,
        lambda b: b.twin.is_open,
    ),
    ActionInfo(
        "map",
        "Map of a collection",
        "View",
        lambda w: w.toggle_map(),
        "Ctrl+Shift+K",
        "Folders of up to millions of items as a map: near means similar; again goes back to the viewer.",
        "",
        None,
        lambda b: b.collections.is_shown,
    ),
    ActionInfo(
        "reset-layout",
        "Reset layout",
        "View",
        lambda w: w.reset_layout(),
        "",
        "Put all panels back to where they were at first.",
        separated=True,
    ),
    ActionInfo(
        "theme-system",
        "Follow the system's colours",
        "View",
        lambda w: w.set_theme("system"),
        checked=lambda b: b.settings.theme == "system",
        separated=True,
    ),
    ActionInfo(
        "theme-light",
        "Light",
        "View",
        lambda w: w.set_theme("light"),
        checked=lambda b: b.settings.theme == "light",
    ),
    ActionInfo(
        "theme-dark",
        "Dark",
        "View",
        lambda w: w.set_theme("dark"),
        checked=lambda b: b.settings.theme == "dark",
    ),
    ActionInfo(
        "focus-query",
        "Describe something to find",
        "View",
        lambda w: w.focus_query(),
        "Ctrl+F",
        "Type what to look for in the picture.",
        "search",
        separated=True,
    ),
    ActionInfo(
        "full-screen",
        "Full screen",
        "View",
        lambda w: w.toggle_full_screen(),
        "F11",
        "Fill the screen, or not.",
    ),
    ActionInfo(
        "generate",
        "Caption or transcribe",
        "Model",
        lambda w: w.bench.generate(),
        "Ctrl+Return",
        "Let the model write what it sees or hears.",
        "caption",
        _has_picture,
    ),
    ActionInfo(
        "ask",
        "Ask about the picture…",
        "Model",
        lambda w: w.ask_question(),
        "Ctrl+Shift+F",
        "Type a question; a model that was trained on questions answers.",
        "",
        _has_picture,
    ),
    ActionInfo(
        "generate-on-choose",
        "Do so when an item is chosen",
        "Model",
        lambda w: w.toggle_generate_on_choose(),
        tip="Caption or transcribe an item as soon as it is chosen for the first time.",
        checked=lambda b: b.settings.generate_on_choose,
    ),
    ActionInfo(
        "cancel",
        "Cancel what runs",
        "Model",
        lambda w: w.cancel_all(),
        "Ctrl+.",
        "Stop all work of the engine between its steps.",
        "",
        lambda b: bool(b.activities.running()),
    ),
    ActionInfo(
        "load-model",
        "Load another model…",
        "Model",
        lambda w: w.docks.bring("models"),
        "Ctrl+M",
        "Choose a model, device and number format.",
        "model",
        separated=True,
    ),
    ActionInfo(
        "manage-models",
        "Manage models…",
        "Model",
        lambda w: w.manage_models(),
        "Ctrl+Shift+M",
        "Search, download, verify and delete models.",
    ),
    ActionInfo(
        "allow-network",
        "Allow downloads of models",
        "Model",
        lambda w: w.toggle_network(),
        tip="Let models be fetched from a hub; else only what is on this machine is used.",
        checked=lambda b: b.settings.allow_network,
    ),
    ActionInfo(
        "restart-engine",
        "Restart engine",
        "Model",
        lambda w: w.bench.jobs.restart_engine(),
        tip="End the process that computes and start a new one; nothing in the window is lost.",
        separated=True,
    ),
    ActionInfo(
        "tour",
        "Guided tour",
        "Help",
        lambda w: w.start_tour(),
        "F1",
        "Eight short steps through what there is to see; Escape leaves it.",
    ),
    ActionInfo(
        "help-pages",
        "Help pages",
        "Help",
        lambda w: w.open_help(),
        "Shift+F1",
        "What each method and each word means, when it misleads, and an example; of the panel in use first.",
    ),
    ActionInfo(
        "sample-notes",
        "Notes on the samples",
        "Help",
        lambda w: w.toggle_sample_notes(),
        tip="Say under the picture what there is to see in a sample.",
        checked=lambda b: b.settings.sample_notes,
    ),
    ActionInfo(
        "show-log",
        "Show log",
        "Help",
        lambda w: w.show_log(),
        tip="What the window and the engine wrote down.",
        separated=True,
    ),
    ActionInfo(
        "copy-details",
        "Copy details",
        "Help",
        lambda w: w.copy_details(),
        tip="Copy versions, device and models, to put into a report.",
    ),
    ActionInfo("about", "About mmviewer", "Help", lambda w: w.show_about(), separated=True),
)
