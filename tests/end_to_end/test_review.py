"""Review in the real program: faults planted among real photos are found by themselves, and put right by key and pointer."""

import pytest
from PySide6.QtWidgets import QApplication

from apitorch_desktop.cli.main import main
from apitorch_desktop.ui.photo_board.model import PhotoRow
from apitorch_desktop.ui.sidebar.model import RowType
from tests.helpers import app_runner as program
from tests.helpers import x11_pointer as pointer
from tests.helpers.planted_set import plant


@pytest.mark.action("review.accept", "review.dismiss", "review.keep", "review.delete", "review.open")
def test_what_is_wrong_with_a_set_is_found_and_put_right(monkeypatch, real_photos, tmp_path, home):
    planted = plant(real_photos, each=9, wrong=4, twins=4, blurred=2, black=2)
    folder = tmp_path / "Clothes"
    for label, name, data in planted.uploads:
        (folder / label).mkdir(parents=True, exist_ok=True)
        (folder / label / name).write_bytes(data)
    assert main(["import", str(folder), "--name", "Clothes"]) == 0

    def first_start(made):
        review, panel = made.review.review, made.review.panel
        wait_for_review(made)
        rows = {
            node.key: node.count for node in made.central_widget.tree.model.top() if node.row_type is RowType.FINDING
        }
        assert rows["duplicates"] == 4
        assert rows["quality"] == 4
        assert rows["suspects"] == sum(one.suspect for one in review.found.label_issues)
        clean_up_duplicates(made)
        accept_and_dismiss(made)
        through_the_matrix(made)
        assert panel.isHidden() or not made.review.shown

    def wait_for_review(made):
        review = made.review.review
        program.wait(lambda: review.found is not None and review.found.label_issues is not None, "what Review found")
        program.wait(lambda: not review.busy, "the end of the review")

    def press_finding(made, key):
        node = next(
            one for one in made.central_widget.tree.model.top() if one.row_type is RowType.FINDING and one.key == key
        )
        view = made.central_widget.tree.view
        index = made.central_widget.tree.model.index_of(node)
        view.scrollTo(index)
        program.press(view.viewport(), view.visualRect(index))
        program.wait(lambda: made.central_widget.pages.currentWidget() is made.review.part, "the panel")

    def clean_up_duplicates(made):
        panel, total = made.review.panel, made.model.total
        press_finding(made, "duplicates")
        one_group_by_keys(made)

        def doomed():
            rows = [row for row in panel.board.rows.rows if isinstance(row, PhotoRow)]
            return {row.image.image_id for row in rows if row.mark == "go"}

        program.wait(lambda: len(doomed()) == 4, "the copies on the board")
        going = doomed()
        program.press(panel.clean)
        program.wait(lambda: made.model.total == total - 4, "the others gone")
        program.wait(lambda: edits(made)[:1] == ["delete 4 photos"], "the deletion done")
        assert not any(made.model.label_of(one) for one in going)
        assert panel._none.isVisible()
        pointer.key("ctrl+z")
        program.wait(lambda: made.model.total == total, "the others back")
        program.wait(lambda: len(made.review.review.surplus()) == 4, "the groups back, without another look")

        program.press(panel.clean)
        program.wait(lambda: made.model.total == total - 4, "the others gone again")
        program.wait(lambda: len(made.review.trash.here) == 4, "the others in the trash")
        press_finding(made, "trash")
        page = made.review.trash_page
        program.wait(page.board.hasFocus, "the focus in the trash")
        shown = page.board.rows.rows[0].image.image_id
        program.wait(lambda: page.board.loader.pixmap(shown) is not None, "a picture from the trash")
        pointer.key("ctrl+a", "Return")
        program.wait(lambda: made.model.total == total, "the others back from the trash")
        program.wait(lambda: page._none.isVisible(), "an empty trash")

    def one_group_by_keys(made):
        """Keep the other of two near-duplicates, see it at full size, delete the first, and undo that."""
        board, big, total = made.review.panel.board, made.photos.big, made.model.total
        program.wait(board.hasFocus, "the focus on the board")
        first = board.selected_rows()[0].image.image_id
        pointer.key("Right")
        program.wait(lambda: board.selected_rows()[0].image.image_id != first, "the focus on the second")
        second = board.selected_rows()[0].image.image_id

        def mark(image_id):
            rows = [row for row in board.rows.rows if isinstance(row, PhotoRow) and row.image.image_id == image_id]
            return rows[0].mark if rows else ""

        assert (mark(first), mark(second)) == ("keep", "go")
        pointer.key("k")
        program.wait(lambda: (mark(first), mark(second)) == ("go", "keep"), "the second one kept")
        program.wait(board.hasFocus, "the focus on the board")
        pointer.key("o")
        program.wait(lambda: big.isVisible() and big.image().image_id == second, "full size")
        pointer.key("Escape")
        program.wait(lambda: board.isVisible() and board.hasFocus(), "the board again")
        pointer.key("Delete")
        program.wait(lambda: made.model.total == total - 1, "the first one gone")
        program.wait(lambda: edits(made)[:1] == ["delete 1 photo"], "the deletion done")
        assert made.model.label_of(first) is None and made.model.label_of(second)
        pointer.key("ctrl+z")
        program.wait(lambda: made.model.total == total, "it is back")
        program.wait(lambda: len(made.review.review.surplus()) == 4, "its group back")

    def accept_and_dismiss(made):
        review, panel = made.review.review, made.review.panel
        press_finding(made, "suspects")
        program.wait(panel.board.hasFocus, "the focus on the board")
        first = panel.board.selected_rows()[0].issue
        assert made.model.badges[first.image].startswith(f"{first.likely}? ")
        pointer.key("a")
        program.wait(lambda: made.model.label_of(first.image) == first.likely, "the photo under the likelier label")
        second = panel.board.selected_rows()[0].issue
        assert second.image != first.image
        pointer.key("d")
        program.wait(lambda: all(one.image != second.image for one in review.found.label_issues), "the doubt gone")
        assert second.image not in made.model.badges or "?" not in made.model.badges[second.image]
        dismissed.append((second.image, second.given))

    def through_the_matrix(made):
        review, panel = made.review.review, made.review.panel
        wait_for_review(made)
        press_finding(made, "labels")
        learned = review.found.learned
        labels = learned.labels
        there = {(one.given, one.likely) for one in review.found.label_issues}
        row, column = next(
            (i, j) for i, a in enumerate(labels) for j, b in enumerate(labels) if i != j and (a, b) in there
        )
        matrix = panel.labels.matrix
        wanted = {
            one.image for one in review.found.label_issues if (one.given, one.likely) == (labels[row], labels[column])
        }
        program.press(matrix, matrix.cell_rect(row, column))
        program.wait(lambda: made.central_widget.pages.currentWidget() is made.photos.grid, "the grid")
        assert {made.model.image(at).image_id for at in range(made.model.shown)} == wanted
        assert made.review.only.isVisible()
        program.press(made.review.only.all)
        program.wait(lambda: made.model.shown == made.model.total, "all photos again")

    def second_start(made):
        image, label = dismissed[0]
        wait_for_review(made)
        assert made.model.label_of(image) == label
        assert all(one.image != image for one in made.review.review.found.label_issues)

    dismissed = []
    assert program.run(monkeypatch, first_start) == 0
    assert program.run(monkeypatch, second_start) == 0
    assert not [one for one in QApplication.topLevelWidgets() if one.isVisible()]


def edits(made):
    stores, connection = made.session.stores, made.session.connection
    return [
        edit.title for edit in stores.edits.journal.rows(connection.id, limit=3, newest=True) if edit.stage == "done"
    ]
