"""Every flow of the window on a service with the documented calls alone, while it misbehaves in every way it can."""

import shutil

import pytest
from PySide6.QtCore import QObject, QPoint, Slot
from PySide6.QtGui import QDesktopServices
from PySide6.QtWidgets import QPushButton

from apitorch_desktop.api.errors import ServerError
from apitorch_desktop.ui.classify.feedback import FeedbackDialog, MessageDialog
from apitorch_desktop.ui.classify.scratch_permission import ScratchPermissionDialog
from apitorch_desktop.ui.importer.dialog import ImportDialog
from apitorch_desktop.ui.session.session import ConnectionState
from apitorch_desktop.ui.tasks.runner import Lane
from tests.helpers import app_runner as program
from tests.helpers import x11_pointer as pointer
from tests.helpers.app_runner import dialog
from tests.helpers.documented_program import (
    CORNER,
    choose_work_safe,
    classify_address,
    digests,
    listed,
    pictures_shown,
    press_photo,
    run,
    select,
    shown,
    waiting,
)
from tests.helpers.widget_driver import choose, export, photos_in, press_cell, to_grid

PASSING = [429, 500, 502, "late", "half", "twice", "drop", "lost", "longer", "shorter", "garbage"]
"""What goes wrong once and is right the next time."""


def test_the_listing_and_the_thumbnails_come_whatever_goes_wrong_once(monkeypatch, service):
    service.unknown_fields = service.numbers_as_strings = service.reorder = True
    for fault in ("shorter", "half", "drop", 500, 502, "late", "longer"):
        service.wrong(fault, path="^/files/")

    def steps(made, said):
        listed(made, 6)
        assert {label: len(ids) for label, ids in shown(made).items()} == {"mountain": 2, "plains": 4}
        pictures_shown(made)
        for fault in PASSING:
            service.wrong(fault, path="/images$")
            service.seen.clear()
            made.session.refresh()
            program.wait(lambda: any(one.path.endswith("/images") for one in service.seen), f"{fault}: the call")
            program.wait(lambda: not made.session.open_set._task, f"{fault}: its end")
            assert made.model.total == 6, fault
            assert made.session.state is ConnectionState.READY, (fault, made.session.state_text)
        assert not [one for one in said if "could not" in one]

    run(monkeypatch, steps)


def test_addresses_that_run_out_are_fetched_anew_and_changed_ids_followed(monkeypatch, service):
    def steps(made, said):
        listed(made, 6)
        pictures_shown(made)
        service.expire()
        before = len(service.seen)
        image = made.model.image(0)
        select(made, [image.image_id])
        pointer.key("Return")  # its bytes are fetched by an address of yesterday
        program.wait(lambda: made.photos.big.canvas._photo and made.photos.big.canvas._photo.fitted, "the photo")
        program.wait(
            lambda: any("/files/" in one.path and one.status == 200 for one in service.seen[before:]), "the photo"
        )
        pointer.key("Escape")
        service.change_ids()
        made.session.refresh()
        program.wait(lambda: made.model.row_of(image.image_id) is None, "the new ids")
        listed(made, 6)
        pictures_shown(made)
        assert [one for one in said if "decide which service is open" not in one] == []

    run(monkeypatch, steps)


