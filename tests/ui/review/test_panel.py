"""The review panel by pointer and keys, on findings as the child sends them; the confusion matrix as a picture."""

import pytest
from msgspec import structs
from PySide6.QtCore import QObject, Qt, Signal
from PySide6.QtTest import QAbstractItemModelTester
from PySide6.QtWidgets import QLabel, QPushButton

from apitorch_desktop.api.types import INBOX, LabelMetrics, Metrics, TrainingImage
from apitorch_desktop.dataset.review.findings import (
    Duplicate,
    DuplicateGroup,
    Findings,
    FlaggedImage,
    LabelAdvice,
    LabelIssue,
    OutOfFoldAnswer,
    OutOfFoldFigures,
)
from apitorch_desktop.ui.actions import ActionRegistry
from apitorch_desktop.ui.images.thumbnail_loader import ThumbnailLoader
from apitorch_desktop.ui.photo_board.model import BoardModel, HeadingRow, PhotoRow
from apitorch_desktop.ui.review.controller import ReviewController
from apitorch_desktop.ui.review.panel import ReviewPanel
from tests.helpers import x11_pointer as pointer
from tests.helpers.app_runner import press
from tests.helpers.event_loop import expose, turn, wait_until

LABELS = ["dress", "hat", "shirt"]


def image(number, label):
    return TrainingImage(id=f"ti_{number:040d}", filename=f"{number}.jpg", url="", label=label, width=400, height=300)


IMAGES = [image(number, LABELS[number % 3]) for number in range(12)]
IDS = [one.image_id for one in IMAGES]


def twin(number, width=400, day="2026-01-01"):
    return Duplicate(IDS[number], str(IMAGES[number].label), width, 300, 20_000, f"{day}T00:00:00Z", 0.2)


def findings():
    twins = [twin(0, 200), twin(1), twin(2, 300)]
    return Findings(
        counts={"dress": 4, "hat": 4, "shirt": 4},
        groups=[
            DuplicateGroup(twins, {"largest": IDS[1], "oldest": IDS[0], "sharpest": IDS[2]}),
            DuplicateGroup([twin(3), twin(4)], {"largest": IDS[3], "oldest": IDS[4], "sharpest": IDS[3]}),
        ],
        flagged=[FlaggedImage(IDS[5], ["blurred"]), FlaggedImage(IDS[6], ["dark", "tiny"])],
        label_issues=[
            LabelIssue(IDS[7], "hat", "shirt", 0.02, 0.9),
            LabelIssue(IDS[8], "shirt", "dress", 0.05, 0.8),
            LabelIssue(IDS[9], "dress", "hat", 0.4, 0.45),
        ],
        unsure=[IDS[9], IDS[10]],
        learned=OutOfFoldFigures(LABELS, [[3, 1, 0], [0, 3, 1], [1, 0, 3]], [0.75, 0.75, 0.75], 0.75),
        advice=[LabelAdvice("hat", "“hat” has 4 photos: from some ten on, answers become reliable.", False)],
        sentences={"blurred": "It is not sharp.", "dark": "It is almost black.", "tiny": "It has very few pixels."},
    )


class Known(QObject):
    """What `ReviewController` is to the panel: real findings and rules, with the acts written down in place of a service."""

    changed = Signal()
    progressed = Signal()

    def __init__(self):
        super().__init__()
        self.found, self.busy, self.share, self.problem, self.rule = findings(), False, None, "", "largest"
        self._kept = set()
        self.metrics = None
        self.acts = []

    keeper, others, surplus = ReviewController.keeper, ReviewController.others, ReviewController.surplus

    def images(self, ids):
        by_id = dict(zip(IDS, IMAGES, strict=True))
        return [by_id[one] for one in dict.fromkeys(ids)]

    def set_rule(self, rule):
        self.rule = rule
        self._kept.clear()
        self.changed.emit()

    def keep(self, group, image_id):
        self._kept -= set(group.images)
        self._kept.add(image_id)
        self.changed.emit()

    def __getattr__(self, name):
        if name in ("delete", "move", "accept", "confirm_labels", "dismiss_flags", "keep_all"):
            return lambda *what: self.acts.append((name, *what))
        raise AttributeError(name)


@pytest.fixture
def known(qapp):
    return Known()


