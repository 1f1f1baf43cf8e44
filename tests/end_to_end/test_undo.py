"""Undo and redo of every act in the real program, over restarts; the trash; what was unfinished goes on at the next start."""

import shutil

import pytest
from PySide6.QtCore import QPoint
from PySide6.QtWidgets import QApplication, QLineEdit

from apitorch_desktop.cli.main import main
from apitorch_desktop.ui.classify.feedback import FeedbackDialog
from apitorch_desktop.ui.importer.dialog import ImportDialog
from apitorch_desktop.ui.sidebar.model import RowType
from tests.helpers import app_runner as program
from tests.helpers import x11_pointer as pointer
from tests.helpers.app_runner import dialog
from tests.helpers.summer_set import summer as summer_set
from tests.helpers.widget_driver import answer, choose, popup, press_cell, to_grid

CORNER = QPoint(1500, 920)
LABELS = ("dress", "hat", "pants", "shoes")
EACH = 4


@pytest.fixture
def summer(photos, tmp_path, home):
    return summer_set(photos, tmp_path, LABELS, EACH)


def ready(made):
    program.wait(lambda: made.session.open_set and made.session.open_set.listed and made.model.total, "the photos")
    program.wait(made.photos.grid.isVisible, "the grid")
    to_grid(made)


def listing(made):
    """Label → sorted sha256, as the service has them."""
    groups = made.session.workspace.client.images(made.session.open_set.training_set.id).data
    return {group.label: sorted(image.sha256 for image in group.images) for group in groups}


def history(made):
    return made.session.stores.edits.journal.rows(made.session.connection.id)


def how_many(made):
    """Edits that are done."""
    return [one.stage for one in history(made)].count("done")


def done(made, count):
    program.wait(lambda: how_many(made) == count, f"{count} edits done")


def node(made, label):
    return next(one for one in made.central_widget.tree.model.top()[0].children if one.text == label)


def tree_menu(made, found, *path):
    """Choose from the menu of a row of the tree."""
    made.window.activateWindow()
    program.wait(made.window.isActiveWindow, "the focus in the window")
    press_cell(made.central_widget.tree.view, made.central_widget.tree.model.index_of(found), button=3)
    choose(*path)


@pytest.mark.action("label.rename", "label.delete")
def test_every_act_is_undone_to_the_start_and_redone_to_the_end_over_restarts(monkeypatch, summer, photos, tmp_path):
    more = tmp_path / "More"
    (more / "hat").mkdir(parents=True)
    shutil.copy(max((photos / "train" / "hat").iterdir()), more / "hat")
    states = []

    def acts(made):
        ready(made)
        states.append(listing(made))
        acts = (move, rename, merge, delete_photos, delete_label, make_label, bring_in, correct)
        for number, act in enumerate(acts, how_many(made) + 1):
            act(made)
            done(made, number)
            states.append(listing(made))
            assert states[-1] != states[-2], act.__name__
            program.wait(
                lambda: dict(made.session.open_set.counts) == counts(states[-1]), f"the counts after {act.__name__}"
            )

    def counts(state):
        return {label: len(images) for label, images in sorted(state.items())}

    def move(made):
        made.photos.grid.choose(0)
        pointer.key("2")

    def rename(made):
        tree_menu(made, node(made, "pants"), "Rename label…")
        pointer.key("ctrl+a")
        pointer.write("Long Pants")
        pointer.key("Return")
        program.wait(lambda: "long_pants" in made.session.open_set.counts, "the new name")

    def merge(made):
        tree_menu(made, node(made, "dress"), "Merge into", "hat")

    def delete_photos(made):
        to_grid(made)
        made.photos.grid.choose(0)
        pointer.key("shift+Right", "Delete")

    def delete_label(made):
        tree_menu(made, node(made, "long_pants"), "Delete label with its photos")

    def make_label(made):
        tree_menu(made, made.central_widget.tree.model.top()[0], "New label…")
        program.wait(lambda: isinstance(QApplication.focusWidget(), QLineEdit), "a row to name it in")
        pointer.write("Scarf")
        pointer.key("Return")

    def bring_in(made):
        assert pointer.drag([more], pointer.center(made.photos.grid), CORNER) == "dropped"
        plan = program.wait(lambda: dialog(ImportDialog), "the plan")
        program.wait(plan.start.isEnabled, "the look at the photos")
        program.press(plan.start)
        program.wait(lambda: dialog(ImportDialog) is None, "the plan closed")

    def correct(made):
        client = made.session.workspace.client
        program.wait(lambda: client.classifier("summer").status == "ready", "the classifier")
        photo = max((photos / "test" / "dress").iterdir())
        assert pointer.drag([photo], pointer.center(made.classify_panel.photo), CORNER) == "dropped"
        card = program.wait(lambda: made.classify_panel.cards.get("summer"), "a card for the answer")
        program.wait(lambda: card.answer, "the answer")
        made.window.activateWindow()
        program.press(card.wrong)
        question = program.wait(lambda: dialog(FeedbackDialog), "the question what it is")
        program.wait(question.isActiveWindow, "the focus in it")
        pointer.write("scarf")
        program.wait(lambda: question.chosen() == "scarf", "the label")
        pointer.key("Return")

    def back(made):
        ready(made)
        for state in reversed(states[4:-1]):
            pointer.key("ctrl+z")
            program.wait(lambda state=state: listing(made) == state, "one more undone")

    def further_back(made):
        ready(made)
        for state in reversed(states[:4]):
            pointer.key("ctrl+z")
            program.wait(lambda state=state: listing(made) == state, "one more undone")
        program.wait(lambda: dict(made.session.open_set.counts) == counts(states[0]), "the start shown")
        for state in states[1:]:
            pointer.key("ctrl+shift+z")
            program.wait(lambda state=state: listing(made) == state, "one more done again")

    assert program.run(monkeypatch, acts) == 0
    assert program.run(monkeypatch, back) == 0
    assert program.run(monkeypatch, further_back) == 0


