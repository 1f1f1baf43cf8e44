"""Versions of a classifier in the real program: one that is clearly worse waits, is looked at, used, and taken back."""

import pytest
from PySide6.QtCore import QRect

from apitorch_desktop.api.types import INBOX
from apitorch_desktop.ui.photo_board.model import HeadingRow, PhotoRow
from tests.helpers import app_runner as program
from tests.helpers import x11_pointer as pointer
from tests.helpers.summer_set import summer

EACH = 24


@pytest.mark.action("classifier.versions")
def test_a_worse_version_waits_for_the_word_of_the_user_and_every_choice_is_undone(monkeypatch, photos, tmp_path, home):
    summer(photos, tmp_path, ("dress", "hat"), EACH)

    def service(made):
        """(version in use, version that waits or None)"""
        state = made.session.workspace.client.classifier("summer")
        return state.version, state.waiting_version or None

    def steps(made):
        program.wait(lambda: made.session.open_set and made.model.total == 2 * EACH, "the photos")
        program.wait(lambda: headline(made) == "Classifier ready", "the classifier")
        spoil(made)
        correct(made)
        look(made)
        use_and_undo(made)
        keep_and_undo(made)
        compare(made)
        open_photo(made)

    def headline(made):
        return made.central_widget.tree.card.headline()

    def spoil(made):
        """Another program puts dresses under “hat”."""
        client, set_id = made.session.workspace.client, made.session.open_set.training_set.id
        dresses = sorted((photos / "train" / "dress").iterdir())[EACH:]
        ids = [client.upload_image(set_id, INBOX, path=path).id for path in dresses]
        client.move_images(set_id, ids, "hat")  # all at once: of a part of them it might learn a version that is used
        made.window.activateWindow()
        pointer.key("F5")
        program.wait(lambda: made.model.total == 2 * EACH + len(dresses), "what the other program added")
        program.wait(lambda: client.classifier("summer").status == "ready" and service(made)[1], "a version that waits")
        current, waiting = service(made)
        program.wait(lambda: headline(made) == f"Version {waiting} waits", "the word that it waits")
        assert current < waiting
        assert "clearly worse" in made.central_widget.tree.card.sentence()

    def correct(made):
        """A correction is felt at once, although a version waits."""
        client, grid = made.session.workspace.client, made.photos.grid
        before = service(made)
        grid.setFocus()
        program.wait(grid.hasFocus, "the focus in the grid")
        pointer.key("Home")
        image = made.model.image(0)
        data = made.session.workspace.image(made.session.open_set.training_set.id, image)
        assert client.classify(["summer"], data=data)[0].label == "dress"
        pointer.key("2")
        program.wait(lambda: service(made) == (before[0], before[1] + 1), "the next version, which waits as well")
        [answer] = client.classify(["summer"], data=data)
        assert (answer.label, answer.version) == ("hat", before[0])

    def look(made):
        page = made.versions.page
        program.press(made.central_widget.tree.card)
        program.wait(page.isVisible, "the page, by the card")
        program.wait(lambda: page.board.rows.rows, "the photos whose answer changed")
        current, waiting = service(made)
        assert [row.version for row in page.versions if row.waiting is True] == [waiting]
        assert [row.version for row in page.selected()] == [waiting]
        rows = page.board.rows.rows
        assert isinstance(rows[0], HeadingRow)
        assert rows[0].title.startswith("Worse")
        worse = [row for row in rows if isinstance(row, PhotoRow) and row.key.startswith("worse")]
        difference = page.selected()[0].difference
        if difference.version == current:
            assert len(worse) >= difference.worse
        first = worse[0].image
        assert made.model.label_of(first.image_id) == worse[0].lines[0].split(" → ")[0]
        program.wait(lambda: page.board.loader.pixmap(first.image_id) is not None, "its thumbnail")

    def use_and_undo(made):
        page, before = made.versions.page, service(made)
        assert page.use.text() == f"Use version {before[1]}"
        program.press(page.use)
        program.wait(lambda: service(made) == (before[1], None), "the version in use")
        program.wait(lambda: headline(made) == "Classifier ready", "the card")
        program.wait(lambda: not page.keep.isVisible(), "the page")
        go_back(made, before)
        pointer.key("ctrl+z")
        program.wait(lambda: service(made) == before, "the version before, and the other waiting again")
        program.wait(page.keep.isVisible, "the page")

    def go_back(made, before):
        page = made.versions.page
        page.choose(before[1])
        program.wait(page.back.isVisible, "the way back")
        number = int(page.back.text().rpartition(" ")[2])
        assert number < before[1]
        program.press(page.back)
        program.wait(lambda: service(made) == (number, None), "an older version in use")
        pointer.key("ctrl+z")
        program.wait(lambda: service(made) == (before[1], None), "the newer one again")

    def keep_and_undo(made):
        page, before = made.versions.page, service(made)
        program.press(page.keep)
        program.wait(lambda: service(made) == (before[0], None), "nothing that waits")
        program.wait(lambda: headline(made) == "Classifier ready", "the card")
        pointer.key("ctrl+z")
        program.wait(lambda: service(made) == before, "the other waiting again")
        pointer.key("ctrl+shift+z")
        program.wait(lambda: service(made) == (before[0], None), "the decision again")
        program.wait(lambda: not page.keep.isVisible(), "the page")

    def compare(made):
        page = made.versions.page
        newest, oldest = page.versions[0].version, page.versions[-1].version
        if not page.isVisible():
            pointer.key("ctrl+shift+v")
        program.wait(page.chart.isVisible, "the chart")
        _, dot = page.chart.points()[0]
        program.press(page.chart, QRect(round(dot.x()) - 1, round(dot.y()) - 1, 3, 3))
        program.wait(lambda: [row.version for row in page.selected()] == [oldest], "the first version, by its dot")
        program.wait(lambda: "no earlier version" in page._none.text(), "the word that there is none before")
        program.press(page.table.viewport(), page.table.visualRect(page.model.index(0, 1)))
        program.wait(lambda: [row.version for row in page.selected()] == [newest], "the newest, by its row")
        pointer.key("shift+End")
        program.wait(lambda: len(page.selected()) == len(page.versions), "all of them")
        program.wait(
            lambda: f"Version {newest} compared with version {oldest}" in page.words.text(), "the two compared"
        )
        program.wait(lambda: page.board.rows.rows, "the photos whose answer changed")

    def open_photo(made):
        page = made.versions.page
        program.wait(lambda: page.stack.currentWidget() is page.board, "the photos")
        place = next(at for at, row in enumerate(page.board.rows.rows) if isinstance(row, PhotoRow))
        program.press(page.board.viewport(), page.board.visualRect(page.board.rows.index(place)))
        pointer.key("Return")
        program.wait(made.photos.big.isVisible, "the photo full size")
        pointer.key("Escape")
        program.wait(page.board.hasFocus, "the photos of the page again")
        pointer.key("Escape")
        program.wait(made.photos.grid.hasFocus, "the grid")
        pointer.key("ctrl+shift+v")
        program.wait(page.isVisible, "the page, by the key")

    assert program.run(monkeypatch, steps) == 0
