"""The photos' menu in the real program: classify with one classifier, copy to another training set, export just these."""

import pytest
from PySide6.QtWidgets import QInputDialog

from apitorch_desktop.ui.exporter.controller import ExportDialog
from apitorch_desktop.utils.text import percent
from tests.helpers import app_runner as program
from tests.helpers import widget_driver as widgets
from tests.helpers import x11_pointer as pointer
from tests.helpers.app_runner import dialog
from tests.helpers.summer_set import summer


@pytest.mark.action(
    "photo.classify_with",
    "photo.split",
    "photo.copy_to_set",
    "photo.export",
    "photo.find_similar",
    "photo.find_similar_everywhere",
    "classifier.find_similar",
    "classifier.find_similar_everywhere",
    "photo.evidence",
)
def test_photos_are_classified_copied_and_exported_by_their_menu(monkeypatch, photos, tmp_path, home):
    summer(photos, tmp_path, ("dress", "hat"), 3)
    target = tmp_path / "exported"
    target.mkdir()

    def steps(made):
        model, grid, session = made.model, made.photos.grid, made.session
        program.wait(lambda: model.total == 6 and session.open_set.listed, "the photos")
        program.wait(lambda: session.classifiers, "the classifiers")
        program.wait(grid.isVisible, "the grid")
        classify_one(made)
        copied.update(model.image(row).image_id for row in (0, 3))
        choose(made, [0, 3], "Copy 2 photos to training set", "New training set…")
        asked = program.wait(lambda: dialog(QInputDialog), "the name asked for")
        program.wait(asked.isActiveWindow, "its focus")
        pointer.write("Other")
        pointer.key("Return")
        client = session.workspace.client
        other = program.wait(lambda: next((one for one in sets(client) if one.name == "Other"), None), "the new set")
        program.wait(lambda: counts(client, other) == {"dress": 1, "hat": 1}, "a copy under each label")
        first = next(one for one in session.training_sets if one.name == "Summer")
        session.open(first.id)
        program.wait(lambda: model.total == 6 and session.open_set.listed, "the first set")
        choose(made, [1, 4], "Copy 2 photos to training set", "Other", "hat")
        program.wait(lambda: counts(client, other) == {"dress": 1, "hat": 3}, "copies under one label")
        widgets.imports_ended(made)
        program.wait(lambda: session.stores.edits.unfinished(session.connection.id) == [], "the journal")
        pointer.key("ctrl+z")  # they are in another training set than the open one: offered, not undone
        widgets.answer(made, "Undo in “Other”")
        program.wait(lambda: counts(client, other) == {"dress": 1, "hat": 1}, "the copies taken back")
        assert counts(client, first) == {"dress": 3, "hat": 3}
        splits(made)
        export_some(made)
        find_similar(made)
        why(made)
        find_similar_everywhere(made, other)

    def classify_one(made):
        name = next(one.name for one in made.session.classifiers if one.slug == "safe-for-work")
        choose(made, [2], "Classify the photo with", name)
        cards = made.classify_panel.cards
        program.wait(lambda: list(cards) == ["safe-for-work"] and cards["safe-for-work"].answer, "its answer alone")
        assert made.classify_panel.name.full_text() == made.model.image(2).display_name

    def splits(made):
        """Put photos into a split and out of it, by the menus, and undo that."""
        model, bar = made.model, made.window.menuBar()
        client, set_id = made.session.workspace.client, made.session.open_set.training_set.id

        def held():
            found = [image for group in client.images(set_id).data for image in group.images]
            return {image.image_id: image.known_split for image in found if image.known_split}

        ids = [model.image(row).image_id for row in (0, 1, 4)]
        choose(made, [0, 1, 4], "Split", "Test – not learned, but measured")
        program.wait(lambda: held() == dict.fromkeys(ids, "test"), "three photos in the split test")
        program.wait(lambda: model.record(ids[0]).known_split == "test", "the split in the window")
        choose(made, [1], "Split", "None")
        program.wait(lambda: held() == {ids[0]: "test", ids[2]: "test"}, "one of them in none")
        program.wait(lambda: model.record(ids[1]).known_split == "", "that in the window")
        made.photos.grid.choose(model.row_of(ids[0]))
        program.press(bar, bar.actionGeometry(bar.actions()[1]))
        widgets.choose("photo.split", "Validation – not learned, but measured")
        program.wait(lambda: held() == {ids[0]: "validation", ids[2]: "test"}, "one by the menu bar")
        widgets.to_grid(made)
        for state in ({ids[0]: "test", ids[2]: "test"}, dict.fromkeys(ids, "test"), {}):
            pointer.key("ctrl+z")
            program.wait(lambda state=state: held() == state, f"the splits {state}")
        program.wait(lambda: not any(image.known_split for image in model.records()), "none in the window")

    def export_some(made):
        images = [made.model.image(row) for row in (0, 5)]
        choose(made, [0, 5], "Export 2 photos…")
        asked = program.wait(lambda: dialog(ExportDialog), "the export dialog")
        assert asked.windowTitle() == "Export 2 photos of “Summer”"
        asked.folder.setText(str(target))
        program.press(asked.start)
        wanted = {f"summer/{one.label}/{one.filename}" for one in images}
        program.wait(lambda: files(target) == wanted, "the two files")

    def find_similar(made):
        model, grid, bar = made.model, made.photos.grid, made.central_widget.toolbar
        made.window.activateWindow()
        wanted = model.image(4)
        client, set_id = made.session.workspace.client, made.session.open_set.training_set.id
        answer = program.wait(lambda: all_compared(client, set_id, wanted), "an embedding of every photo")
        choose(made, [4], "Find similar")
        program.wait(lambda: bar.sort.text() == "Sort: most similar first", "the order by likeness")
        assert model.image(0) is wanted
        near = {one.image_id: one.similarity for one in answer.data}
        (group,) = model.groups
        likeness = [near.get(one.image_id, 2) for one in group.images]
        assert len(likeness) == 6 and likeness == sorted(likeness, reverse=True)
        assert {model.label_at(row) for row in range(6)} == {"dress", "hat"}
        assert model.badge(wanted.image_id) == wanted.label
        second = model.image(1)
        assert model.badge(second.image_id) == f"{percent(near[second.image_id])} · {second.label}"
        labeled_in_the_list(made, second)
        assert wanted.display_name in made.review.only.words()
        program.press(made.review.only.all)
        program.wait(lambda: made.photos.only is None and bar.sort.text() == "Sort: most similar first", "all photos")
        grid.choose(1)
        grid.setFocus()
        second = model.image(1)
        pointer.key("ctrl+shift+f")
        program.wait(lambda: model.image(0) is second, "by key, those like another")
        program.press(bar.sort)
        widgets.choose("Label")
        program.wait(lambda: bar.sort.text() == "Sort: label", "the order by label")
        grid.setFocus()
        grid.choose(2)
        gone, shown = model.image(2), model.shown
        pointer.key("Delete")
        program.wait(lambda: model.shown == shown - 1 and "Deleted" in said(made), "the deleted one gone")
        pointer.key("ctrl+z")
        program.wait(lambda: model.shown == shown, "it is shown again by undo")
        names = {image.display_name for group in model.groups for image in group.images}
        assert gone.display_name in names
        choose(made, [0], "Find similar")
        program.wait(lambda: model.flat is not None, "the list of similar ones once more")
        pointer.key("Escape", "Escape")
        program.wait(lambda: made.photos.only is None, "all photos again, by key")
        assert [found.label for found in model.groups] == ["dress", "hat"]

    def labeled_in_the_list(made, image):
        """Put a photo under another label: it keeps its place among the similar ones."""
        model, grid = made.model, made.photos.grid
        client, set_id = made.session.workspace.client, made.session.open_set.training_set.id
        other = {"dress": "hat", "hat": "dress"}[image.label]

        def held():
            return {one.image_id: group.label for group in client.images(set_id).data for one in group.images}

        grid.setFocus()
        grid.choose(1)
        pointer.key(made.labeling.keys.key(other))
        program.wait(lambda: held()[image.image_id] == other, "the other label in the service")
        program.wait(lambda: model.label_at(1) == other, "the label in the list")
        assert model.id_at(1) == image.image_id
        pointer.key("ctrl+z")
        program.wait(lambda: held()[image.image_id] == image.label, "its label again")
        program.wait(lambda: model.label_at(1) == image.label, "its label in the list")
        set_id = made.session.open_set.training_set.id
        program.wait(lambda: all_compared(client, set_id, image), "an embedding of every photo again")

    def why(made):
        model, grid, big, panel = made.model, made.photos.grid, made.photos.big, made.classify_panel
        choose(made, [2], "Classify the photo with", "Summer")
        card = program.wait(lambda: panel.cards.get("summer"), "its card")
        program.wait(lambda: len(card.nearest.buttons) == 3, "the nearest photos of the answer")
        assert "100 % alike" in card.nearest.buttons[0].toolTip()  # itself
        program.press(card.why)
        heat_map = program.wait(lambda: panel.photo.heat_map, "what the answer rests on")
        assert heat_map.evidence.label == card.answer.label
        assert heat_map.text == card.note.text()
        plain = panel.photo.grab().toImage()
        program.press(card.why)
        program.wait(lambda: panel.photo.heat_map is None, "the photo without it")
        assert panel.photo.grab().toImage() != plain
        near = made.classify._nearest["summer"][1].image.image_id
        program.press(card.nearest.buttons[1])
        program.wait(lambda: model.selected_ids() == [near], "that photo in the grid")
        pointer.key("Return")
        program.wait(lambda: len(big.nearest.buttons) == 3, "the nearest photos at full size")
        pointer.key("ctrl+e")
        program.wait(lambda: big.canvas.heat_map, "what the label rests on")
        there, back = ("Right", "Left") if model.neighbor(near, 1) is not None else ("Left", "Right")
        pointer.key(there)
        program.wait(
            lambda: big.canvas.heat_map and big.image() is not model.record(near), "that of the photo beside it"
        )
        pointer.key(back, "ctrl+e")
        program.wait(lambda: big.canvas.heat_map is None, "the photo without it")
        program.wait(lambda: big.image() is model.record(near) and len(big.nearest.buttons) == 3, "the nearest ones")
        other = made.photos._nearest[0].image.image_id
        assert other != near
        program.press(big.nearest.buttons[0])
        program.wait(lambda: grid.isVisible() and model.selected_ids() == [other], "the next one in the grid")
        program.press(panel.similar)
        widgets.choose("Find photos like the dropped one")
        program.wait(lambda: made.photos.sort == "similar", "the order by likeness to the dropped one")
        program.press(panel.similar)
        widgets.choose("Find them in all training sets")
        page = made.similar_page
        program.wait(lambda: made.central_widget.pages.currentWidget() is page and page.board.hasFocus(), "the list")
        pointer.key("Escape")
        program.wait(grid.isVisible, "the grid again")

    def find_similar_everywhere(made, other):
        image = next(one for one in made.model.records() if one.image_id in copied)
        row = made.model.row_of(image.image_id)
        choose(made, [row], "Find similar in all training sets")
        page = made.similar_page
        program.wait(lambda: made.central_widget.pages.currentWidget() is page and page.board.hasFocus(), "the list")
        first = page.board.rows.rows[1]
        assert first.lines == (image.label + " · Other", "100 % alike")
        program.wait(lambda: page.board.loader.pixmap(first.key) is not None, "its thumbnail")
        pointer.key("Return")
        program.wait(lambda: made.session.open_set.training_set.id == other.id, "the other training set")
        program.wait(lambda: made.model.selected_ids() == [first.key], "the photo in it")

    copied = set()
    assert program.run(monkeypatch, steps) == 0


def choose(made, rows, *path):
    """Select rows, and choose from their menu with the pointer."""
    grid = made.photos.grid
    grid.setFocus()
    grid.choose(rows[0])
    for row in rows[1:]:
        grid.toggle(row)
    widgets.press_cell(grid, made.model.index(rows[0], 0), button=3)
    widgets.choose(*path)


def said(made):
    message = made.central_widget.status.message.current()
    return message.text if message is not None else ""


def all_compared(client, set_id, image):
    answer = client.similar(set_id, image_id=image.image_id)
    return answer if answer.compared == 6 else None


def sets(client):
    return client.training_sets()


def counts(client, training_set):
    return {one.label: one.count for one in client.labels(training_set.id)}


def files(folder):
    return {str(one.relative_to(folder)) for one in widgets.photos_in(folder, "*")}
