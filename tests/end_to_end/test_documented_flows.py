"""Flows over many photos on a misbehaving service with the documented calls alone: a batch, a comparison, Review."""

import csv
import shutil

import pytest

from apitorch_desktop.api.types import Id
from apitorch_desktop.ui.classify.scratch_permission import ScratchPermissionDialog
from apitorch_desktop.ui.photo_board.model import PhotoRow
from apitorch_desktop.ui.session.session import ConnectionState
from tests.helpers import app_runner as program
from tests.helpers import x11_pointer as pointer
from tests.helpers.app_runner import dialog
from tests.helpers.documented_program import CORNER, listed, run
from tests.helpers.fake_api import FakeApi
from tests.helpers.planted_set import plant
from tests.helpers.widget_driver import (
    choose_in_connection_menu,
    close_dialog,
    compare_with,
    pick,
    press_cell,
    save_table,
)


@pytest.fixture
def service(service):
    """The service with what its documentation leaves open done otherwise."""
    service.unknown_fields = service.numbers_as_strings = service.reorder = True
    return service


def test_a_folder_is_classified_by_way_of_the_scratch_label_asked_for_once(monkeypatch, service, jpegs, tmp_path):
    place = tmp_path / "New ones"
    place.mkdir()
    for path in jpegs[2:]:
        shutil.copy(path, place)
    (place / "notes.jpg").write_text("no picture")

    def steps(made, said):
        listed(made, 6)
        table = made.batch_panel
        program.wait(lambda: made.session.classifiers, "the classifiers")
        made.classify_panel.set_classifiers(made.session.classifiers, ["work-safe"])
        made.classify_panel.selection_changed.emit(["work-safe"])
        assert pointer.drag([place], pointer.center(made.classify_panel.photo), CORNER) == "dropped"
        question = program.wait(lambda: dialog(ScratchPermissionDialog), "the question")
        program.press(question.cancel)
        program.wait(lambda: any("allow uploads" in one for one in said), "what to do without leave")
        assert not table.isVisible()
        assert not any(one.method == "POST" for one in service.seen)

        for fault in (500, "half", 403):  # of the classification itself: not repeated, it may have been paid for
            service.wrong(fault, path="/classify$")
        for fault in (429, "lost", 502, "drop"):
            service.wrong(fault, method="POST", path="/image$")
        for fault in (500, "lost"):
            service.wrong(fault, method="DELETE")
        assert pointer.drag([place], pointer.center(made.classify_panel.photo), CORNER) == "dropped"
        question = program.wait(lambda: dialog(ScratchPermissionDialog), "the question again")
        program.press(question.allow)
        program.wait(lambda: table.model.counts[0] == 7 and not table.stop.isVisible(), "the end of the batch")
        failed = table.model.counts[1]
        assert failed == 4, "three that went wrong, and the one that is no picture"
        assert made.session.state is ConnectionState.READY
        program.press(table.again)
        program.wait(lambda: table.model.counts[:2] == (7, 1), "the failed ones")
        assert dialog(ScratchPermissionDialog) is None
        save_table(made, "As CSV…", tmp_path / "answers.csv")
        rows = list(csv.DictReader((tmp_path / "answers.csv").read_text("utf-8").splitlines()))
        assert sorted(one["label"] for one in rows if one["label"]) == ["safe for work"] * 6
        program.wait(lambda: service.content(service.number)["desktop_scratch"] == [], "an empty scratch label")
        assert sum(map(len, service.content(service.number).values())) == 6

    run(monkeypatch, steps)


def flat(service, number):
    """(sha256, label) of all images."""
    return sorted((one, label) for label, images in service.content(number).items() for one in images)


def test_two_such_services_are_compared_pushed_and_pulled_whatever_goes_wrong_once(monkeypatch, service, jpegs):
    data = [path.read_bytes() for path in jpegs]

    def steps(made, _said):
        listed(made, 6)
        stores = made.session.stores
        with FakeApi() as far:
            theirs = far.add_set("Coats", {"plains": data[2:3], "mountain": [*data[3:5], *data[6:]]})
            other = stores.connections.add("Elsewhere", far.url)
            stores.keys.store(other, far.key)

            def compared(wanted, *faults):
                for one in (service, far):
                    for fault in faults:
                        one.wrong(fault, path="^/files/")
                        one.wrong(fault, path="/images$")
                shown = compare_with(made, "Elsewhere")
                program.wait(lambda: shown.target.findText("Coats") >= 0 and shown.compare.isEnabled(), "their sets")
                assert shown.target.findData(None) < 0, "no new one: that is made on the service’s page"
                service.expire()
                far.expire()
                program.press(shown.compare)
                program.wait(lambda: wanted in shown.text.text(), f"{wanted}, not {shown.text.text()}")
                for one in (service, far):
                    one.right()
                return shown

            shown = compared("3 only here · 2 only there · 1 under another label · 2 the same.", 500, "half", "longer")
            before = flat(far, theirs)
            pick(shown.labels, shown.labels.itemText(1))
            assert flat(far, theirs) == before, "nothing is sent before it is wanted"
            for fault in (500, "lost"):
                far.wrong(fault, method="POST", path="/image$")
            far.wrong(429, method="DELETE")
            program.press(shown.push)
            program.wait(lambda: len(flat(far, theirs)) == 8, "what was pushed")
            program.wait(lambda: flat(service, service.number)[0] in flat(far, theirs), "it")
            program.wait(lambda: all(one.state == "done" for one in made.transfers.statuses), "the end of the transfer")
            shown = compared("0 only here · 2 only there · 0 under another label · 6 the same.", 429, "drop", "shorter")
            for fault in (502, "lost", "drop"):
                service.wrong(fault, method="POST", path="/image$")
            program.press(shown.pull)
            program.wait(lambda: flat(service, service.number) == flat(far, theirs), "what was pulled")
            program.wait(lambda: made.model.total == 8, "the grid")
            far.vanish()
            shown = compare_with(made, "Elsewhere")
            program.wait(lambda: "Nothing answers" in shown.text.text(), "that nobody is there")
            close_dialog(shown)

    run(monkeypatch, steps)