@pytest.fixture
def panel(known, tasks, theme, photos, qtbot):
    jpeg = next((photos / "train" / "hat").iterdir()).read_bytes()
    loader = ThumbnailLoader(tasks, lambda _image, _cancelled: jpeg, parent=known)
    panel = ReviewPanel(known, theme, loader, lambda: LABELS)
    qtbot.addWidget(panel)
    panel.registry = ActionRegistry(panel, theme)
    panel.add_actions(panel.registry, {})
    panel.resize(820, 640)
    panel.move(40, 40)
    expose(panel)
    panel.activateWindow()
    panel.show_page("duplicates")
    wait_until(lambda: panel.board.hasFocus())
    yield panel
    panel.hide()
    loader.clear()


def rect(panel, at):
    return panel.board.visualRect(panel.board.rows.index(at))


def marks(panel):
    return {row.image.image_id: row.mark for row in panel.board.rows.rows if isinstance(row, PhotoRow)}


def test_groups_stand_with_the_one_to_keep_first_and_how_many_would_go(panel):
    rows = panel.board.rows.rows
    assert [row.title for row in rows if isinstance(row, HeadingRow)] == ["3 photos", "2 photos"]
    assert rows[1].image.image_id == IDS[1] and rows[1].mark == "keep"
    assert list(marks(panel).values()) == ["keep", "go", "go", "keep", "go"]
    assert panel.clean.text() == "Delete 3 others"


def test_a_heading_fills_its_line_and_photos_stand_below_side_by_side(panel):
    assert rect(panel, 0).width() > 0.9 * panel.board.viewport().width()
    assert rect(panel, 1).top() >= rect(panel, 0).bottom()
    assert rect(panel, 1).top() == rect(panel, 2).top() == rect(panel, 3).top()
    assert rect(panel, 4).top() >= rect(panel, 3).bottom()


def test_another_rule_keeps_another(panel, known):
    panel.rule.setCurrentIndex(panel.rule.findData("oldest"))
    kept = {image_id for image_id, mark in marks(panel).items() if mark == "keep"}
    assert kept == {IDS[0], IDS[4]}


def test_keys_that_were_changed_work_and_are_named_below(panel, known):
    assert panel._keys.text().startswith("K keeps this one · Del deletes")
    panel.registry.set_keys("review.keep", "X")
    panel.registry.set_keys("review.delete", "")
    assert panel._keys.text() == "X keeps this one · D keeps all · O or Return opens full size"
    wanted = panel.board.rows.rows[2]
    pointer.key("Right", "k", "Delete")  # the last two are nothing's keys any more
    assert marks(panel)[wanted.image.image_id] == "go"
    pointer.key("x")
    assert known.keeper(wanted.group) == wanted.image.image_id
    assert known.acts == []
    reasons = []
    panel.registry.unavailable.connect(reasons.append)
    pointer.key("a")
    wait_until(lambda: reasons)
    assert reasons == ["It has no effect on “Near-duplicates”."]


def test_a_click_on_keep_this_or_k_keeps_it(panel, known):
    first, wanted = panel.board.rows.rows[0].group, panel.board.rows.rows[2]
    place = panel.board._painter._mark_place(wanted, rect(panel, 2))["keep"]
    pointer.click(panel.board.viewport().mapToGlobal(place.center()))
    assert known.keeper(first) == wanted.image.image_id
    assert marks(panel)[wanted.image.image_id] == "keep"
    other = panel.board.rows.rows[6]
    panel.board.setCurrentIndex(panel.board.rows.index(6))
    pointer.key("k")
    assert known.keeper(other.group) == other.image.image_id
    assert known.keeper(first) == wanted.image.image_id


def test_one_click_deletes_all_others_and_asks_nothing(panel, known):
    pointer.click(pointer.center(panel.clean))
    assert known.acts == [("delete", [IDS[0], IDS[2], IDS[4]])]


def test_a_heading_offers_to_delete_its_others_or_to_keep_all(panel, known):
    heading = panel.board.rows.rows[0]
    places = panel.board._painter._action_places(heading, rect(panel, 0))
    for act in ("delete", "dismiss"):
        pointer.click(panel.board.viewport().mapToGlobal(places[act].center()))
    assert known.acts == [("delete", [IDS[0], IDS[2]]), ("keep_all", heading.group)]


def test_suspects_are_accepted_and_dismissed_by_one_key(panel, known):
    panel.show_page("suspects")
    assert [row.issue.image for row in panel.board.rows.rows] == [IDS[7], IDS[8]]  # the third is merely unsure
    first, second = known.found.label_issues[:2]
    pointer.key("a")
    pointer.key("Right")
    pointer.key("Return")
    pointer.key("d")
    pointer.key("Delete")
    pointer.key("1")
    assert known.acts[:4] == [
        ("accept", [first]), ("accept", [second]), ("confirm_labels", [IDS[8]]), ("confirm_labels", [IDS[8]]),
    ]  # fmt: skip
    assert known.acts[4][:1] + known.acts[4][2:] == ("move", "dress")


