"""Finding in the real program: search, filters with “not”, saved ones, sorting, the status line; suspects; the next start."""

import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtWidgets import QInputDialog, QLabel

from apitorch_desktop.cli.main import main
from apitorch_desktop.ui.shortcuts import CheatSheet
from apitorch_desktop.utils.text import percent
from tests.helpers import app_runner as program
from tests.helpers import widget_driver as widgets
from tests.helpers import x11_pointer as pointer
from tests.helpers.app_runner import dialog
from tests.helpers.planted_set import plant
from tests.helpers.widget_driver import choose_in_menu_bar, popup

LABELS = ("dress", "hat", "pants")
EACH = 30


@pytest.fixture
def summer(photos, tmp_path, home):
    folder = tmp_path / "Summer"
    for label in LABELS:
        (folder / label).mkdir(parents=True)
        real = sorted((photos / "train" / label).iterdir())
        for n in range(EACH):
            data = real[n % len(real)].read_bytes()
            (folder / label / f"{label} {n:02}.jpg").write_bytes(data + (b"%d" % n if n >= len(real) else b""))
    return folder


def said(made):
    return made.central_widget.status.selection.full_text()


def ready(made):
    program.wait(lambda: made.session.open_set and made.session.open_set.listed and made.model.total, "the photos")
    program.wait(made.photos.grid.isVisible, "the grid")
    made.photos.grid.setFocus()


