"""A list of items with a small picture, a name and a line below: model and delegate."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import (
    QAbstractItemModel,
    QAbstractListModel,
    QModelIndex,
    QPersistentModelIndex,
    QPointF,
    QRect,
    QRectF,
    QSize,
    Qt,
    Signal,
)
from PySide6.QtGui import QImage, QPainter, QPainterPath, QPalette, QPen, QPixmap, QPolygonF
from PySide6.QtWidgets import (
    QAbstractItemView,
    QLineEdit,
    QStyle,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QWidget,
)

ID_ROLE = Qt.ItemDataRole.UserRole
ROW_ROLE = Qt.ItemDataRole.UserRole + 1

_THUMBNAIL = 44
_ROW_HEIGHT = 58
_GAP = 8
_THUMBNAILS_KEPT = 2000
_WAVE_COLUMNS = 22

_Index = QModelIndex | QPersistentModelIndex


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """What the list shows of an item: pixels [H, W, 3] or samples [N] make its picture."""

    id: str
    name: str
    line: str
    tip: str = ""
    pixels: NDArray[np.uint8] | None = None
    samples: NDArray[np.float32] | None = None


class ItemModel(QAbstractListModel):
    """The rows; a name edited in place comes out as `renamed`."""

    renamed = Signal(str, str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.rows: list[Row] = []
        self._places: dict[str, int] = {}

    def set_rows(self, rows: Sequence[Row]) -> None:
        """Show other rows; rows that were only added keep the list where it is."""
        common = len(self.rows)
        grown = len(rows) > common and all(
            new.id == old.id and new.name == old.name for new, old in zip(rows, self.rows, strict=False)
        )
        if grown:
            self.beginInsertRows(QModelIndex(), common, len(rows) - 1)
        else:
            self.beginResetModel()
        self.rows = list(rows)
        self._places = {row.id: place for place, row in enumerate(rows)}
        if grown:
            self.endInsertRows()
        else:
            self.endResetModel()

    def index_of(self, item_id: str) -> QModelIndex:
        """Where an item is; invalid if nowhere."""
        place = self._places.get(item_id)
        return QModelIndex() if place is None else self.index(place)

    @staticmethod
    def picture(pixels: NDArray[np.uint8]) -> QImage:
        """The pixels [H, W, 3] as an image of its own memory."""
        pixels = np.ascontiguousarray(pixels)
        height, width = pixels.shape[:2]
        return QImage(pixels.data, width, height, 3 * width, QImage.Format.Format_RGB888).copy()

    def rowCount(self, parent: _Index | None = None) -> int:
        return 0 if parent is not None and parent.isValid() else len(self.rows)

    def data(self, index: _Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        row = self.rows[index.row()]
        if role in (Qt.ItemDataRole.DisplayRole, Qt.ItemDataRole.EditRole):
            return row.name
        if role == Qt.ItemDataRole.ToolTipRole:
            return escape(f"{row.name}\n{row.line}\n{row.tip}".strip()).replace("\n", "<br>")
        if role == Qt.ItemDataRole.AccessibleTextRole:
            return f"{row.name}, {row.line}"
        if role == ID_ROLE:
            return row.id
        return row if role == ROW_ROLE else None

    def flags(self, index: _Index) -> Qt.ItemFlag:
        return super().flags(index) | Qt.ItemFlag.ItemIsEditable

    def setData(self, index: _Index, value: Any, role: int = Qt.ItemDataRole.EditRole) -> bool:
        if role == Qt.ItemDataRole.EditRole and index.isValid():
            self.renamed.emit(self.rows[index.row()].id, str(value))
            return True
        return False


class ItemDelegate(QStyledItemDelegate):
    """Paints a row; thumbnails are made when first seen and kept for a while."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self._thumbnails: OrderedDict[tuple[str, float], QPixmap] = OrderedDict()

    def sizeHint(self, _option: QStyleOptionViewItem, _index: _Index) -> QSize:
        return QSize(120, _ROW_HEIGHT)

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: _Index) -> None:
        row: Row = index.data(ROW_ROLE)
        state, palette, area = option.state, option.palette, option.rect
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        ground = QRectF(area.adjusted(6, 1, -6, -1))
        selected = bool(state & QStyle.StateFlag.State_Selected)
        if selected or state & QStyle.StateFlag.State_MouseOver:
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(
                palette.color(palette.ColorRole.Highlight if selected else palette.ColorRole.Midlight)
            )
            painter.drawRoundedRect(ground, 7, 7)
        if self._is_current(option, index):
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.setPen(QPen(palette.color(palette.ColorRole.Accent), 1.5))
            painter.drawRoundedRect(ground.adjusted(0.75, 0.75, -0.75, -0.75), 7, 7)
        place = QRect(
            area.left() + 6 + _GAP - 2, area.top() + (_ROW_HEIGHT - _THUMBNAIL) // 2, _THUMBNAIL, _THUMBNAIL
        )
        self._paint_picture(painter, place, row, palette)
        self._paint_words(painter, area, row, palette, selected=selected)
        painter.restore()

    def createEditor(self, parent: QWidget, _option: QStyleOptionViewItem, _index: _Index) -> QWidget:
        editor = QLineEdit(parent)
        editor.setAccessibleName("New name")
        return editor

    def updateEditorGeometry(self, editor: QWidget, option: QStyleOptionViewItem, _index: _Index) -> None:
        area = option.rect
        height = max(26, editor.sizeHint().height())
        left = area.left() + 6 + _GAP + _THUMBNAIL + 2
        editor.setGeometry(left, area.center().y() - height // 2, area.right() - left - 8, height)

    def setModelData(self, editor: QWidget, model: QAbstractItemModel, index: _Index) -> None:
        if isinstance(editor, QLineEdit):
            model.setData(index, editor.text())

    @staticmethod
    def _is_current(option: QStyleOptionViewItem, index: _Index) -> bool:
        view = option.widget
        return isinstance(view, QAbstractItemView) and view.currentIndex() == index

    def _paint_words(
        self, painter: QPainter, area: QRect, row: Row, palette: QPalette, *, selected: bool
    ) -> None:
        left = area.left() + 6 + _GAP + _THUMBNAIL + 8
        width = max(area.right() - left - 12, 8)
        metrics = painter.fontMetrics()
        top = area.center().y() - metrics.height() - 1
        name = metrics.elidedText(" ".join(row.name.split()), Qt.TextElideMode.ElideMiddle, width)
        roles = palette.ColorRole
        painter.setPen(palette.color(roles.HighlightedText if selected else roles.Text))
        flags = Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter | Qt.TextFlag.TextSingleLine
        painter.drawText(QRect(left, top, width, metrics.height() + 2), int(flags), name)
        painter.setPen(palette.color(roles.HighlightedText if selected else roles.PlaceholderText))
        line = metrics.elidedText(row.line, Qt.TextElideMode.ElideRight, width)
        painter.drawText(
            QRect(left, top + metrics.height() + 3, width, metrics.height() + 2), int(flags), line
        )

    def _paint_picture(self, painter: QPainter, place: QRect, row: Row, palette: QPalette) -> None:
        frame = QPainterPath()
        frame.addRoundedRect(QRectF(place), 6, 6)
        if row.pixels is not None:
            painter.save()
            painter.setClipPath(frame)
            painter.drawPixmap(place, self._thumbnail(row, painter.device().devicePixelRatioF()))
            painter.restore()
            return
        painter.fillPath(frame, palette.color(palette.ColorRole.Midlight))
        painter.setPen(QPen(palette.color(palette.ColorRole.Accent), 1.6))
        if row.samples is not None:
            painter.drawPolyline(_wave(row.samples, QRectF(place).adjusted(5, 7, -5, -7)))
        else:
            font = painter.font()
            big = painter.font()
            big.setPixelSize(22)
            painter.setFont(big)
            painter.setPen(palette.color(palette.ColorRole.PlaceholderText))
            painter.drawText(place, int(Qt.AlignmentFlag.AlignCenter), "“ ”")
            painter.setFont(font)

    def _thumbnail(self, row: Row, ratio: float) -> QPixmap:
        key = (row.id, ratio)
        kept = self._thumbnails.get(key)
        if kept is None:
            kept = QPixmap.fromImage(_thumbnail(row.pixels, round(_THUMBNAIL * ratio)))
            kept.setDevicePixelRatio(ratio)
            self._thumbnails[key] = kept
            if len(self._thumbnails) > _THUMBNAILS_KEPT:
                self._thumbnails.popitem(last=False)
        return kept


def _thumbnail(pixels: NDArray[np.uint8] | None, side: int) -> QImage:
    """The middle square of the pixels at `side`; big pictures are thinned first, which is quick."""
    if pixels is None or 0 in pixels.shape:
        return QImage(side, side, QImage.Format.Format_RGB888)
    height, width = pixels.shape[:2]
    edge = min(height, width)
    top, left = (height - edge) // 2, (width - edge) // 2
    step = max(1, edge // (3 * side))
    square = pixels[top : top + edge : step, left : left + edge : step]
    return ItemModel.picture(square).scaled(
        side, side, Qt.AspectRatioMode.IgnoreAspectRatio, Qt.TransformationMode.SmoothTransformation
    )


def _wave(samples: NDArray[np.float32], box: QRectF) -> QPolygonF:
    """A zigzag between the extremes of each part of the sound."""
    parts = np.array_split(samples[:: max(1, len(samples) // 20_000)], _WAVE_COLUMNS)
    peaks = np.array([part.max() if i % 2 else part.min() for i, part in enumerate(parts) if part.size])
    scale = float(np.abs(peaks).max()) if peaks.size else 0.0
    heights = peaks / scale if scale > 0 else peaks
    xs = np.linspace(box.left(), box.right(), max(len(heights), 1))
    middle, reach = box.center().y(), box.height() / 2
    return QPolygonF([QPointF(x, middle - y * reach) for x, y in zip(xs, heights, strict=False)])