def add_winter(photos, tmp_path):
    """Import a second training set."""
    folder = tmp_path / "Winter"
    (folder / "hat").mkdir(parents=True)
    for photo in sorted((photos / "train" / "hat").iterdir())[:EACH]:
        shutil.copy(photo, folder / "hat")
    assert main(["import", str(folder), "--name", "Winter"]) == 0


@pytest.mark.action("edit.undo", "edit.redo")
def test_undo_takes_back_what_is_in_sight_and_offers_what_is_not(monkeypatch, summer, photos, tmp_path):
    add_winter(photos, tmp_path)
    said = []

    def show_set(made, name):
        tree = made.central_widget.tree
        row = next(row for row in tree.model.top() if row.text == name)
        if made.session.open_set.training_set.name != name:  # else the click would lead to the set's own page
            press_cell(tree.view, tree.model.index_of(row))
        program.wait(
            lambda: (open_set := made.session.open_set) and open_set.training_set.name == name and open_set.listed, name
        )
        to_grid(made)

    def counts(made, name):
        found = {one.name: one for one in made.session.workspace.client.training_sets()}
        return dict(zip(found[name].labels, found[name].counts, strict=True)) if name in found else None

    def menu_text(made, action_id):
        """What the menu Edit shows of an action: (text, tool tip, whether it can be chosen)."""
        bar = made.window.menuBar()
        program.press(bar, bar.actionGeometry(bar.actions()[1]))
        menu = program.wait(popup, "the menu Edit")
        action = next(one for one in menu.actions() if one.objectName() == action_id)
        found = (action.text(), action.toolTip(), action.isEnabled())
        pointer.key("Escape")
        program.wait(lambda: popup() is None, "the menu closed")
        return found

    def steps(made):
        made.session.message.connect(lambda message: said.append(message.text))
        program.wait(lambda: len(made.session.training_sets) == 2 and made.session.open_set, "two training sets")
        show_set(made, "Summer")
        assert menu_text(made, "edit.redo") == ("Redo", "There is nothing to redo.", False)
        to_grid(made)
        made.photos.grid.choose(0)
        pointer.key("2")
        program.wait(lambda: counts(made, "Summer")["hat"] == EACH + 1, "the photo under hat")
        show_set(made, "Winter")
        made.photos.grid.choose(0)
        pointer.key("Delete")
        program.wait(lambda: counts(made, "Winter") == {"hat": EACH - 1}, "a photo of the other set deleted")
        show_set(made, "Summer")
        moving = "Undo moving 1 photo to “hat”"
        program.wait(lambda: made.edits.undo_text() == moving, "what can be undone here, not in the other set")
        assert menu_text(made, "edit.undo") == (moving, moving, True)

        to_grid(made)
        pointer.key("ctrl+z")
        program.wait(lambda: counts(made, "Summer")["hat"] == EACH, "the move undone")
        assert counts(made, "Winter") == {"hat": EACH - 1}
        both = "Undone: move 1 photo to “hat”. The last change was in “Winter”: delete 1 photo."
        program.wait(lambda: both in said, f"what is said: {said}")
        answer(made, "Undo in “Winter”")
        program.wait(lambda: counts(made, "Winter") == {"hat": EACH}, "the deletion undone by its button")
        to_grid(made)
        pointer.key("ctrl+shift+z")
        program.wait(lambda: counts(made, "Summer")["hat"] == EACH + 1, "the move again")

        removed_in_the_tree(made)

    def removed_in_the_tree(made):
        tree = made.central_widget.tree
        tree_menu(made, next(row for row in tree.model.top() if row.text == "Winter"), "Delete training set")
        program.wait(lambda: counts(made, "Winter") is None, "the training set deleted")
        program.wait(lambda: "Deleted “Winter”." in said, "that it was")
        to_grid(made)
        pointer.key("ctrl+z")
        words = "The last change was: delete the training set “Winter”."
        program.wait(lambda: words in said, f"the offer: {said}")
        assert counts(made, "Winter") is None and counts(made, "Summer")["hat"] == EACH + 1
        answer(made, "Undo it")
        program.wait(lambda: counts(made, "Winter") == {"hat": EACH}, "the training set again")

    assert program.run(monkeypatch, steps) == 0