def test_suspects_can_be_answered_with_the_pointer(panel, known):
    panel.show_page("suspects")
    row = panel.board.rows.rows[0]
    places = panel.board._painter._action_places(row, rect(panel, 0))
    pointer.click(panel.board.viewport().mapToGlobal(places["accept"].center()))
    pointer.click(panel.board.viewport().mapToGlobal(places["dismiss"].center()))
    assert [act[0] for act in known.acts] == ["accept", "confirm_labels"]


def test_what_was_answered_leaves_and_the_focus_goes_to_the_next(panel, known):
    panel.show_page("suspects")
    pointer.key("Right")
    known.found.label_issues.pop(1)
    known.changed.emit()
    assert panel.board.selected_rows()[0].issue.image == IDS[7]
    known.found.label_issues.clear()
    known.changed.emit()
    assert panel.stack.currentWidget() is panel._none
    assert panel._none.text() == "No label looks wrong."


def test_faults_stand_by_kind_and_a_section_is_selected_at_once(panel, known):
    panel.show_page("quality")
    titles = [row.title for row in panel.board.rows.rows if isinstance(row, HeadingRow)]
    assert titles == ["Blurred", "Dark", "Tiny"]
    places = panel.board._painter._action_places(panel.board.rows.rows[2], rect(panel, 2))
    pointer.click(panel.board.viewport().mapToGlobal(places["select"].center()))
    pointer.key("Delete")
    pointer.key("d")
    assert known.acts == [("delete", [IDS[6]]), ("dismiss_flags", [IDS[6]])]


def test_what_teaches_most_is_confirmed_with_one_key(panel, known):
    panel.show_page("unsure")
    assert panel.board.rows.rows[0].lines == ("dress?", "or hat?")
    pointer.key("a")
    assert known.acts == [("confirm_labels", [IDS[9]])]


def test_a_photo_without_a_label_is_shown_with_the_answer(panel, known):
    image = structs.replace(IMAGES[9], label=INBOX)
    known.images = lambda ids: [image]
    known.found.answers = {IDS[9]: OutOfFoldAnswer("shirt", 0.6)}
    panel.show_page("unsure")
    assert panel.board.rows.rows[0].lines == ("shirt?", "no label yet")
    pointer.key("a")
    assert known.acts == [("confirm_labels", [IDS[9]])]


def test_chosen_photos_go_to_the_grid_and_one_is_looked_at_closely(panel, known):
    panel.show_page("suspects")
    shown, opened = [], []
    panel.grid_requested.connect(lambda ids, words: shown.append((ids, words)))
    panel.open_requested.connect(opened.append)
    pointer.key("o")
    pointer.key("ctrl+a")
    pointer.click(pointer.center(panel.in_grid))
    assert opened == [IMAGES[7]]
    assert shown == [([IDS[7], IDS[8]], "2 photos of suspect labels")]


def test_a_cell_of_the_confusion_matrix_shows_its_photos_by_pointer_and_by_keys(panel, known):
    panel.show_page("labels")
    shown, labels = [], []
    panel.grid_requested.connect(lambda ids, words: shown.append((ids, words)))
    panel.label_requested.connect(labels.append)
    matrix = panel.labels.matrix
    wait_until(lambda: matrix.hasFocus() and matrix.visibleRegion().contains(matrix.cell_rect(2, 2)))
    press(matrix, lambda: matrix.cell_rect(1, 2))
    assert shown == [([IDS[7]], "1 of “hat” taken for “shirt”")]
    pointer.key("Down", "Left", "Left", "Return")
    assert shown[1] == ([IDS[8]], "1 of “shirt” taken for “dress”")
    assert panel.labels._cell.text() == "1 photo of “shirt” is taken for “dress”."
    pointer.key("Up", "Up", "Return")
    assert labels == ["dress"]
    assert panel.labels.advice() == [known.found.advice[0].sentence]


def test_the_matrix_is_mirrored_from_right_to_left(panel):
    panel.show_page("labels")
    matrix = panel.labels.matrix
    before = matrix.cell_rect(0, 0).left()
    panel.setLayoutDirection(Qt.LayoutDirection.RightToLeft)
    assert matrix.cell_rect(0, 0).left() > matrix.cell_rect(0, 2).left()
    assert before != matrix.cell_rect(0, 0).left()
    assert matrix._at(matrix.cell_rect(2, 1).center().x(), matrix.cell_rect(2, 1).center().y()) == (2, 1)


