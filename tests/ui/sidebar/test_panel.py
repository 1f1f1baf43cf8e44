import json

import pytest
from PySide6.QtCore import QMimeData, QPoint, QPointF, Qt, QUrl
from PySide6.QtGui import QDragEnterEvent, QDragMoveEvent, QDropEvent
from PySide6.QtTest import QAbstractItemModelTester
from PySide6.QtWidgets import QApplication, QLineEdit

from apitorch_desktop.api.types import Id, TrainingSet
from apitorch_desktop.ui.sidebar.model import FindingEntry, RowType, TreeModel
from apitorch_desktop.ui.sidebar.panel import TreePanel
from apitorch_desktop.ui.theme.theme import Theme
from apitorch_desktop.ui.widgets import drag_drop
from apitorch_desktop.utils.paths import resources
from tests.helpers import x11_pointer as pointer
from tests.helpers.event_loop import expose, wait_until


def training_set(number, name, **counts):
    return TrainingSet(id=Id(number), name=name, labels=list(counts), counts=list(counts.values()))


CLOTHES = training_set(1, "Clothes", dress=288, hat=149, shirt=345)
ZEBRAS = training_set(2, "Zebra breeds", plains=400, mountain=12)


def rows(model):
    return [(node.row_type, node.text, node.count, [child.text for child in node.children]) for node in model.top()]


# --- the model


@pytest.fixture
def model(qapp):
    model = TreeModel()
    model.tester = QAbstractItemModelTester(model, QAbstractItemModelTester.FailureReportingMode.Fatal)
    return model


def test_shows_training_sets_with_totals_and_labels_with_keys(model):
    model.set_training_sets([CLOTHES, ZEBRAS])
    assert rows(model) == [
        (RowType.TRAINING_SET, "Clothes", 782, ["dress", "hat", "shirt"]),
        (RowType.TRAINING_SET, "Zebra breeds", 412, ["mountain", "plains"]),
    ]
    assert [child.hint for child in model.find(Id(1)).children] == ["1", "2", "3"]


def test_what_stays_is_changed_in_place(model):
    model.set_training_sets([CLOTHES, ZEBRAS])
    clothes, dress = model.find(Id(1)), model.find(Id(1), "dress")
    resets = []
    model.modelReset.connect(lambda: resets.append(1))
    model.set_training_sets([ZEBRAS, training_set(1, "Summer", shoes=3, dress=289, shirt=345)])
    assert [node.text for node in model.top()] == ["Zebra breeds", "Summer"]
    assert model.find(Id(1)) is clothes
    assert model.find(Id(1), "dress") is dress
    assert (clothes.text, dress.count, dress.hint) == ("Summer", 289, "1")
    assert [child.text for child in clothes.children] == ["dress", "shirt", "shoes"]
    assert not resets


def test_a_service_without_counts_shows_none(model):
    model.set_training_sets([TrainingSet(id=Id("x"), name="Hosted")])
    assert rows(model) == [(RowType.TRAINING_SET, "Hosted", None, [])]


def test_what_review_found_stands_below_and_goes_again(model):
    model.set_training_sets([CLOTHES])
    model.set_findings("Review · Clothes", [FindingEntry("suspects", "Suspect labels", "flag", 27)])
    model.set_training_sets([CLOTHES, ZEBRAS])
    assert [node.text for node in model.top()] == ["Clothes", "Zebra breeds", "Review · Clothes", "Suspect labels"]
    model.set_findings("", [])
    assert [node.text for node in model.top()] == ["Clothes", "Zebra breeds"]


def test_a_row_being_named_survives_what_comes_meanwhile(model):
    model.set_training_sets([CLOTHES])
    made = []
    model.drafted.connect(lambda above, name: made.append((above and above.text, name)))
    index = model.start_draft(model.find(Id(1)))
    model.set_training_sets([training_set(1, "Clothes", dress=290, hat=149, shirt=345, shoes=1)])
    assert model.node(index).row_type is RowType.DRAFT
    model.setData(index, "  T-Shirt ")
    assert made == [("Clothes", "T-Shirt")]
    assert all(child.row_type is RowType.LABEL for child in model.find(Id(1)).children)


def test_a_screen_reader_hears_name_count_and_key(model):
    model.set_training_sets([CLOTHES])
    index = model.index_of(model.find(Id(1), "hat"))
    assert model.data(index, Qt.ItemDataRole.AccessibleTextRole) == "hat, 149 photos, key 2"


# --- the view, by pointer and keys


@pytest.fixture
def panel(qtbot):
    theme = Theme(resources())
    theme.apply(QApplication.instance())
    panel = TreePanel(theme, lambda extension: "Not here." if extension == "training-sets" else "")
    qtbot.addWidget(panel)
    panel.model.set_training_sets([CLOTHES, ZEBRAS])
    panel.view.set_open(Id(1))
    panel.resize(252, 700)
    panel.move(100, 100)
    expose(panel)
    panel.activateWindow()
    return panel


def place(panel, set_id, label=None):
    index = panel.model.index_of(panel.model.find(set_id, label))
    return pointer.center(panel.view.viewport(), panel.view.visualRect(index))


def test_the_open_set_is_unfolded_and_a_click_chooses(panel, qtbot):
    chosen = []
    panel.view.set_chosen.connect(chosen.append)
    panel.view.label_chosen.connect(lambda *what: chosen.append(what))
    pointer.click(place(panel, Id(1), "hat"))
    pointer.click(place(panel, Id(2)))
    assert chosen == [("1", "hat"), "2"]