def test_labels_that_could_not_be_changed_there_are_said_and_changed_when_it_is_open(monkeypatch, service, jpegs):
    data = [path.read_bytes() for path in jpegs]

    def steps(made, said):
        listed(made, 6)
        stores = made.session.stores
        with FakeApi() as far:
            theirs = far.add_set("Coats", {"plains": data[:3], "mountain": data[3:6]})
            other = stores.connections.add("Elsewhere", far.url)
            stores.keys.store(other, far.key)
            shown = compare_with(made, "Elsewhere")
            program.wait(lambda: shown.target.findText("Coats") >= 0 and shown.compare.isEnabled(), "their sets")
            program.press(shown.compare)
            program.wait(lambda: "1 under another label" in shown.text.text(), "the comparison")
            pick(shown.labels, shown.labels.itemText(1))
            far.wrong(500, method="POST", path="/image$", times=20)
            program.press(shown.push)
            sentence = program.wait(lambda: next((one for one in said if "“Elsewhere”" in one), ""), "what came of it")
            assert "1 label could not be changed yet: that goes on when “Elsewhere” is open" in sentence
            far.right()
            made.window.activateWindow()
            choose_in_connection_menu(made, "Elsewhere")
            program.wait(lambda: flat(far, theirs) == flat(service, service.number), "the label")

    run(monkeypatch, steps)


def test_a_set_elsewhere_is_compared_with_this_computer_whose_service_is_started_for_it(monkeypatch, service):
    def steps(made, _said):
        listed(made, 6)
        assert not made.embedded.url, "not needed until now"
        shown = compare_with(made, made.session.stores.connections.get("embedded").name)
        program.wait(
            lambda: shown.target.findData(None) >= 0 and shown.compare.isEnabled(), "that one can be made here"
        )
        program.press(shown.compare)
        program.wait(lambda: "6 only here" in shown.text.text(), f"{shown.text.text()}")
        program.press(shown.push)
        client = made.session.stores.clients.get("embedded")
        program.wait(lambda: [sum(one.counts) for one in client.training_sets()] == [6], "the photos here")

    run(monkeypatch, steps)


def test_review_finds_and_cleans_up_what_is_wrong_while_answers_break(monkeypatch, service, photos):
    planted = plant(photos, each=4, wrong=0, twins=3, blurred=1, black=2)
    labels = {}
    for label, _, data in planted.uploads:
        labels.setdefault(label, []).append(data)
    number = service.add_set("Clothes", labels)
    total = len(planted.uploads)
    for fault in (500, "late", 502, "longer", "half", 429, "drop"):
        service.wrong(fault, path="^/files/")

    def steps(made, _said):
        program.wait(lambda: made.session.find_set(number), "the training sets")
        tree = made.central_widget.tree
        press_cell(tree.view, tree.model.index_of(tree.model.find(Id(number))))
        listed(made, total)
        review, panel = made.review.review, made.review.panel
        program.wait(lambda: review.found is not None and not review.busy, "what Review found")
        program.wait(lambda: len(review.surplus()) == 3, "the copies")
        finding = program.wait(
            lambda: next((row for row in tree.model.top() if row.key == "duplicates"), None), "the finding in the tree"
        )
        press_cell(tree.view, tree.model.index_of(finding))
        program.wait(lambda: any(isinstance(row, PhotoRow) for row in panel.board.rows.rows), "the board")
        for fault in (500, "lost", 429):
            service.wrong(fault, method="DELETE")
        program.press(panel.clean)
        program.wait(lambda: made.model.total == total - 3, "the copies gone")
        program.wait(lambda: sum(map(len, service.content(number).values())) == total - 3, "at the service too")
        made.window.activateWindow()
        tree.view.setFocus()
        program.wait(tree.view.hasFocus, "the focus in the tree")
        pointer.key("ctrl+z")
        program.wait(lambda: sum(map(len, service.content(number).values())) == total, "they are back")
        program.wait(lambda: made.model.total == total, "in the grid too")

    run(monkeypatch, steps)