@pytest.mark.parametrize("direction", [Qt.LayoutDirection.LeftToRight, Qt.LayoutDirection.RightToLeft])
def test_of_hundreds_of_labels_only_the_cells_in_sight_are_painted(panel, direction):
    panel.setLayoutDirection(direction)
    panel.show_page("labels")
    matrix, count = panel.labels.matrix, 300
    names = [f"label_{number}" for number in range(count)]
    ones = [[int(row == column) for column in range(count)] for row in range(count)]
    matrix.show_figures(OutOfFoldFigures(names, ones, [1.0] * count, 1.0), {})
    wait_until(lambda: matrix.height() > 300 * 22)
    turn()
    assert panel.labels.verticalScrollBar().maximum() < panel.height()  # the rest of the page is at hand
    assert panel.labels.horizontalScrollBar().maximum() == 0
    seen = matrix.visibleRegion().boundingRect()
    rows, columns = matrix._cells_in(seen)
    assert 5 < len(rows) < 40
    assert 5 < len(columns) < 40
    in_sight = [(row, at) for row in range(count) for at in range(60) if seen.intersects(matrix.cell_rect(row, at))]
    assert set(in_sight) <= {(row, at) for row in rows for at in columns}
    matrix.setFocus()
    for _ in range(60):
        pointer.key("Down")
    turn()
    assert matrix.visibleRegion().contains(matrix.cell_rect(60, 0).center())


def test_of_hundreds_of_sentences_a_few_are_listed_and_the_others_on_demand(panel, known):
    advice = [LabelAdvice(None, f"“label_{at}” has 3 photos.", False) for at in range(300)]
    known.found = structs.replace(known.found, advice=advice)
    panel.show_page("labels")

    def words():
        return [one.text() for one in panel.labels.findChildren(QLabel) if "has 3 photos" in one.text()]

    wait_until(lambda: len(words()) == 6)
    turn()  # those before are deleted
    more = next(one for one in panel.labels.findChildren(QPushButton) if one.text() == "Show 294 more")
    panel.labels.ensureWidgetVisible(more)
    turn()
    pointer.click(pointer.center(more))
    wait_until(lambda: len(words()) == 300)


def test_while_it_looks_it_says_how_far_it_is_and_what_is_in_the_way(panel, known):
    known.found, known.busy, known.share = None, True, 0.42
    known.changed.emit()
    known.progressed.emit()
    assert panel._note.full_text() == "looking at the photos: 42 %"
    assert panel._none.text() == "Looking at the photos…"
    known.busy, known.share, known.problem = False, None, "The service does not answer."
    known.progressed.emit()
    assert panel._note.full_text() == "The service does not answer."


def test_escape_goes_back(panel):
    closed = []
    panel.closed.connect(lambda: closed.append(1))
    pointer.key("Escape")
    assert closed == [1]


def test_rows_that_stay_are_not_reset(qapp):
    model = BoardModel()
    model.tester = QAbstractItemModelTester(model, QAbstractItemModelTester.FailureReportingMode.Fatal)
    rows = [HeadingRow("g", "2 photos"), *(PhotoRow(one.image_id, one) for one in IMAGES[:4])]
    model.show(rows)
    resets = []
    model.modelReset.connect(lambda: resets.append(1))
    model.show([rows[0], rows[2], PhotoRow(rows[3].key, rows[3].image, mark="keep")])
    assert not resets
    assert [row.key for row in model.rows] == ["g", IDS[1], IDS[2]]
    model.show(list(reversed(rows)))
    assert resets == [1]


def test_the_share_that_is_right_is_that_of_grid_and_sidebar_where_the_classifier_has_figures(panel, known):
    panel.show_page("labels")
    own = known.found.learned
    assert panel.labels.matrix._accuracy == dict(zip(own.labels, own.label_accuracy, strict=True))
    assert "right in Review’s check" in panel.labels._headline.text()
    figures = [
        LabelMetrics(label=label, count=3, accuracy=share)
        for label, share in zip(own.labels, (0.9, 0.25, 1), strict=True)
    ]
    known.metrics = Metrics(accuracy=0.72, images=9, folds=3, labels=figures)
    panel.show_metrics()
    assert panel.labels.matrix._accuracy == dict(zip(own.labels, (0.9, 0.25, 1), strict=True))
    assert panel.labels._headline.text() == f"72 % right on photos it had not seen. Weakest: {own.labels[1]}."