def image_ids(made):
    """The photos, as the service names them."""
    groups = made.session.workspace.client.images(made.session.open_set.training_set.id).data
    return {image.image_id for group in groups for image in group.images}


@pytest.mark.parametrize("number", [3, 10])  # files of their own, and one for all
def test_deleted_photos_wait_in_the_trash_over_a_restart_and_come_back_with_one_key(monkeypatch, summer, number):
    states, ids = [], []
    keys = ["shift+Right"] * (number - 1) + ["Delete"]

    def first(made):
        ready(made)
        states.append(listing(made))
        ids.append(image_ids(made))
        before = how_many(made)
        grid = made.photos.grid
        grid.choose(0)
        pointer.key(*keys)
        program.wait(lambda: len(image_ids(made)) == len(LABELS) * EACH - number, "the service without them")
        done(made, before + 1)
        pointer.key("ctrl+z")
        program.wait(lambda: image_ids(made) == ids[0], "the same photos again, by their ids")
        program.wait(lambda: made.model.total == len(LABELS) * EACH, "in the window too")
        to_grid(made)
        before = how_many(made)
        grid.choose(0)
        pointer.key(*keys)  # no question is asked
        program.wait(lambda: made.model.total == len(LABELS) * EACH - number, "they are gone")
        done(made, before + 1)
        program.wait(lambda: len(made.review.trash.here) == number, "they are in the trash")

    def second(made):
        ready(made)
        program.wait(lambda: len(made.review.trash.here) == number, "still in the trash")
        trash = next(
            one
            for one in made.central_widget.tree.model.top()
            if one.row_type is RowType.FINDING and one.key == "trash"
        )
        view = made.central_widget.tree.view
        view.scrollTo(made.central_widget.tree.model.index_of(trash))
        program.press(view.viewport(), view.visualRect(made.central_widget.tree.model.index_of(trash)))
        page = made.review.trash_page
        program.wait(page.board.hasFocus, "the focus in the trash")
        program.wait(
            lambda: page.board.loader.pixmap(page.board.rows.rows[0].image.image_id), "a picture from the trash"
        )
        pointer.key("ctrl+a", "Return")
        program.wait(lambda: listing(made) == states[0], "all back")
        program.wait(page._none.isVisible, "an empty trash")
        assert not page.hint.isVisible(), "keys that do nothing"

    def third(made):
        """The service has another port by now: the photos are fetched from there before they are deleted again."""
        ready(made)
        said = []
        made.session.message.connect(lambda message: said.append(message.text))
        pointer.key("ctrl+z")  # that they came back is undone
        program.wait(lambda: len(made.review.trash.here) == number, f"in the trash again: {said}")
        assert not [text for text in said if "answers" in text]
        pointer.key("ctrl+z")
        program.wait(lambda: listing(made) == states[0], "the deletion undone")
        assert image_ids(made) == ids[0]

    for steps in (first, second, third):
        assert program.run(monkeypatch, steps) == 0


def test_set_place_and_unfinished_transfer_are_there_at_the_next_start(monkeypatch, summer, photos, tmp_path):
    add_winter(photos, tmp_path)
    more = sorted((photos / "train" / "skirt").iterdir())[:6]

    def first(made):
        from apitorch_desktop.dataset.sources.image_source import ImageFile, UploadItem

        ready(made)
        row = program.wait(
            lambda: next((one for one in made.central_widget.tree.model.top() if one.text == "Winter"), None), "its row"
        )
        wanted = row.training_set
        press_cell(made.central_widget.tree.view, made.central_widget.tree.model.index_of(row))
        program.wait(lambda: made.model.total == EACH and made.session.open_set.listed, "the other set")
        program.press(made.central_widget.toolbar.sort)
        choose("Newest first")
        made.photos.grid.set_cell_size(120)
        pointer.key("F9")
        program.wait(lambda: not made.central_widget.side_shown("right"), "no classify panel")
        transfers, connection = made.session.stores.transfers, made.session.connection
        uploads = [UploadItem("skirt", ImageFile(photo), photo.name) for photo in more]
        transfer = transfers.add_upload(connection.id, wanted.id, "Skirts", uploads)
        transfers.pause(transfer)

    def second(made):
        program.wait(lambda: made.session.open_set is not None, "the set that was open")
        assert made.session.open_set.training_set.name == "Winter"
        program.wait(lambda: made.session.open_set.listed, "its photos")
        assert made.photos.sort == "newest"
        assert made.photos.grid.cell_size() == 120
        assert not made.central_widget.side_shown("right")
        paused = program.wait(lambda: next(iter(made.transfers.statuses), None), "the transfer")
        assert paused.state == "paused"
        program.press(made.central_widget.status.transfer._pause)
        program.wait(lambda: made.session.open_set.counts.get("skirt") == len(more), "the rest came in")

    assert program.run(monkeypatch, first) == 0
    assert program.run(monkeypatch, second) == 0