def test_photos_dropped_on_a_label_are_there_once_whatever_goes_wrong(monkeypatch, service, jpegs, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    for path in jpegs[6:]:
        shutil.copy(path, folder)
    (folder / "no photo.jpg").write_text("no picture")
    names = sorted(folder.iterdir())

    def steps(made, said):
        listed(made, 6)
        for fault in (500, 502, 429, "half", "lost", "drop", "shorter"):
            service.wrong(fault, method="POST", path="/image$")
        node = next(child for child in made.central_widget.tree.model.top()[0].children if child.text == "mountain")
        view = made.central_widget.tree.view
        target = program.place(view.viewport(), lambda: view.visualRect(made.central_widget.tree.model.index_of(node)))
        assert pointer.drag(names, target, CORNER) == "dropped"
        program.wait(lambda: len(service.content(service.number)["mountain"]) == 4, "the uploads")
        program.wait(lambda: made.model.total == 8, "the photos in the grid")
        assert any("no photo.jpg" in one for one in said)
        program.wait(lambda: any(one.startswith("Added 2 photos") for one in said), "the end")
        to_grid(made)
        pointer.key("ctrl+z")
        program.wait(lambda: made.model.total == 6, "the undo")
        program.wait(lambda: len(service.content(service.number)["mountain"]) == 2, "the undo at the service")

    run(monkeypatch, steps)


def test_a_folder_goes_through_the_plan_into_a_training_set_that_is_there(monkeypatch, service, jpegs, tmp_path):
    for path in jpegs[6:]:
        (tmp_path / "Winter" / "desert").mkdir(parents=True, exist_ok=True)
        shutil.copy(path, tmp_path / "Winter" / "desert")

    def steps(made, _said):
        listed(made, 6)
        assert pointer.drag([tmp_path / "Winter"], pointer.center(made.central_widget.pages), CORNER) == "dropped"
        plan = program.wait(lambda: dialog(ImportDialog), "the plan")
        program.wait(plan.start.isEnabled, "the look at the photos")
        program.press(plan.start)
        program.wait(lambda: len(service.content(service.number).get("desert", ())) == 2, "the uploads")
        program.wait(lambda: "desert" in made.session.open_set.labels, "the new label")

    run(monkeypatch, steps)


def test_a_url_is_classified_at_once_and_a_file_after_one_question(monkeypatch, service, jpegs):
    def steps(made, _said):
        listed(made, 6)
        panel = made.classify_panel
        choose_work_safe(made)
        url = made.session.workspace.listing(service.number).images[0].url
        assert pointer.drag([url], pointer.center(panel.photo), CORNER) == "dropped"
        program.wait(lambda: "work-safe" in panel.cards and panel.cards["work-safe"].answer, "an answer for the URL")
        assert dialog(ScratchPermissionDialog) is None

        assert pointer.drag([jpegs[7]], pointer.center(panel.photo), CORNER) == "dropped"
        question = program.wait(lambda: dialog(ScratchPermissionDialog), "the question")
        assert question.target.currentText() == "Coats"
        program.press(question.cancel)
        card = panel.cards["work-safe"]
        program.wait(lambda: "allow uploads" in card.sentence.text(), "what to do without leave")
        program.press(card.again)
        question = program.wait(lambda: dialog(ScratchPermissionDialog), "the question again")
        program.press(question.allow)
        program.wait(lambda: card.answer, "an answer for the file")
        for fault in (500, "lost"):  # deleting it goes wrong, and is tried again
            service.wrong(fault, method="DELETE", path="/training-image/")
        before = card.answer
        assert pointer.drag([jpegs[6]], pointer.center(panel.photo), CORNER) == "dropped"
        program.wait(
            lambda: (shown := panel.cards.get("work-safe")) and shown.answer not in (None, before),
            "an answer, not asked again",
        )
        assert dialog(ScratchPermissionDialog) is None
        program.wait(lambda: service.content(service.number)["desktop_scratch"] == [], "the scratch label to be empty")
        made.session.refresh()
        program.wait(lambda: not made.session.open_set._task, "the listing")
        assert "desktop_scratch" not in made.session.open_set.labels
        assert "desktop_scratch" not in shown(made)

    run(monkeypatch, steps)


@pytest.mark.parametrize("fault", [401, 403, 500, 502, "half", "garbage", "portal"])
def test_a_classification_that_fails_says_so_on_its_card_and_can_be_asked_again(monkeypatch, service, fault):
    def steps(made, _said):
        listed(made, 6)
        choose_work_safe(made)
        url = made.session.workspace.listing(service.number).images[0].url
        service.wrong(fault, path="/classify$", times=2)
        classify_address(made, url)
        card = program.wait(lambda: made.classify_panel.cards.get("work-safe"), "the card")
        program.wait(lambda: card.again.isVisible(), f"{fault}: a failure on the card")
        text = card.sentence.text()
        assert len(text) > 20, text
        assert not any(word in text for word in ("Error", "Traceback", "None")), text
        service.right()
        program.press(card.again)
        program.wait(lambda: card.answer, "the answer")

    run(monkeypatch, steps)


def test_feedback_and_a_message_arrive_and_a_failure_is_said(monkeypatch, service):
    def steps(made, said):
        listed(made, 6)
        choose_work_safe(made)
        url = made.session.workspace.listing(service.number).images[0].url
        classify_address(made, url)
        card = program.wait(lambda: made.classify_panel.cards.get("work-safe"), "the card")
        program.wait(lambda: card.answer, "the answer")
        program.press(card.wrong)
        question = program.wait(lambda: dialog(FeedbackDialog), "the feedback dialog")
        program.wait(question.isActiveWindow, "its focus")
        pointer.write("unsafe")
        program.wait(lambda: question.chosen() == "unsafe", "the label")
        pointer.key("Return")
        program.wait(lambda: service.sent, "the feedback")
        assert service.sent[0] == (card.answer.id, "unsafe")
        program.wait(lambda: "Thank you" in card.note.text(), "the thanks")

        service.wrong(403, path="/feedback/freeform")
        for text in ("One – not let through", "Grüße, and 安"):
            program.press(made.classify_panel.message)
            message = program.wait(lambda: dialog(MessageDialog), "the message dialog")
            message.text.setPlainText(text)
            program.press(message.send)
            program.wait(lambda: said and "essage" in said[-1], "what came of it")
            if text.startswith("One"):
                assert said[-1].startswith("Sending the message")
                said.clear()
        program.wait(lambda: ("", "Grüße, and 安") in service.sent, "the message")

    run(monkeypatch, steps)


@pytest.mark.parametrize("ids", ["random", "content"])
def test_a_photo_is_relabelled_deleted_and_brought_back_by_keys(monkeypatch, service, ids):
    service.ids = ids
    before = service.content(service.number)

    def steps(made, _said):
        listed(made, 6)
        pictures_shown(made)
        service.wrong("longer", path="^/files/")  # a copy that was cut off would be all that is left
        for fault in ("lost", 500, "half"):
            service.wrong(fault, method="POST", path="/image$")
        service.wrong("lost", method="DELETE", path="/training-image/")
        press_photo(made, shown(made)["plains"][0])
        pointer.key("1")  # labels in the order of the alphabet: mountain
        program.wait(lambda: len(service.content(service.number)["mountain"]) == 3, "the copy")
        program.wait(lambda: len(service.content(service.number)["plains"]) == 3, "the old one’s end")
        program.wait(lambda: not waiting(made), "the edit’s end")
        program.wait(
            lambda: {one: len(there) for one, there in shown(made).items()} == {"mountain": 3, "plains": 3}, "it"
        )
        program.wait(lambda: len(made.model.selected_ids()) == 1, "the selection kept under the new id")
        pointer.key("ctrl+z")
        program.wait(lambda: service.content(service.number) == before, "the undo")
        program.wait(
            lambda: {one: len(there) for one, there in shown(made).items()} == {"mountain": 2, "plains": 4}, "it"
        )

        service.wrong(500, method="DELETE", path="/training-image/")
        press_photo(made, shown(made)["mountain"][0])
        pointer.key("Delete")
        program.wait(lambda: len(service.content(service.number)["mountain"]) == 1, "the deletion")
        program.wait(lambda: made.model.total == 5 and not waiting(made), "its end")
        pointer.key("ctrl+z")
        program.wait(lambda: service.content(service.number) == before, "the photo brought back")
        listed(made, 6)
        pictures_shown(made)

    run(monkeypatch, steps)


def press_row(made, text, **how):
    """Click a row of the tree."""
    tree = made.central_widget.tree
    node = next(one for top in tree.model.top() for one in (top, *top.children) if one.text == text)
    press_cell(tree.view, tree.model.index_of(node), **how)


def labels(made):
    return dict(made.session.open_set.counts)


def test_labels_are_renamed_merged_and_deleted_by_copies_with_undo(monkeypatch, service):
    before = service.content(service.number)

    def ended(made, counts, what):
        program.wait(lambda: labels(made) == counts and not waiting(made), f"{what}: {labels(made)}")
        made.session.refresh()
        program.wait(lambda: not made.session.open_set._task, "the listing")
        program.wait(lambda: labels(made) == counts, f"{what}, listed again: {labels(made)}")
        assert {label: len(ids) for label, ids in shown(made).items()} == counts

    def steps(made, said):
        listed(made, 6)
        pictures_shown(made)
        service.wrong("lost", method="POST", path="/image$")
        press_row(made, "plains")
        pointer.key("F2")
        pointer.write("prairie")
        pointer.key("Return")
        states = [{"mountain": 2, "plains": 4}, {"mountain": 2, "prairie": 4}, {"prairie": 6}, {}]
        ended(made, states[1], "renamed")
        assert any("Renamed “plains” to “prairie”" in one for one in said)
        assert not [one for one in said if "Cancel" in one]
        assert service.content(service.number)["prairie"] == before["plains"]
        pictures_shown(made)  # by what is kept: no photo is fetched anew for its new id
        press_row(made, "mountain", button=3)
        choose("Merge into", "prairie")
        ended(made, states[2], "merged")
        press_row(made, "prairie")
        pointer.key("Delete")
        program.wait(lambda: labels(made) == {} and not waiting(made), "the deletion")
        assert not any(service.content(service.number).values())
        for state in (states[2], states[1], states[0]):
            pointer.key("ctrl+z")
            ended(made, state, "undone")
        assert {label: images for label, images in service.content(service.number).items() if images} == before
        for state in states[1:3]:
            pointer.key("ctrl+shift+z")
            ended(made, state, "done again")

    run(monkeypatch, steps)


def test_renaming_a_label_says_how_far_it_is_and_is_cancelled_by_a_button(monkeypatch, service):
    before = service.content(service.number)

    def steps(made, said):
        listed(made, 6)
        pictures_shown(made)
        service.wrong_in_turn("", "", "held", method="POST", path="/image$")  # under way until it is cancelled
        press_row(made, "plains")
        pointer.key("F2")
        pointer.write("prairie")
        pointer.key("Return")
        message = made.central_widget.status.message
        program.wait(lambda: any("of 4" in one for one in said), "how far it is")
        cancel = program.wait(
            lambda: next((one for one in message.findChildren(QPushButton) if one.text() == "Cancel"), None), "a button"
        )
        program.press(cancel)
        program.wait(lambda: any("was cancelled: all is as it was before" in one for one in said), f"the end: {said}")
        assert {label: images for label, images in service.content(service.number).items() if images} == before
        program.wait(lambda: labels(made) == {"mountain": 2, "plains": 4}, "the labels as they were")
        assert made.session.stores.edits.journal.undoable(made.session.connection.id) is None

    run(monkeypatch, steps)


def test_an_edit_that_is_throttled_goes_on_by_itself(monkeypatch, service):
    def steps(made, said):
        listed(made, 6)
        service.wrong(429, times=10_000, method="POST", path="/image$")
        select(made, shown(made)["plains"][:3])
        pointer.key("1")
        program.wait(lambda: made.session.state is ConnectionState.AWAY, f"the edit kept: {said}")
        assert any("it is kept here" in one for one in said), said
        assert len(waiting(made)) == 1
        service.right()
        program.wait(lambda: not waiting(made), "the edit")
        assert {label: len(found) for label, found in service.content(service.number).items()} == {
            "mountain": 5,
            "plains": 1,
        }

    run(monkeypatch, steps)


def test_edits_in_a_storm_come_out_as_meant(monkeypatch, service):
    def steps(made, said):
        listed(made, 6)
        ids = shown(made)
        service.chaos(0.25, [429, 500, 502, "drop", "lost", "half", "shorter"], seed=5)
        ended = []  # each edit comes out one way or the other
        made.edits.edited.connect(ended.append)
        made.edits.refused.connect(lambda: ended.append(None))
        select(made, ids["plains"][:3])
        pointer.key("1")
        select(made, ids["plains"][3:])
        pointer.key("Delete")
        program.wait(lambda: len(ended) >= 2, "the first tries")
        service.right()
        made.session.connect_service()
        program.wait(lambda: not waiting(made) and not made.tasks.active(Lane.INTERACTIVE), "all edits")
        left = shown(made).get("plains", [])
        if left:  # what failed each time was refused in a sentence, and is done again
            assert any(ServerError.advice in one for one in said), said
        if len(left) >= 3:
            select(made, left[:3])
            pointer.key("1")
        if len(left) in (1, 4):
            select(made, left[-1:])
            pointer.key("Delete")

        def counts():
            return {label: len(found) for label, found in service.content(service.number).items()}

        program.wait(lambda: counts() == {"mountain": 5, "plains": 0}, "the photos as meant")
        made.session.refresh()
        program.wait(lambda: made.model.total == 5, "the grid")
        assert all(made.model.label_at(row) == "mountain" for row in range(5))

    run(monkeypatch, steps)


def test_a_training_set_is_exported_while_addresses_run_out_and_answers_break(monkeypatch, service, tmp_path):
    wanted = [one for images in service.content(service.number).values() for one in images]

    def steps(made, _said):
        listed(made, 6)
        pictures_shown(made)
        for fault in ("shorter", "longer", 500, "drop", 502, "half", 429, "late"):
            service.wrong(fault, path="^/files/")
        expired = []
        seen = made.transfers.changed.connect(
            lambda status: (service.expire(), expired.append(1)) if not expired else None
        )
        export(made, "imagefolder", tmp_path / "out")
        program.wait(
            lambda: all(one.state == "done" for one in made.transfers.statuses) and made.transfers.statuses,
            "the end",
        )
        program.wait(lambda: len(photos_in(tmp_path / "out")) == 6, "the files")
        made.transfers.changed.disconnect(seen)
        assert expired

    run(monkeypatch, steps)
    files = list((tmp_path / "out" / "coats").rglob("*.jpg"))
    assert digests(files) == sorted(wanted)
    assert {path.parent.name for path in files} == {"plains", "mountain"}


class Browser(QObject):
    """In the place of the person's browser."""

    def __init__(self):
        super().__init__()
        self.opened = []

    @Slot("QUrl")
    def show(self, url):
        self.opened.append(url.toString())


def test_what_the_service_cannot_do_is_greyed_out_and_a_new_training_set_is_made_on_its_page(monkeypatch, service):
    browser = Browser()

    def steps(made, said):
        listed(made, 6)
        tree = made.central_widget.tree
        top = tree.model.top()[0]
        label = top.children[0]
        for node, greyed in (
            (label, {"New label…"}),
            (top, {"Rename…", "Delete training set", "New label…"}),
        ):
            menu = tree.view.menu_for(node)
            menu.popup(tree.mapToGlobal(QPoint(20, 20)))
            reasons = {one.text(): one.toolTip() for one in menu.actions() if not one.isEnabled() and one.text()}
            assert set(reasons) == greyed
            assert all("has no call for this" in reason for reason in reasons.values()), reasons
            assert {"New training set…"} <= {one.text() for one in menu.actions() if one.isEnabled()}
            menu.close()
            program.turn()
        tree.view.rename(top)
        assert "has no call for this" in said[-1]
        made.photos.grid.choose(0)
        reasons = {entry.id: entry.reason for entry in made.actions.entries()}
        for action in ("photo.find_similar", "photo.find_similar_everywhere"):
            assert "has no call for this" in reasons[action]
        program.press(tree.add)
        program.wait(lambda: browser.opened, "the service’s page")
        assert browser.opened == ["https://www.apitorch.com/training-sets"]
        program.wait(lambda: "made on www.apitorch.com" in said[-1], "what happens there")
        service.add_set("Made there")
        made.session.refresh()
        program.wait(lambda: len([one for one in tree.model.top() if one.training_set]) == 2, "the new training set")

    QDesktopServices.setUrlHandler("https", browser, "show")
    try:
        run(monkeypatch, steps)
    finally:
        QDesktopServices.unsetUrlHandler("https")


@pytest.mark.parametrize(
    ("fault", "state"),
    [
        (401, ConnectionState.REFUSED),
        (403, ConnectionState.REFUSED),
        ("portal", ConnectionState.AWAY),
        ("json", ConnectionState.AWAY),
        (500, ConnectionState.AWAY),
        (502, ConnectionState.AWAY),
    ],
)
def test_a_service_that_does_not_let_us_in_is_told_apart_and_tried_again(monkeypatch, service, fault, state):
    service.wrong(fault, times=10_000)

    def steps(made, _said):
        session = made.session
        program.wait(lambda: session.state is state, f"{fault}: {session.state} {session.state_text}")
        assert len(session.state_text) > 20
        assert made.central_widget.empty.isVisible()
        service.right()
        if state is ConnectionState.REFUSED:
            assert made.central_widget.offline_banner.isVisible()
            program.press(made.central_widget.offline_banner.again)
        listed(made, 6)
        assert session.state is ConnectionState.READY
        assert not made.central_widget.offline_banner.isVisible()

    run(monkeypatch, steps)


def test_the_environment_is_said_to_win(monkeypatch, service):
    def steps(made, _said):
        listed(made, 6)
        toolbar = made.central_widget.toolbar
        assert "APITORCH_BASE_URL" in toolbar.connection.toolTip()
        assert toolbar.connection.stripe == made.session.connection.color != ""
        texts = [message.text for message, _at in made.central_widget.status.message._failures]
        assert any("APITORCH_BASE_URL and APITORCH_API_KEY decide" in one for one in texts), texts
        made.connection_menu._fill()
        change = next(one for one in toolbar.connection_menu.actions() if one.text().startswith("Change"))
        assert not change.isEnabled()
        assert "override the settings" in change.toolTip()

    run(monkeypatch, steps)