def test_the_chevron_folds_without_choosing(panel, qtbot):
    chosen = []
    panel.view.set_chosen.connect(chosen.append)
    index = panel.model.index_of(panel.model.find(Id(1)))
    rect = panel.view.visualRect(index)
    pointer.click(panel.view.viewport().mapToGlobal(QPoint(rect.left() + 18, rect.center().y())))
    assert not panel.view.isExpanded(index)
    assert chosen == []


def test_a_label_is_named_in_its_row(panel, qtbot):
    named = []
    panel.model.renamed.connect(lambda node, name: named.append((node.key, name)))
    pointer.click(place(panel, Id(1), "hat"))
    panel.view.setFocus()
    panel.view.rename(panel.model.find(Id(1), "hat"))
    editor = panel.view.findChild(QLineEdit)
    assert editor.text() == "hat"
    editor.selectAll()
    pointer.write("cap")
    pointer.key("Return")
    assert named == [("hat", "cap")]
    assert panel.model.find(Id(1), "hat").text == "hat"  # until the service has done it


def test_what_the_service_cannot_do_says_why(panel, qtbot):
    refusals = []
    panel.view.refused.connect(refusals.append)
    pointer.click(pointer.center(panel.add))
    assert refusals == ["Not here."]
    panel.view.delete(panel.model.find(Id(1)))
    assert refusals == ["Not here."] * 2


def test_a_new_label_is_named_in_place_and_escape_drops_it(panel, qtbot):
    made = []
    panel.model.drafted.connect(lambda above, name: made.append((above.text, name)))
    for keys in (["Escape"], ["Return"]):
        panel.view.start_naming(panel.model.find(Id(1)))
        pointer.write("coat")
        pointer.key(*keys)
        wait_until(lambda: all(child.row_type is RowType.LABEL for child in panel.model.find(Id(1)).children))
    assert made == [("Clothes", "coat")]


def drop(view, point, mime, *, inside=False):
    """A drag within this process: enter, move, drop, as Qt sends them; (words said, whether it was taken)."""
    words = []
    view.drag_over.connect(words.append)
    action = Qt.DropAction.CopyAction
    where = view.viewport().mapFromGlobal(point)
    left, none = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
    QApplication.sendEvent(view.viewport(), QDragEnterEvent(where, action, mime, left, none))
    move = QDragMoveEvent(where, action, mime, left, none)
    QApplication.sendEvent(view.viewport(), move)
    if move.isAccepted():
        QApplication.sendEvent(view.viewport(), QDropEvent(QPointF(where), action, mime, left, none))
    view.drag_over.disconnect(words.append)
    return words, move.isAccepted()


def test_files_dropped_on_a_label_go_to_it(panel, tmp_path):
    dropped = []
    panel.view.content_dropped.connect(lambda *what: dropped.append(what))
    mime = QMimeData()
    mime.setUrls([QUrl.fromLocalFile(str(tmp_path / "a.jpg"))])
    words, taken = drop(panel.view, place(panel, Id(1), "shirt"), mime)
    assert taken
    assert words[0] == "Add to “shirt”"
    assert words[-1] == ""
    [(content, set_id, label)] = dropped
    assert content.paths == (tmp_path / "a.jpg",)
    assert (set_id, label) == ("1", "shirt")


def test_photos_of_our_own_fall_on_labels_only(panel):
    moved = []
    panel.view.images_dropped.connect(lambda *what: moved.append(what))
    mime = QMimeData()
    mime.setData(drag_drop.IDS_TYPE, json.dumps(["ti_1", "ti_2"]).encode())
    words, taken = drop(panel.view, place(panel, Id(1), "hat"), mime)
    assert taken
    assert words[0] == "Move to “hat”"
    assert moved == [(["ti_1", "ti_2"], "1", "hat")]
    assert not drop(panel.view, place(panel, Id(2)), mime)[1]


def test_a_real_drag_from_another_program_falls_on_the_label_under_the_pointer(panel, tmp_path):
    dropped = []
    panel.view.content_dropped.connect(lambda *what: dropped.append(what))
    picture = tmp_path / "a photo.jpg"
    picture.write_bytes(b"x")
    target = place(panel, Id(1), "dress")
    beside = QPoint(700, target.y() - 30)  # the way there leads over no other label
    assert pointer.drag([picture], target, beside) == "dropped"
    [(content, set_id, label)] = dropped
    assert content.paths == (picture,)
    assert (set_id, label) == ("1", "dress")


def test_what_review_found_is_a_click_away_below_many_labels(panel):
    many = training_set(1, "Clothes", **{f"label_{number:03}": number for number in range(300)})
    panel.model.set_training_sets([many])
    panel.model.set_findings("Review · Clothes", [FindingEntry("trash", "Trash", "trash", 3)])
    wait_until(panel.below.isVisible)
    heading = panel.model.top()[1]
    pointer.click(pointer.center(panel.below))
    in_sight = panel.view.viewport().rect()
    wait_until(lambda: in_sight.contains(panel.view.visualRect(panel.model.index_of(heading)).center()))
    wait_until(lambda: not panel.below.isVisible())
    panel.model.set_training_sets([CLOTHES])
    wait_until(lambda: not panel.below.isVisible())