@pytest.mark.action("view.search")
def test_search_and_status_line_and_the_next_start_as_it_was_left(monkeypatch, summer):
    assert main(["import", str(summer), "--name", "Summer"]) == 0
    total = len(LABELS) * EACH
    kept = {}

    def steps(made):
        ready(made)
        grid, model = made.photos.grid, made.model
        program.wait(lambda: said(made) == f"{total} photos", "how many there are")
        pointer.key("ctrl+f")
        program.wait(made.central_widget.toolbar.search.hasFocus, "the focus in the search")
        pointer.write("not hat")
        program.wait(lambda: said(made) == f"{2 * EACH} of {total} photos shown", "the negative search")
        pointer.key("Return", "ctrl+a")
        program.wait(lambda: said(made).startswith(f"{2 * EACH} of {total} selected · "), "how many and how much")
        assert said(made).endswith(f"B · {2 * EACH} shown")
        grid.set_cell_size(150)
        made.central_widget.show_side("right", False)
        program.wait(lambda: grid.width() > 1000, "the side gone")
        grid.verticalScrollBar().setValue(grid.verticalScrollBar().maximum() // 2)
        top = grid.content.rows_between(grid.top(), grid.top() + 400).start
        kept.update(image=model.image(top).image_id, y=grid.content.box(top).y - grid.top())

    def next_start(made):
        ready(made)
        grid, model = made.photos.grid, made.model
        program.wait(lambda: said(made) == f"{2 * EACH} of {total} photos shown", "what was filtered")
        assert made.central_widget.toolbar.search.text() == "not hat"
        assert grid.cell_size() == 150
        assert not made.central_widget.side_shown("right")
        program.wait(lambda: grid.top() > 0, "the place in the grid")
        row = model.row_of(kept["image"])  # also where a line holds more or fewer photos now
        program.wait(lambda: grid.content.box(row).y - grid.top() == kept["y"], "the same place")

    assert program.run(monkeypatch, steps) == 0
    assert program.run(monkeypatch, next_start) == 0


# --- by the menus


def choose(button, *path):
    """Choose from the menu of a button of the toolbar."""
    program.press(button)
    widgets.choose(*path)


def labels_shown(made):
    return [group.label for group in made.model.groups]


@pytest.mark.action("help.keys")
def test_filters_with_not_are_saved_by_name_and_labels_sorted_by_count(monkeypatch, summer):
    for photo in sorted((summer / "hat").iterdir())[:20]:
        photo.unlink()
    assert main(["import", str(summer), "--name", "Summer"]) == 0
    total = 2 * EACH + 10

    def steps(made):
        ready(made)
        bar = made.central_widget.toolbar
        program.wait(lambda: said(made) == f"{total} photos", "how many there are")
        choose(bar.filter, "Labels", "dress")
        program.wait(lambda: labels_shown(made) == ["dress"], "one label")
        choose(bar.filter, "Labels", "All but these")
        program.wait(lambda: labels_shown(made) == ["hat", "pants"], "all but that")
        assert said(made) == f"{EACH + 10} of {total} photos shown"
        choose(bar.filter, "Added", "In the last day")
        choose(bar.filter, "Shorter side", "224 pixels and more")
        program.wait(lambda: bar.filter.text() == "Filter: 3", "how many criteria")
        big = {
            one.image_id for one in made.model.records() if min(one.width, one.height) >= 224 and one.label != "dress"
        }
        assert made.model.shown == len(big)
        choose(bar.filter, "Save this filter…")
        asked = program.wait(lambda: dialog(QInputDialog), "the name asked for")
        program.wait(asked.isActiveWindow, "its focus")
        pointer.key("ctrl+a")
        pointer.write("no dresses")
        pointer.key("Return")
        program.wait(lambda: dialog(QInputDialog) is None, "the name given")
        made.window.activateWindow()
        choose(bar.filter, "Show all")
        program.wait(lambda: made.model.shown == total, "all again")
        splits_and_small_ones(made)
        choose(bar.sort, "Smallest label first")
        program.wait(lambda: labels_shown(made)[0] == "hat", "the smallest label first")
        choose(bar.sort, "Largest label first")
        program.wait(lambda: labels_shown(made)[-1] == "hat", "the smallest label last")
        choose(bar.sort, "File name")
        program.wait(lambda: labels_shown(made) == list(LABELS), "the order of labels")
        names = [one.original_filename for one in made.model.groups[0].images]
        assert names == sorted(names)
        every_key_is_listed(made)

    def next_start(made):
        ready(made)
        assert made.central_widget.toolbar.sort.text() == "Sort: file name"
        program.wait(lambda: made.model.total == total, "all photos")
        choose(made.central_widget.toolbar.filter, "no dresses")
        program.wait(lambda: made.central_widget.toolbar.filter.text() == "Filter: 3", "the saved filter")
        assert "dress" not in labels_shown(made)
        choose(made.central_widget.toolbar.filter, "Forget", "no dresses")
        program.wait(lambda: made.settings.saved_filters == {}, "the saved filter forgotten")
        choose(made.central_widget.toolbar.filter, "Shorter side", "Any size")
        choose(made.central_widget.toolbar.filter, "Added", "Any time")
        program.wait(lambda: made.central_widget.toolbar.filter.text() == "Filter: 1", "the label alone")

    def splits_and_small_ones(made):
        bar, model, grid = made.central_widget.toolbar, made.model, made.photos.grid
        client, set_id = made.session.workspace.client, made.session.open_set.training_set.id
        small = {one.image_id for one in model.records() if min(one.width, one.height) < 224}
        choose(bar.filter, "Shorter side", "Smaller than 224 pixels")
        program.wait(lambda: {one.image_id for one in shown(model)} == small, "the small ones")
        choose(bar.filter, "Shorter side", "Any size")
        program.wait(lambda: model.shown == total, "all again")
        grid.setFocus()
        grid.choose(0)
        grid.toggle(1)
        tested = set(model.selected_ids())
        choose_in_menu_bar(made, "&Edit", "Split", "Test – not learned, but measured")

        def held():
            found = [image for group in client.images(set_id).data for image in group.images]
            return {image.image_id for image in found if image.known_split == "test"}

        program.wait(lambda: held() == tested, "two photos for the test, in the service")
        for words, wanted in (("Test", 2), ("None", total - 2), ("Train", 0), ("Any", total)):
            choose(bar.filter, "Split", words)
            program.wait(lambda wanted=wanted: model.shown == wanted, f"{words}: {wanted}")
        program.press(bar.filter)
        menu = program.wait(popup, "the filter")
        greyed = {one.text(): one.toolTip() for one in menu.actions() if one.text() and not one.isEnabled()}
        assert greyed == dict.fromkeys(("Show all", "Save this filter…"), "No filter is set.")
        assert menu.toolTipsVisible()
        pointer.key("Escape")
        program.wait(lambda: popup() is None, "the menu closed")
        made.window.activateWindow()

    def every_key_is_listed(made):
        pointer.key("question")
        sheet = program.wait(lambda: dialog(CheatSheet), "the page of keys")
        program.wait(sheet.isActiveWindow, "its focus")
        texts = " ".join(one.text() for one in sheet.findChildren(QLabel))
        for words in ("Undo", "Next photo whose label looks wrong", "Keeps this one", "Takes the likelier label"):
            assert words in texts
        review = [one for one in sheet.findChildren(QLabel) if one.text().startswith("Review: ")]
        assert len(review) == 4
        assert len({one.mapTo(sheet, QPoint(0, 0)).x() for one in review}) == 1, "Review in one column"
        pointer.key("Escape")
        program.wait(lambda: dialog(CheatSheet) is None, "the page closed")

    assert program.run(monkeypatch, steps) == 0
    assert program.run(monkeypatch, next_start) == 0


@pytest.mark.action("label.next_suspect", "label.previous_suspect")
def test_what_review_found_is_filtered_and_suspects_are_jumped_to(monkeypatch, photos, tmp_path, home):
    planted = plant(photos, each=6, wrong=3, twins=3, blurred=2, black=1)
    folder = tmp_path / "Clothes"
    for label, name, data in planted.uploads:
        (folder / label).mkdir(parents=True, exist_ok=True)
        (folder / label / name).write_bytes(data)
    assert main(["import", str(folder), "--name", "Clothes"]) == 0

    def steps(made):
        ready(made)
        review, bar, grid, model = made.review.review, made.central_widget.toolbar, made.photos.grid, made.model
        program.wait(lambda: review.found is not None and review.found.label_issues is not None, "what Review found")
        program.wait(lambda: not review.busy, "the end of the review")
        suspects = set(review.ids_of("suspects"))
        assert suspects
        for words, key in (
            ("Label looks wrong", "suspects"),
            ("Worth a check next", "unsure"),
            ("Flagged: blurred, dark, tiny …", "quality"),
            ("Has a near-duplicate", "duplicates"),
        ):
            choose(bar.filter, "Found by Review", words)
            wanted = set(review.ids_of(key))
            program.wait(lambda wanted=wanted: {one.image_id for one in shown(model)} == wanted, words)
            assert said(made) == f"{len(wanted)} of {model.total} photos shown"
            choose(bar.filter, "Show all")
            program.wait(lambda: model.shown == model.total, "all again")
        how_sure_the_classifier_is(made)
        grid.setFocus()
        rows = model.rows_of(suspects)
        grid.choose(rows[-1])
        pointer.key("F3")  # round and round
        program.wait(lambda: grid.currentIndex().row() == rows[0], "the first suspect")
        assert model.selected_ids() == [model.image(rows[0]).image_id]
        pointer.key("shift+F3")
        program.wait(lambda: grid.currentIndex().row() == rows[-1], "the one before")
        pointer.key("Return", "F3")
        program.wait(lambda: made.photos.big.image() is model.image(rows[0]), "the next suspect at full size")
        issue = next(one for one in review.found.label_issues if one.image == model.image(rows[0]).image_id)
        assert f"Classifier: {issue.likely}, {percent(issue.likely_value)} sure" in made.photos.big.details.full_text()

    def how_sure_the_classifier_is(made):
        model, bar, answers = made.model, made.central_widget.toolbar, made.review.review.found.answers
        right = sum(answers[one.image_id].label == one.label for one in model.records() if one.image_id in answers)
        assert right == round(made.review.review.found.learned.accuracy * len(answers))
        label = min(answers.values(), key=lambda answer: answer.confidence).label
        wanted = {one for one, answer in answers.items() if answer.confidence < 0.6 and answer.label == label}
        assert 0 < len(wanted) < len(answers)
        pointer.key("ctrl+f")
        pointer.write(f"confidence<0.6 predicted:{label}")
        program.wait(lambda: {one.image_id for one in shown(model)} == wanted, "the photos it is unsure about")
        pointer.key("ctrl+a", "BackSpace")
        program.wait(lambda: model.shown == model.total, "all again")
        choose(bar.filter, "Classifier’s answer", "Another label than the photo’s")
        program.wait(lambda: model.shown == len(made.review.review.found.label_issues), "the answers that differ")
        choose(bar.filter, "Show all")
        choose(bar.sort, "Least sure first")
        program.wait(lambda: bar.sort.text() == "Sort: least sure first", "the order")
        for group in model.groups:
            sure = [answers[one.image_id].confidence for one in group.images if one.image_id in answers]
            assert sure == sorted(sure)
        first = model.index(0, 0)
        answer = answers[model.image(0).image_id]
        assert answer.text in first.data(Qt.ItemDataRole.ToolTipRole)
        assert percent(answer.confidence) in model.badge(model.image(0).image_id)
        choose(bar.sort, "Label")
        program.wait(lambda: bar.sort.text() == "Sort: label", "the order as it was")

    assert program.run(monkeypatch, steps) == 0


def shown(model):
    return [model.image(row) for row in range(model.shown)]
