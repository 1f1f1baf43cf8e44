"""Review in the session, on a service with the documented calls alone: a move gives a photo another id there."""

from contextlib import contextmanager

import pytest
from PySide6.QtCore import QSettings

from apitorch_desktop.api.types import INBOX
from apitorch_desktop.dataset.app_data import open_app_data
from apitorch_desktop.ui.grid.model import GridModel
from apitorch_desktop.ui.review.controller import ReviewController
from apitorch_desktop.ui.session.edit_controller import EditController
from apitorch_desktop.ui.session.session import Session
from apitorch_desktop.ui.settings import Settings
from apitorch_desktop.utils import paths
from apitorch_desktop.utils.text import percent
from tests.helpers.event_loop import wait_until
from tests.helpers.fake_api import KEY, FakeApi
from tests.helpers.planted_set import plant


class Desk:
    """The review controller with its session, as the bootstrap makes them, without widgets."""

    def __init__(self, tasks, service, settings):
        self.stores = open_app_data(paths.desktop_folder(), paths.cache_folder())
        self.model = GridModel()
        self.session = Session(tasks, self.model)
        self.editing = EditController(self.session)
        self.review = ReviewController(self.session, self.editing, self.model, settings)
        self.said = []
        self.session.message.connect(self.said.append)
        connection = self.stores.connections.add("Elsewhere", service.url)
        self.stores.keys.store(connection, KEY)
        self.session.use(self.stores, connection)

    @property
    def found(self):
        return self.review.found

    def looked(self):
        found = self.found
        return found is not None and found.label_issues is not None and not self.review.busy


@pytest.fixture
def planted(photos):
    return plant(photos, each=6, wrong=3, twins=2, blurred=1, black=1)


@pytest.fixture
def service(planted):
    labels = {}
    for label, _name, data in planted.uploads:
        labels.setdefault(label.replace("-", "_"), []).append(data)
    with FakeApi() as service:
        service.add_set("Clothes", labels)
        yield service


@pytest.fixture
def desk(tasks, service, tmp_path):
    with looking(tasks, service, tmp_path) as desk:
        yield desk


@contextmanager
def looking(tasks, service, tmp_path):
    settings = Settings(store=QSettings(str(tmp_path / "window.ini"), QSettings.Format.IniFormat))
    desk = Desk(tasks, service, settings)
    wait_until(desk.looked, "Review did not end")
    yield desk
    desk.session.deleteLater()
    assert tasks.shutdown(60)
    desk.stores.close()


def test_a_photo_without_a_label_is_asked_for_and_takes_the_answer(tasks, photos, tmp_path):
    def some(label, start, end):
        return [path.read_bytes() for path in sorted((photos / "train" / label).iterdir())[start:end]]

    with FakeApi() as service:
        service.add_set(
            "Clothes", {"dress": some("dress", 0, 8), "shoes": some("shoes", 0, 8), INBOX: some("shoes", 9, 12)}
        )
        with looking(tasks, service, tmp_path) as desk:
            model, asked = desk.model, desk.found.unsure
            assert asked and {model.label_of(image_id) for image_id in asked} == {INBOX}
            answered = [image_id for image_id in asked if image_id in desk.found.answers]
            assert answered, "none of the shoes is like the other shoes"
            label = desk.found.answers[answered[0]].label
            before = {group.label: len(group.images) for group in model.groups}[label]
            desk.review.confirm_labels(answered[:1])
            wait_until(
                lambda: {group.label: len(group.images) for group in model.groups}[label] == before + 1, "no move"
            )
            assert answered[0] not in (desk.found.unsure or ())


