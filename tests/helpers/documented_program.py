"""The real program on a service with the documented calls alone: as the environment names it, with what it says noted."""

import hashlib
from contextlib import contextmanager

from PySide6.QtCore import QPoint
from PySide6.QtGui import QGuiApplication

from apitorch_desktop.dataset.connections.store import KEY_VARIABLE, URL_VARIABLE
from apitorch_desktop.ui.session.session import ConnectionState, Session
from tests.helpers import app_runner as program
from tests.helpers import x11_pointer as pointer
from tests.helpers.fake_api import FakeApi

CORNER = QPoint(1500, 920)
"""Where files are dragged from, beside what is under the pointer in the window."""


def use(monkeypatch, service):
    """Have the program find the service in its environment."""
    monkeypatch.setenv(URL_VARIABLE, service.url)
    monkeypatch.setenv(KEY_VARIABLE, service.key)


@contextmanager
def coats(monkeypatch, paths):
    """A misbehaving service with six photos in the training set `number`, found by the program."""
    data = [path.read_bytes() for path in paths[:6]]
    with FakeApi() as service:
        service.number = service.add_set("Coats", {"plains": data[:4], "mountain": data[4:]})
        use(monkeypatch, service)
        yield service


def away(made):
    """Wait until the service is missed."""
    program.wait(lambda: made.session.state is ConnectionState.AWAY, "the service to be missed")
    program.wait(made.central_widget.offline_banner.isVisible, "the band that says so")


def waiting(made):
    """Edits that are still to be sent."""
    return made.session.stores.edits.unfinished(made.session.connection.id)


def run(monkeypatch, steps, *arguments):
    """Run it; `steps(made, said)`: `said` grows with all sentences, and none of them may be unforeseen."""
    said, begin = [], Session.__init__

    def noting(session, *given):
        """What is said at the start, as of an import that goes on, is said before there are steps."""
        begin(session, *given)
        session.message.connect(lambda message: said.append(message.text))

    def all_foreseen(made):
        steps(made, said)
        assert not [one for one in said if "unexpected went wrong" in one], said

    with monkeypatch.context() as patched:
        patched.setattr(Session, "__init__", noting)
        assert program.run(monkeypatch, all_foreseen, *arguments) == 0


def listed(made, count):
    """Wait until the service itself was heard, with so many photos."""
    program.wait(lambda: made.session.open_set is not None and made.session.open_set.listed, "the listing")
    program.wait(lambda: made.model.total == count, f"{count} photos, not {made.model.total}")


def shown(made):
    """Label → ids, as the grid has them."""
    found = {}
    for row in range(made.model.shown):
        found.setdefault(made.model.label_at(row), []).append(made.model.image(row).image_id)
    return found


def counts(made):
    """Label → how many photos, as the grid has them."""
    return {label: len(ids) for label, ids in shown(made).items()}


def pictures_shown(made):
    """Wait until every photo of the grid has its thumbnail."""
    ids = [made.model.image(row).image_id for row in range(made.model.shown)]

    def missing():
        return {one: made.photos.loader.failure(one) for one in ids if made.photos.loader.pixmap(one) is None}

    try:
        program.wait(lambda: not missing(), "the thumbnails")
    except AssertionError:
        raise AssertionError(missing()) from None


def press_photo(made, image_id):
    """Click a photo, once its place has settled."""
    grid, model = made.photos.grid, made.model
    grid.scrollTo(model.index(model.row_of(image_id), 0))
    program.press(grid.viewport(), lambda: grid.visualRect(model.index(model.row_of(image_id), 0)))
    program.wait(lambda: model.selected_ids() == [image_id], "the photo selected")


def select(made, ids):
    """Select photos beside one another, by a click and Shift with the arrow."""
    model = made.model
    press_photo(made, ids[0])
    if ids[1:]:
        pointer.key(*["shift+Right"] * len(ids[1:]))
        program.wait(lambda: set(model.selected_ids()) == set(ids), "all selected")


def drop_on_label(made, paths, label):
    """Drag files from another program onto a label in the tree."""
    tree, set_id = made.central_widget.tree, made.session.open_set.training_set.id
    node = program.wait(lambda: tree.model.find(set_id, label), f"the row of {label}")
    target = program.place(tree.view.viewport(), lambda: tree.view.visualRect(tree.model.index_of(node)))
    assert pointer.drag(paths, target, CORNER) == "dropped"
    made.window.activateWindow()


def choose_work_safe(made):
    """Choose the service's classifier, as a click on its name does: a choice that stays when they are listed anew."""
    program.wait(lambda: made.session.classifiers, "the classifiers")
    made.classify_panel.set_classifiers(made.session.classifiers, ["work-safe"])
    made.classify_panel.selection_changed.emit(["work-safe"])


def classify_address(made, url):
    """Paste an address into the classify panel."""
    QGuiApplication.clipboard().setText(url)
    made.window.activateWindow()
    made.classify_panel.photo.setFocus()
    program.wait(made.classify_panel.photo.hasFocus, "the focus in the panel")
    pointer.key("ctrl+v")


def digests(paths):
    """Sorted sha256 of files."""
    return sorted(hashlib.sha256(path.read_bytes()).hexdigest() for path in paths)
