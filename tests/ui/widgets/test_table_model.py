"""The table model by its columns: what a view, an editor, a check box and a screen reader get from it."""

from dataclasses import dataclass

import pytest
from PySide6.QtCore import QModelIndex, Qt
from PySide6.QtGui import QFont

from apitorch_desktop.ui.theme.tokens import LIGHT
from apitorch_desktop.ui.widgets.table_model import ROW_ROLE, SORT_ROLE, Column, TableFilter, TableModel

ROLE = Qt.ItemDataRole


@dataclass
class Photo:
    name: str
    label: str
    size: int
    wanted: bool = True
    broken: bool = False


def rename(photo, label):
    if not label:
        return False
    photo.label = label
    return True


def include(photo, wanted):
    photo.wanted = wanted
    return True


def font_of(photo):
    font = QFont()
    font.setStrikeOut(True)
    return None if photo.wanted else font


COLUMNS = [
    Column(
        title="Photo",
        text=lambda photo: photo.name,
        checked=lambda photo: photo.wanted and not photo.broken,
        check=include,
        editable=lambda photo: not photo.broken,
        font=font_of,
    ),
    Column(
        title="Label",
        text=lambda photo: photo.label or "no label yet",
        tooltip=lambda photo: "It cannot be read." if photo.broken else "",
        tone=lambda photo: "bad_text" if photo.broken else "",
        edit=rename,
        edit_text=lambda photo: photo.label,
    ),
    Column(
        title="Size",
        text=lambda photo: f"{photo.size} bytes",
        sort_key=lambda photo: photo.size,
        numeric=True,
        title_tooltip="Bytes of the file",
        descending=True,
    ),
]


@pytest.fixture
def photos():
    return [Photo("b.jpg", "hat", 900), Photo("a.jpg", "", 10_000), Photo("c.jpg", "boots", 20, broken=True)]


@pytest.fixture
def table(qapp, theme, photos):
    model = TableModel(COLUMNS, theme)
    model.show(photos)
    return model


def texts(model):
    return [[model.index(row, column).data() for column in range(3)] for row in range(model.rowCount())]


def test_cells_and_titles_come_from_the_columns(table, photos):
    assert texts(table) == [
        ["b.jpg", "hat", "900 bytes"],
        ["a.jpg", "no label yet", "10000 bytes"],
        ["c.jpg", "boots", "20 bytes"],
    ]
    assert [table.headerData(at, Qt.Orientation.Horizontal) for at in range(3)] == ["Photo", "Label", "Size"]
    assert table.headerData(2, Qt.Orientation.Horizontal, ROLE.ToolTipRole) == "Bytes of the file"
    assert table.headerData(1, Qt.Orientation.Horizontal, ROLE.ToolTipRole) is None
    assert table.headerData(2, Qt.Orientation.Horizontal, ROLE.TextAlignmentRole) & Qt.AlignmentFlag.AlignRight
    assert table.headerData(2, Qt.Orientation.Horizontal, ROLE.InitialSortOrderRole) == Qt.SortOrder.DescendingOrder
    assert table.headerData(0, Qt.Orientation.Vertical) is None
    assert table.index(2, 2).data(ROLE.TextAlignmentRole) & Qt.AlignmentFlag.AlignRight
    assert table.index(2, 0).data(ROLE.TextAlignmentRole) is None
    assert table.index(1, 2).data(ROW_ROLE) is photos[1]
    assert table.index(1, 0).data(ROLE.DecorationRole) is None
    assert table.rowCount(table.index(0, 0)) == table.columnCount(table.index(0, 0)) == 0


def test_tips_default_to_the_text_and_tones_to_that_of_the_palette(table):
    assert table.index(0, 0).data(ROLE.ToolTipRole) == "b.jpg"
    assert table.index(0, 1).data(ROLE.ToolTipRole) is None
    assert table.index(2, 1).data(ROLE.ToolTipRole) == "It cannot be read."
    assert table.index(2, 1).data(ROLE.ForegroundRole).name() == LIGHT.bad_text
    assert table.index(0, 1).data(ROLE.ForegroundRole) is None
    assert table.index(0, 0).data(ROLE.ForegroundRole) is None


def test_an_edit_is_stored_or_rejected(table, photos):
    label = table.index(1, 1)
    assert label.flags() & Qt.ItemFlag.ItemIsEditable
    assert not table.index(1, 0).flags() & Qt.ItemFlag.ItemIsEditable
    assert not table.index(1, 2).flags() & Qt.ItemFlag.ItemIsEditable
    assert label.data(ROLE.EditRole) == ""
    assert table.setData(label, "coat")
    assert not table.setData(label, "")
    assert not table.setData(table.index(1, 2), "7")
    assert not table.setData(label, 2, ROLE.CheckStateRole)
    assert photos[1].label == "coat"


def test_check_boxes_belong_to_their_column_and_may_be_fixed(table, photos):
    assert table.index(0, 0).data(ROLE.CheckStateRole) == Qt.CheckState.Checked
    assert table.index(0, 1).data(ROLE.CheckStateRole) is None
    assert table.index(0, 0).flags() & Qt.ItemFlag.ItemIsUserCheckable
    assert table.index(2, 0).data(ROLE.CheckStateRole) == Qt.CheckState.Unchecked
    assert not table.index(2, 0).flags() & Qt.ItemFlag.ItemIsUserCheckable
    assert table.setData(table.index(0, 0), Qt.CheckState.Unchecked.value, ROLE.CheckStateRole)  # as a delegate does
    assert not photos[0].wanted
    assert table.index(0, 0).data(ROLE.FontRole).strikeOut()
    assert table.index(1, 0).data(ROLE.FontRole) is None


def test_a_change_is_reported_for_one_row_or_for_all(qtbot, table, photos):
    with qtbot.waitSignal(table.dataChanged, timeout=60_000) as one:
        table.refresh(photos[2])
    assert [(index.row(), index.column()) for index in one.args[:2]] == [(2, 0), (2, 2)]
    with qtbot.waitSignal(table.dataChanged, timeout=60_000) as every:
        table.refresh()
    assert [(index.row(), index.column()) for index in every.args[:2]] == [(0, 0), (2, 2)]
    equal = Photo("c.jpg", "boots", 20, broken=True)
    assert equal == photos[2]
    with qtbot.assertNotEmitted(table.dataChanged):
        table.refresh(equal)  # an equal object is another row
    table.show([])
    with qtbot.assertNotEmitted(table.dataChanged):
        table.refresh()
        table.refresh(photos[2])


def test_columns_may_change_with_the_rows(table, photos):
    table.show(photos[:1], COLUMNS[:2])
    assert (table.rowCount(QModelIndex()), table.columnCount()) == (1, 2)
    assert table.headerData(2, Qt.Orientation.Horizontal) is None


def test_rows_are_sorted_by_their_keys_and_filtered_by_a_text_in_any_column(table):
    shown = TableFilter(table)
    shown.sort(2, Qt.SortOrder.DescendingOrder)
    assert [shown.index(at, 2).data(SORT_ROLE) for at in range(3)] == [10_000, 900, 20]
    shown.sort(1)
    assert [shown.index(at, 1).data() for at in range(3)] == ["boots", "hat", "no label yet"]
    shown.setFilterFixedString("HAT")
    assert [shown.index(at, 0).data() for at in range(shown.rowCount())] == ["b.jpg"]
    shown.setFilterFixedString("c.J")
    assert [shown.index(at, 0).data() for at in range(shown.rowCount())] == ["c.jpg"]
    shown.setFilterFixedString("")
    assert shown.rowCount() == 3