def test_an_accepted_label_is_moved_and_a_dismissal_follows_the_photo_to_its_new_id(desk):
    review, model = desk.review, desk.model
    dismissed, accepted = desk.found.label_issues[1], desk.found.label_issues[0]
    assert model.badges[accepted.image] == f"{accepted.likely}? {percent(accepted.likely_value)}"
    review.confirm_labels([dismissed.image])
    assert dismissed.image not in [one.image for one in desk.found.label_issues]
    total = model.total
    review.accept([accepted])
    assert accepted.image not in [
        one.image for one in desk.found.label_issues
    ]  # at once, before the service has done it
    wait_until(lambda: model.label_of(accepted.image) is None, "the photo did not get its new id")
    assert model.total == total
    desk.editing.undo()
    wait_until(
        lambda: any(one.likely == accepted.likely and one.given == accepted.given for one in desk.found.label_issues),
    )
    # There and back again with the one that was dismissed: its id is another, what was said of it holds
    review.move([dismissed.image], dismissed.likely)
    wait_until(lambda: model.label_of(dismissed.image) is None)
    desk.editing.undo()
    connection = desk.session.connection.id

    def kept():
        return [one for one, what in desk.stores.dismissals.all(connection) if what == f"label:{dismissed.given}"]

    wait_until(lambda: len(kept()) == 1 and model.label_of(kept()[0]) == dismissed.given)
    assert kept() != [dismissed.image]
    wait_until(desk.looked)
    assert kept()[0] not in [one.image for one in desk.found.label_issues]


@pytest.mark.usefixtures("real_photos")
def test_the_others_of_near_duplicates_go_and_come_back_without_another_look(desk):
    review, model = desk.review, desk.model
    surplus, total = review.surplus(), model.total
    assert len(surplus) == 2
    review.delete(surplus)
    assert review.surplus() == []
    assert model.total == total - 2
    wait_until(lambda: any(one.text.startswith("Deleted 2 photos") for one in desk.said))
    desk.editing.undo()
    wait_until(lambda: model.total == total)
    wait_until(lambda: len(review.surplus()) == 2)


def test_keeping_all_is_remembered_and_can_be_taken_back(desk):
    review = desk.review
    group = desk.found.groups[0]
    review.keep_all(group)
    assert group.images not in [one.images for one in desk.found.groups]
    connection = desk.session.connection.id
    wait_until(lambda: desk.said and desk.said[-1].text == "Kept all 2.")
    [(verb, undo)] = desk.said[-1].actions
    assert verb == "Undo"
    assert len(desk.stores.dismissals.all(connection)) == 1
    undo()
    wait_until(lambda: group.images in [one.images for one in desk.found.groups])
    assert not desk.stores.dismissals.all(connection)
    assert desk.said[-1].text == "Undone: keep all of 2 near-duplicates."
    desk.editing.redo()
    wait_until(lambda: group.images not in [one.images for one in desk.found.groups])


def test_what_was_said_of_a_photo_holds_when_it_was_deleted_and_came_back(desk):
    review, model = desk.review, desk.model
    doubt = next(one for one in desk.found.label_issues if one.suspect)
    review.confirm_labels([doubt.image])
    wait_until(lambda: len(desk.stores.edits.journal.rows(desk.session.connection.id)) == 1)
    review.delete([doubt.image])
    wait_until(lambda: any(one.text.startswith("Deleted 1 photo") for one in desk.said))
    total = model.total
    desk.editing.undo()
    wait_until(lambda: model.total == total + 1)
    connection = desk.session.connection.id
    [(image, finding)] = desk.stores.dismissals.all(connection)
    wait_until(lambda: {one for one, _ in desk.stores.dismissals.all(connection)} != {doubt.image})
    [(image, finding)] = desk.stores.dismissals.all(connection)
    assert (model.label_of(image), finding) == (doubt.given, f"label:{doubt.given}")
    desk.editing.undo()  # and is taken back under the id that the photo has now
    wait_until(lambda: not desk.stores.dismissals.all(connection))
    wait_until(lambda: any(one.image == image for one in desk.found.label_issues))


def test_a_rule_and_a_choice_by_hand_say_which_is_kept(desk):
    review = desk.review
    group = desk.found.groups[0]
    other = review.others(group)[0]
    review.keep(group, other)
    assert review.keeper(group) == other
    issues = tuple(f"{one.likely}? " for one in desk.found.label_issues)
    assert desk.model.badges[review.others(group)[0]].startswith(("copy", *issues))
    review.set_rule("sharpest")
    assert review.keeper(group) == group.keepers["sharpest"]


def test_new_photos_are_looked_at_by_themselves(desk, service, photos):
    extra = min((photos / "test" / "hat").iterdir())
    counts = desk.found.counts["hat"]
    desk.session.workspace.client.upload_image(desk.session.open_set.training_set.id, "hat", path=extra)
    desk.session.refresh()
    wait_until(lambda: desk.found.counts["hat"] == counts + 1 and desk.looked(), "the new photo was not looked at")
