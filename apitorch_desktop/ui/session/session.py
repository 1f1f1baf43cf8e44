"""What is open: the connection and its state, its training sets, the one that is open."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

import msgspec
from msgspec import UNSET
from PySide6.QtCore import QObject, Signal

from apitorch_desktop.api.types import Classifier, Id, TrainingSet
from apitorch_desktop.dataset.app_data import AppData
from apitorch_desktop.dataset.connections.api_keys import FoundKey
from apitorch_desktop.dataset.connections.store import Connection
from apitorch_desktop.dataset.edits.history import EditOutcome
from apitorch_desktop.dataset.workspace.workspace import Workspace
from apitorch_desktop.ui.grid.model import GridModel
from apitorch_desktop.ui.session.error_messages import error_message
from apitorch_desktop.ui.session.heartbeat import Heartbeat, Rhythm
from apitorch_desktop.ui.session.messages import Message
from apitorch_desktop.ui.session.new_set_page import new_set_page
from apitorch_desktop.ui.session.open_training_set import OpenTrainingSet
from apitorch_desktop.ui.tasks.runner import JobContext, Lane, TaskRunner

PING_PATIENCE = 10.0
"""Seconds in which the service answers a ping, or is taken to be away."""


class ConnectionState(Enum):
    """How the connection is."""

    STARTING = "starting"
    READY = "ready"
    AWAY = "away"
    """Nobody answers; what was seen stays browsable, and it is tried again."""
    REFUSED = "refused"
    """The service answers, but not to this key, or it is no API Torch; only the person can put it right."""


class Session(QObject):
    """The one connection the window shows, and what is open of it. All work on lanes; `said` is the way to the person."""

    connection_changed = Signal()
    connected = Signal(bool)
    """The service was heard: at first, and whenever it comes back; True where it was shown as last seen until now."""
    sets_changed = Signal()
    opened_changed = Signal()
    """Another training set is open, or none."""
    listing_changed = Signal()
    """Labels, counts or the loading of the open one."""
    classifier_changed = Signal()
    classifiers_changed = Signal()
    said = Signal(object)
    """A `Message`."""
    over = Signal(str)
    """What messages of this topic were about is over."""

    def __init__(
        self, tasks: TaskRunner, images: GridModel, parent: QObject | None = None, rhythm: Rhythm | None = None
    ) -> None:
        super().__init__(parent)
        self.tasks = tasks
        self.images = images
        self.stores: AppData | None = None
        self.connection: Connection | None = None
        self.workspace: Workspace | None = None
        self.state = ConnectionState.STARTING
        self.sentence = "Starting…"
        """The state in words, with what to do."""
        self.training_sets: list[TrainingSet] = []
        self.key: FoundKey | None = None
        """Where the connection's key is kept, once that was looked up; the embedded service's is nowhere."""
        self.heard = False
        """Whether `training_sets` are the service's own answer."""
        self.classifiers: list[Classifier] = []
        self.opened: OpenTrainingSet | None = None
        self._wish: str | None = None
        self.turn = QObject(self)
        """Owner of the jobs for this connection: gone when another is turned to."""
        self.heartbeat = Heartbeat(tasks, rhythm or Rhythm(), self)
        self.heartbeat.wanted.connect(self.connect_service)
        self.heartbeat.missed.connect(self._missed)

    # --- the connection

    def use(self, stores: AppData, connection: Connection, wish: str | None = None) -> None:
        """Turn to a connection; `wish` is the id of the training set to open, if it is there."""
        self._leave()
        self.stores, self.connection, self._wish = stores, connection, wish
        self._set_state(ConnectionState.STARTING, "Connecting…")

        def look(_context: JobContext) -> tuple[Workspace, list[TrainingSet]]:
            from apitorch_desktop.api.offline_client import OfflineClient

            found = stores.workspace(connection, OfflineClient(connection.base_url))
            return found, found.known_training_sets()

        def seen(answer: tuple[Workspace, list[TrainingSet]]) -> None:
            workspace, sets = answer
            if sets and not self.heard:
                self.workspace = workspace
                self._show_sets(sets)

        self.tasks.run(
            Lane.DISK,
            look,
            done=seen,
            failed=lambda _fault: True,
            owner=self.turn,
            title="Look up what was seen before",
        )
        self.connect_service()

    def connect_service(self) -> None:
        """Ask the service what it can do and has; again, where it was not there."""
        stores, connection, workspace = self.stores, self.connection, self.workspace
        if stores is None or connection is None:
            return
        self.heartbeat.rest()

        def job(context: JobContext) -> tuple[Workspace, list[TrainingSet]]:
            if not connection.embedded:
                context.post(stores.clients.key_of(connection))
            client = stores.clients.get(connection.id)
            if workspace is None:
                found = stores.workspace(connection, client)
            else:
                found = workspace
                found.moved(client)
            found.connect()
            return found, found.training_sets()

        self.tasks.run(
            Lane.INTERACTIVE,
            job,
            done=self._connected,
            failed=self._not_connected,
            progress=self.take_key,
            owner=self.turn,
            title="Connect",
        )

    def take_key(self, key: FoundKey) -> None:
        """Where the connection's key is kept was found out, or has changed."""
        if key != self.key:
            self.key = key
            self.connection_changed.emit()

    def service_changed(self, up: bool, sentence: str) -> None:
        """The embedded service came up, or went down; its new address is known to the clients."""
        if self.connection is None or not self.connection.embedded:
            return
        if up:
            self.connect_service()
        else:
            self.heartbeat.rest()
            self._set_state(ConnectionState.AWAY, sentence)

    def _connected(self, answer: tuple[Workspace, list[TrainingSet]]) -> None:
        found, sets = answer
        back = self.workspace is not None
        if self.workspace is None:
            self.workspace = found
        elif self.workspace is not found:  # the one that showed what was seen before was made meanwhile
            self.workspace.moved(found.client, found.extensions)
        self.heard = True
        self.heartbeat.heard(self.workspace, self._ping)
        self._set_state(ConnectionState.READY, "")
        self.over.emit("connection")
        self.over.emit("key")
        self._show_sets(sets)
        self.refresh_classifiers()
        self.connected.emit(back)

    def _not_connected(self, fault: Exception) -> None:
        from apitorch_desktop.api.errors import ApiError

        trouble = error_message(fault)
        starting = self.connection is not None and self.connection.embedded and self.state is ConnectionState.STARTING
        if trouble.topic == "connection" or (isinstance(fault, ApiError) and fault.can_retry):
            if not starting:  # the embedded service says itself when it is up, or why not
                self._set_state(ConnectionState.AWAY, trouble.text)
                self.heartbeat.away()
        else:
            self._set_state(ConnectionState.REFUSED, trouble.text)

    def lost(self, sentence: str) -> None:
        """Something waits for the service: it is not there, or does not let us at the moment. It is tried again."""
        if self.state is ConnectionState.READY:
            self._set_state(ConnectionState.AWAY, sentence)
            self.heartbeat.away()

    def _ping(self) -> None:
        stores, connection = self.stores, self.connection
        if stores is not None and connection is not None:
            stores.clients.get(connection.id, attempts=1, silence=PING_PATIENCE).ping()

    def _missed(self, fault: Exception) -> None:
        """A ping failed: make sure, unless that would take as long again."""
        from apitorch_desktop.api.errors import TimedOut

        if isinstance(fault, TimedOut):
            self.lost(error_message(fault).text)
        else:
            self.connect_service()

    def _set_state(self, state: ConnectionState, sentence: str) -> None:
        self.state, self.sentence = state, sentence
        self.connection_changed.emit()

    def _leave(self) -> None:
        """Let go of the connection that was open, and of all its jobs."""
        self.turn.deleteLater()
        self.turn = QObject(self)
        self.heartbeat.rest(forget=True)
        self.key = None
        self.workspace = None
        self.heard = False
        self.training_sets, self.classifiers = [], []
        self._close_set()
        self.sets_changed.emit()
        self.classifiers_changed.emit()

    def why_not(self, extension: str) -> str:
        """Why what needs an extension cannot be done now; "" where it can."""
        if self.workspace is None or self.connection is None:
            return self.sentence or "The service is not there yet."
        if extension and not self.workspace.has(extension):
            return f"“{self.connection.name}” has no call for this."
        return ""

    def new_set_page(self) -> str:
        """The service's page where training sets are made, for one that cannot be asked to; else ""."""
        if self.workspace is None or self.workspace.has("training-sets"):
            return ""
        return new_set_page(self.training_sets, self.workspace.client.base_url)

    # --- training sets

    def refresh(self) -> None:
        """List training sets and the open one again."""
        if self.workspace is None:
            self.connect_service()
            return
        self.refresh_sets()
        if self.opened is not None:
            self.opened.refresh()

    def refresh_sets(self) -> None:
        """List the training sets again."""
        workspace = self.workspace
        if workspace is None:
            return
        self.tasks.run(
            Lane.INTERACTIVE,
            lambda _context: workspace.training_sets(),
            done=self._refreshed,
            failed=self.failed,
            owner=self.turn,
            title="List the training sets",
        )

    def show_new_set(self, one: TrainingSet) -> None:
        """Show a training set that was just made, and open it."""
        self._show_sets([*self.training_sets, one])
        self.open_set(str(one.id))

    def _refreshed(self, sets: list[TrainingSet]) -> None:
        if self.state is ConnectionState.AWAY:
            self._set_state(ConnectionState.READY, "")
        self._show_sets(sets)

    def _show_sets(self, sets: list[TrainingSet]) -> None:
        self.training_sets = sets
        there = {str(one.id): one for one in sets}
        if self.opened is not None:
            fresh = there.get(str(self.opened.training_set.id))
            if fresh is None and self.heard:
                self._close_set()
            elif fresh is not None:
                self.opened.training_set = fresh
                self.opened.learning.rename(fresh)
        self.sets_changed.emit()
        if self.opened is None and self.workspace is not None:
            wanted = there.get(self._wish or "") or (sets[0] if sets else None)
            if wanted is not None:
                self.open_set(str(wanted.id))

    def shown_sets(self) -> list[TrainingSet]:
        """The training sets with the counts of the open one as they are at this moment."""
        opened = self.opened
        if opened is None:
            return self.training_sets
        return [
            msgspec.structs.replace(one, labels=opened.labels, counts=list(opened.counts.values()))
            if one.id == opened.training_set.id and (opened.listed or opened.counts)
            else one
            for one in self.training_sets
        ]

    def find_set(self, set_id: Id) -> TrainingSet | None:
        """A training set by its id."""
        return next((one for one in self.training_sets if str(one.id) == str(set_id)), None)

    def open_set(self, set_id: Id) -> None:
        """Open a training set."""
        found = self.find_set(set_id)
        self._wish = str(set_id)
        if found is None or self.workspace is None:
            return
        if self.opened is not None and str(self.opened.training_set.id) == str(set_id):
            return
        self._close_set()
        opened = self.opened = OpenTrainingSet(self.tasks, self.workspace, self.images, found, self)
        opened.changed.connect(self._listing_changed)
        opened.learning.changed.connect(self._classifier_changed)
        opened.failed.connect(self._not_listed)
        opened.load(self._expected(found.id))
        self.opened_changed.emit()

    def _expected(self, set_id: Id) -> Callable[[], list[EditOutcome]]:
        stores, connection = self.stores, self.connection
        assert stores is not None and connection is not None  # noqa: S101 - a training set is open
        return lambda: stores.edits.expected(connection.id, set_id)

    def _not_listed(self, fault: Exception) -> None:
        from apitorch_desktop.api.errors import ConnectionFailed

        self.failed(fault, "" if isinstance(fault, ConnectionFailed) else "Listing the photos")

    def _listing_changed(self) -> None:
        self.sets_changed.emit()
        self.listing_changed.emit()

    def _classifier_changed(self) -> None:
        self.classifier_changed.emit()
        classifier = self.opened.learning.classifier if self.opened is not None else None
        known = {one.slug for one in self.classifiers}
        if classifier is not None and classifier.version is not UNSET and classifier.slug not in known:
            self.refresh_classifiers()

    def _close_set(self) -> None:
        if self.opened is None:
            return
        self.opened.close()
        self.opened = None
        self.images.set_groups([])
        self.opened_changed.emit()

    def refresh_classifiers(self) -> None:
        """Ask which classifiers there are."""
        workspace = self.workspace
        if workspace is None:
            return

        def done(found: list[Classifier]) -> None:
            self.classifiers = found
            self.classifiers_changed.emit()

        self.tasks.run(
            Lane.INTERACTIVE,
            lambda _context: workspace.classifiers(),
            done=done,
            failed=lambda fault: self.failed(fault, "Listing the classifiers"),
            owner=self.turn,
            title="List the classifiers",
        )

    # --- failures

    def failed(self, fault: Exception, doing: str = "") -> None:
        """Tell the person of a failure, once for each cause; a service that is away is tried again."""
        trouble = error_message(fault, doing)
        if trouble.topic == "connection":
            self.lost(trouble.text)
            if not doing:
                return  # the connection's own state says it
        passing = trouble.topic in ("slow", "rate")  # over by itself, so it is not kept on the screen
        self.said.emit(Message(trouble.text, "" if passing else "bad", trouble.topic))
