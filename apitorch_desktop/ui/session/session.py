"""The open connection: its state and heartbeat, its training sets and classifiers, and the training set that is open."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from threading import Event
from typing import Any, NoReturn, TypeVar
from urllib.parse import urlunsplit

import msgspec
from msgspec import UNSET
from PySide6.QtCore import QCoreApplication, QObject, Qt, QTimer, Signal
from PySide6.QtGui import QGuiApplication

from apitorch_desktop.api.client import ApiClient
from apitorch_desktop.api.errors import ApiError, ConnectionFailed, RateLimited, TimedOut
from apitorch_desktop.api.transport import Transport
from apitorch_desktop.api.types import Classifier, Id, TrainingImage, TrainingSet
from apitorch_desktop.dataset.app_data import AppData
from apitorch_desktop.dataset.connections.api_keys import FoundKey
from apitorch_desktop.dataset.connections.local_client import LOCAL_URL, LocalImages
from apitorch_desktop.dataset.connections.store import Connection
from apitorch_desktop.dataset.workspace.workspace import Workspace
from apitorch_desktop.ui.grid.model import GridModel
from apitorch_desktop.ui.session.error_messages import error_message
from apitorch_desktop.ui.session.keyring_wait import WAITING, keyring_wait
from apitorch_desktop.ui.session.messages import Message, MessageAction
from apitorch_desktop.ui.session.open_training_set import OpenTrainingSet
from apitorch_desktop.ui.tasks.runner import JobContext, Lane, Task, TaskRunner
from apitorch_desktop.ui.widgets.controls import Tone
from apitorch_desktop.utils.hosts import split_url

T = TypeVar("T")
PING_PATIENCE = 10.0
"""Seconds after which a service that has not answered a ping counts as away."""


class _OfflineTransport(Transport):
    def __init__(self, base_url: str) -> None:
        self.base_url = base_url

    def without_retries(self) -> Transport:
        return self

    def close(self) -> None:
        pass

    def call(self, *_: object, **__: object) -> NoReturn:
        error = ConnectionFailed("The service is not running yet.", advice="It goes on as soon as it runs.")
        error.unsent = True
        raise error

    file = download = call


class OfflineClient(ApiClient):
    """Placeholder for the client of a service that has not answered yet: what is on this machine can be browsed meanwhile."""

    def __init__(self, base_url: str = "", local: LocalImages | None = None) -> None:
        self._transport = _OfflineTransport(base_url)
        self._local = local

    def download(self, url: str, *, cancelled: Callable[[], bool] | None = None, limit: int = 256 * 2**20) -> bytes:
        """Return an image of this machine."""
        if self._local is not None and url.startswith(LOCAL_URL):
            return self._local.read(url.removeprefix(LOCAL_URL))
        return super().download(url, cancelled=cancelled, limit=limit)


class ConnectionState(Enum):
    """State of the connection to the service."""

    STARTING = "starting"
    READY = "ready"
    AWAY = "away"
    """No answer; what was seen before stays browsable, and the connection is retried."""
    REFUSED = "refused"
    """The service rejects the key, or is no API Torch; only the user can correct that."""


@dataclass(frozen=True, slots=True)
class Connected:
    """The open connection as its jobs need it: made once the workspace is known, also while the service is away."""

    stores: AppData
    workspace: Workspace

    @property
    def connection(self) -> Connection:
        """The connection, as it was changed last."""
        return self.workspace.connection


class Session(QObject):
    """The one connection that the window shows. Everything that blocks runs on lanes; `message` shows texts to the user."""

    connection_changed = Signal()
    service_connected = Signal(bool)
    """The service answered, at first and whenever it comes back; True if cached data were shown until now."""
    sets_changed = Signal()
    open_set_changed = Signal()
    """Another training set was opened, or the open one closed."""
    listing_changed = Signal()
    """Labels, counts or the loading state of the open training set changed."""
    classifier_changed = Signal()
    classifiers_changed = Signal()
    message = Signal(object)
    """A `Message`."""
    message_expired = Signal(str)
    """Messages of this topic no longer apply."""

    def __init__(
        self, tasks: TaskRunner, images: GridModel, parent: QObject | None = None, rhythm: Rhythm | None = None
    ) -> None:
        super().__init__(parent)
        self.tasks = tasks
        self.images = images
        self.stores: AppData | None = None
        self.connection: Connection | None = None
        """The chosen connection, also before its workspace is known."""
        self.connected: Connected | None = None
        self.state = ConnectionState.STARTING
        self.state_text = "Starting…"
        """The state as a sentence, with advice."""
        self.training_sets: list[TrainingSet] = []
        """The training sets, the open one with its current labels and counts."""
        self.key: FoundKey | None = None
        """The connection's key, once it was looked up; None for the embedded service."""
        self._sets_requested = self._sets_shown = 0
        """Numbers of the last request for the training sets, and of the one whose answer is shown."""
        self.sets_confirmed = False
        """True if `training_sets` come from the service, not only from the cache."""
        self.classifiers: list[Classifier] = []
        self.open_set: OpenTrainingSet | None = None
        self._preferred_id: Id | None = None
        self._waiting_task: Task | None = None
        """The task that connects, until it has the key."""
        self.connection_scope = QObject(self)
        """Owner of the jobs of this connection: destroyed when another connection is opened."""
        self.heartbeat = Heartbeat(tasks, rhythm or Rhythm(), self)
        self.heartbeat.connect_wanted.connect(self.connect_service)
        self.heartbeat.ping_answered.connect(self._on_ping_answered)
        self.heartbeat.ping_failed.connect(self._on_ping_failed)
        app = QCoreApplication.instance()
        if isinstance(app, QGuiApplication):
            app.applicationStateChanged.connect(self._on_application_state)

    @property
    def workspace(self) -> Workspace | None:
        """Workspace of the open connection."""
        return self.connected.workspace if self.connected is not None else None

    @property
    def waits_for_keyring(self) -> bool:
        """True while the keyring has not answered for longer than a moment."""
        return self.state is ConnectionState.STARTING and self.state_text == WAITING

    # --- the connection

    def use(self, stores: AppData, connection: Connection, preferred_id: Id | None = None) -> None:
        """Open a connection; `preferred_id` is the id of the training set to open, if it exists."""
        self._leave()
        self.stores, self.connection, self._preferred_id = stores, connection, preferred_id
        self._set_state(ConnectionState.STARTING, "Connecting…")

        def read_cache(_context: JobContext) -> tuple[Connected, list[TrainingSet]]:
            workspace = stores.workspace(connection, OfflineClient(connection.base_url, stores.local))
            return Connected(stores, workspace), workspace.cached_training_sets()

        def show_cached(answer: tuple[Connected, list[TrainingSet]]) -> None:
            cached, sets = answer
            if sets and not self.sets_confirmed:
                self.connected = cached
                self._show_sets(sets)

        self.run("Reading the cache", read_cache, show_cached, lane=Lane.DISK, failed=lambda _error: True)
        self.connect_service()

    def connect_service(self) -> None:
        """Request the service's extensions and training sets, or retry that."""
        stores, connection, connected = self.stores, self.connection, self.connected
        if stores is None or connection is None:
            return
        self.heartbeat.stop()
        if self._waiting_task is not None:  # else every retry would occupy a thread
            self._waiting_task.cancel()
            self._waiting_task = None
            self.message_expired.emit("keyring wait")

        def job(context: JobContext) -> tuple[Connected, list[TrainingSet]]:
            if not connection.embedded:
                wait = keyring_wait(context)
                client = stores.clients.get(connection.id, wait=wait)
                context.post(stores.keys.find(connection, wait))
            else:
                client = stores.clients.get(connection.id)
            found = connected or Connected(stores, stores.workspace(connection, client))
            if found is connected:
                found.workspace.set_client(client)
            found.workspace.connect()
            return found, found.workspace.training_sets()

        def progress(report: FoundKey | Event) -> None:
            if isinstance(report, Event):
                if self.state in (ConnectionState.STARTING, ConnectionState.REFUSED):  # why it was refused may be over
                    self._set_state(ConnectionState.STARTING, WAITING)
                self.show_keyring_wait(report)
            else:
                self._waiting_task = None
                self.message_expired.emit("keyring wait")
                self.set_api_key(report)

        task = self.run("Connecting", job, self._on_connected, failed=self._on_connect_failed, progress=progress)
        if not connection.embedded:
            self._waiting_task = task

    def show_keyring_wait(self, stop: Event) -> None:
        """Show that the keyring is waited for, with a way to stop that."""
        self.message.emit(Message(WAITING, "warn", "keyring wait", (("Stop waiting", stop.set),), lasting=True))

    def set_api_key(self, key: FoundKey) -> None:
        """Note the connection's key, once it was looked up or has changed."""
        if key != self.key:
            self.key = key
            self.connection_changed.emit()

    def service_changed(self, up: bool, sentence: str) -> None:
        """React to the embedded service going up or down; its new address is known to the clients."""
        if self.connection is None or not self.connection.embedded:
            return
        if up:
            self.connect_service()
        else:
            self.heartbeat.stop()
            self._set_state(ConnectionState.AWAY, sentence)

    def _on_connected(self, answer: tuple[Connected, list[TrainingSet]]) -> None:
        found, sets = answer
        back = self.connected is not None
        if self.connected is None:
            self.connected = found
        elif self.connected is not found:  # the workspace with the cached data was made meanwhile
            self.connected.workspace.set_client(found.workspace.client, found.workspace.extensions)
        self.sets_confirmed = True
        self.heartbeat.watch(self.connected.workspace, self._ping)
        self._set_state(ConnectionState.READY, "")
        self.message_expired.emit("connection")
        self.message_expired.emit("key")
        self._show_sets(sets)
        if self.open_set is not None:
            self.open_set.classifier_status.expect()  # the set may have been opened from the cache
        self.refresh_classifiers()
        self.service_connected.emit(back)

    def _on_connect_failed(self, error: Exception) -> None:
        self.message_expired.emit("keyring wait")
        explained = error_message(error)
        starting = self.connection is not None and self.connection.embedded and self.state is ConnectionState.STARTING
        if explained.topic == "connection" or (isinstance(error, ApiError) and error.can_retry):
            if not starting:  # the embedded service reports itself when it is up, or why not
                self._set_state(ConnectionState.AWAY, explained.text)
                self.heartbeat.retry()
        else:
            self._set_state(ConnectionState.REFUSED, explained.text)

    def set_away(self, sentence: str) -> None:
        """Note that an edit waits because the service is away or throttles it, and retry the connection."""
        if self.state is ConnectionState.READY:
            self._set_state(ConnectionState.AWAY, sentence)
            self.heartbeat.retry()

    def _ping(self) -> None:
        stores, connection = self.stores, self.connection
        if stores is not None and connection is not None:
            stores.clients.get(connection.id, attempts=1, silence=PING_PATIENCE).ping()

    def _on_ping_failed(self, error: Exception) -> None:
        """Reconnect to make sure, unless that would take as long again."""
        if isinstance(error, TimedOut):
            self.set_away(error_message(error).text)
        else:
            self.connect_service()

    def _set_state(self, state: ConnectionState, sentence: str) -> None:
        self.state, self.state_text = state, sentence
        self.connection_changed.emit()

    def _leave(self) -> None:
        """Close the open connection and cancel its jobs."""
        self.connection_scope.deleteLater()
        self.connection_scope = QObject(self)
        self.message_expired.emit("keyring wait")
        self.heartbeat.stop(reset=True)
        self.key = None
        self.connected = None
        self.sets_confirmed = False
        self.training_sets, self.classifiers = [], []
        self._close_set()
        self.sets_changed.emit()
        self.classifiers_changed.emit()

    def unavailable_reason(self, extension: str) -> str:
        """Return why an action that needs an extension ("" for none) is unavailable; "" if it is available."""
        if self.connected is None:
            return self.state_text or "The service is not running yet."
        if extension and not self.connected.workspace.has(extension):
            return f"“{self.connected.connection.name}” has no call for this."
        return ""

    def new_set_page(self) -> str:
        """Return the address of the service's page for new training sets if its interface cannot make any, else ""."""
        if self.connected is None or self.connected.workspace.has("training-sets"):
            return ""
        for training_set in self.training_sets:  # the page above those that the service names, if it names any
            parts = split_url(training_set.url if isinstance(training_set.url, str) else "")
            above, found, _ = parts.path.partition("/training-sets/")
            if parts.scheme in {"http", "https"} and parts.hostname and found:
                return urlunsplit((parts.scheme, parts.netloc, f"{above}/training-sets", "", ""))
        base_url = self.connected.workspace.client.base_url
        return f"{base_url.removesuffix('api/')}training-sets" if base_url else ""

    def open_set_key(self) -> str:
        """Return connection and training set as one word, under which settings of the open set are kept; "" for none."""
        if self.connected is None or self.open_set is None:
            return ""
        return f"{self.connected.connection.id} {self.open_set.training_set.id}"

    # --- training sets

    def refresh(self) -> None:
        """Request the training sets and the images of the open one again."""
        if self.connected is None:
            self.connect_service()
            return
        self.refresh_sets()
        if self.open_set is not None:
            self.open_set.refresh()

    def _on_application_state(self, state: Qt.ApplicationState) -> None:
        if state == Qt.ApplicationState.ApplicationActive:
            self._look_for_changes()

    def _on_ping_answered(self) -> None:
        if not self.unavailable_reason("training-sets"):  # other services list no counts, and their calls may cost
            self._look_for_changes()

    def _look_for_changes(self) -> None:
        """Show what other programs changed: when the user returns to the window, and whenever it was quiet for a while."""
        if self.state is ConnectionState.READY:
            self.refresh_sets(self._refresh_changed, failed=lambda _error: True)

    def _refresh_changed(self) -> None:
        """Request the images of the open training set again if the service has other counts than are shown."""
        open_set = self.open_set
        if open_set is None or not open_set.listed or not isinstance(open_set.training_set.counts, list):
            return
        counts = dict(zip(open_set.training_set.labels or (), open_set.training_set.counts, strict=False))
        if Counter(counts) != Counter(open_set.all_counts):  # a label without images counts as none
            open_set.refresh()

    def refresh_sets(
        self,
        then: Callable[[], object] = lambda: None,
        failed: Callable[[Exception], bool | None] | None = None,
    ) -> None:
        """Request the training sets again; `then` is called once they are shown."""
        if (connected := self.connected) is None:
            return

        self._sets_requested = request = self._sets_requested + 1

        def done(sets: list[TrainingSet]) -> None:
            if request > self._sets_shown:  # otherwise a newer list is shown, or one with a set made since
                self._sets_shown = request
                self._on_sets_listed(sets)
                then()

        self.run(
            "Listing the training sets",
            lambda _context: connected.workspace.training_sets(),
            done,
            failed=failed or self.show_error,
        )

    def show_new_set(self, training_set: TrainingSet) -> None:
        """Show a training set that was just made, and open it."""
        self._sets_shown = self._sets_requested
        self._show_sets([*self.training_sets, training_set])
        self.open(training_set.id)

    def _on_sets_listed(self, sets: list[TrainingSet]) -> None:
        if self.state is ConnectionState.AWAY:
            self._set_state(ConnectionState.READY, "")
        self._show_sets(sets)

    def _show_sets(self, sets: list[TrainingSet]) -> None:
        self.training_sets = sets
        by_id = {found.id: found for found in sets}
        if self.open_set is not None:
            fresh = by_id.get(self.open_set.training_set.id)
            if fresh is None and self.sets_confirmed:
                self._close_set()
            elif fresh is not None:
                self.open_set.training_set = fresh
                self.open_set.classifier_status.rename(fresh)
        self._keep_counts()
        self.sets_changed.emit()
        if self.connected is not None:
            wanted = by_id.get(self._preferred_id or Id())  # also one that was created a moment ago
            if wanted is None and self.open_set is None and sets:
                wanted = sets[0]
            if wanted is not None:
                self.open(wanted.id)

    def _keep_counts(self) -> None:
        """Take labels and counts of the open training set into the list, where they stay when another one is opened."""
        open_set = self.open_set
        if open_set is None or not (open_set.listed or any(open_set.counts.values())):
            return
        self.training_sets = [
            msgspec.structs.replace(found, labels=list(open_set.all_counts), counts=list(open_set.all_counts.values()))
            if found.id == open_set.training_set.id
            else found
            for found in self.training_sets
        ]

    def find_set(self, set_id: Id) -> TrainingSet | None:
        """Return a training set by its id."""
        return next((found for found in self.training_sets if found.id == set_id), None)

    def open(self, set_id: Id) -> None:
        """Open a training set."""
        found = self.find_set(set_id)
        self._preferred_id = set_id
        if found is None or (connected := self.connected) is None:
            return
        if self.open_set is not None and self.open_set.training_set.id == set_id:
            return
        if self.open_set is not None and self.state is ConnectionState.READY:
            self.refresh_sets()  # the one that is left may be changing still
        self._close_set()
        open_set = self.open_set = OpenTrainingSet(self.tasks, connected.workspace, self.images, found, self)
        open_set.changed.connect(self._listing_changed)
        open_set.classifier_status.changed.connect(self._classifier_changed)
        open_set.failed.connect(self._on_listing_failed)
        open_set.load(lambda: connected.stores.edits.expected(connected.connection.id, found.id))
        self.open_set_changed.emit()

    def read_thumbnail(self, image: TrainingImage, cancelled: Callable[[], bool]) -> bytes:
        """Return the bytes of an image's thumbnail. Blocks; for workers."""
        connected, open_set = self._reading()
        return connected.workspace.thumbnail(open_set.training_set.id, image, cancelled=cancelled)

    def read_image(self, image: TrainingImage, cancelled: Callable[[], bool]) -> bytes:
        """Return the bytes of an image. Blocks; for workers."""
        connected, open_set = self._reading()
        return connected.workspace.image(open_set.training_set.id, image, cancelled=cancelled)

    def _reading(self) -> tuple[Connected, OpenTrainingSet]:
        connected, open_set = self.connected, self.open_set
        if connected is None or open_set is None:
            raise RuntimeError("no training set is open")
        return connected, open_set

    def _on_listing_failed(self, error: Exception) -> None:
        self.show_error(error, "" if isinstance(error, ConnectionFailed) else "Listing the photos")

    def _listing_changed(self) -> None:
        self._keep_counts()
        self.sets_changed.emit()
        self.listing_changed.emit()

    def _classifier_changed(self) -> None:
        self.classifier_changed.emit()
        classifier = self.open_set.classifier_status.classifier if self.open_set is not None else None
        known = {listed.slug for listed in self.classifiers}
        if classifier is not None and classifier.version is not UNSET and classifier.slug not in known:
            self.refresh_classifiers()

    def _close_set(self) -> None:
        if self.open_set is None:
            return
        self._keep_counts()
        self.open_set.close()
        self.open_set = None
        self.images.set_groups([])
        self.open_set_changed.emit()

    def refresh_classifiers(self) -> None:
        """Request the list of classifiers."""
        if (connected := self.connected) is None:
            return

        def done(found: list[Classifier]) -> None:
            self.classifiers = found
            self.classifiers_changed.emit()

        self.run("Listing the classifiers", lambda _context: connected.workspace.classifiers(), done)

    # --- jobs and messages

    def show_error(self, error: Exception, title: str = "") -> None:
        """Show a failure to the user, once for each cause; a service that is away is retried.

        `title` names what failed ("Moving 3 photos").
        """
        explained = error_message(error, title)
        if explained.topic == "connection":
            self.set_away(explained.text)
            if not title:
                return  # shown as the state of the connection
        passing = explained.topic in ("slow", "rate")  # these pass, so they are not kept on the screen
        self.show_message(explained.text, "" if passing else "bad", explained.topic)

    def show_message(
        self, text: str, tone: Tone = "", topic: str = "", actions: tuple[MessageAction, ...] = ()
    ) -> None:
        """Show a message to the user; see `Message` for its parts."""
        self.message.emit(Message(text, tone, topic, actions))

    def run(
        self,
        title: str,
        job: Callable[[JobContext], T],
        done: Callable[[T], object] | None = None,
        *,
        failed: Callable[[Exception], bool | None] | None = None,
        progress: Callable[[Any], object] | None = None,
        lane: Lane = Lane.INTERACTIVE,
        owner: QObject | None = None,
    ) -> Task:
        """Run a job of the open connection; it is cancelled when the connection is left, or when `owner` is destroyed.

        A failure is shown with `title` in front ("Listing the photos: …"), unless `failed` receives it.
        """
        return self.tasks.run(
            lane,
            job,
            done=done,
            failed=failed or (lambda error: self.show_error(error, title)),
            progress=progress,
            owner=owner or self.connection_scope,
            title=title,
        )


@dataclass(frozen=True, slots=True)
class Rhythm:
    """Intervals in milliseconds.

    `look`: between checks for a failed call or a long silence. `beat`: of silence before a ping. `retry`: before the
    first retry while the service is away; each further one is half as long again, up to `longest`.
    """

    look: int = 1_000
    beat: int = 15_000
    retry: int = 3_000
    longest: int = 30_000


class Heartbeat(QObject):
    """Emits `connect_wanted` when the connection should be tried again. Stopped until `watch` or `retry` is called.

    A ping costs some milliseconds of one thread, and is left out as long as other calls are answered.
    """

    connect_wanted = Signal()
    ping_answered = Signal()
    ping_failed = Signal(object)
    """A ping raised this exception; the heartbeat is stopped."""

    def __init__(self, tasks: TaskRunner, rhythm: Rhythm, parent: QObject) -> None:
        super().__init__(parent)
        self.rhythm = rhythm
        self._tasks = tasks
        self._workspace: Workspace | None = None
        self._ping: Callable[[], object] = lambda: None
        self._task: Task | None = None
        self._retry_after = 0.0
        self._check_timer = QTimer(self, timerType=Qt.TimerType.CoarseTimer)
        self._check_timer.timeout.connect(self._check)
        self._retry_timer = QTimer(self, singleShot=True)
        self._retry_timer.timeout.connect(self.connect_wanted)
        app = QCoreApplication.instance()
        if isinstance(app, QGuiApplication):
            app.applicationStateChanged.connect(self._on_application_state)

    def stop(self, *, reset: bool = False) -> None:
        """Stop pings and retries; `reset` starts the next retries at the shortest interval."""
        if reset:
            self._retry_after = 0.0
        self._check_timer.stop()
        self._retry_timer.stop()
        self._workspace = None
        if self._task is not None:
            self._task.cancel()
            self._task = None

    def watch(self, workspace: Workspace, ping: Callable[[], object]) -> None:
        """Watch a service that answered. `ping` blocks, makes one call with a short time-out, and raises on failure."""
        self.stop()
        self._workspace, self._ping, self._retry_after = workspace, ping, 0.0
        self._check_timer.start(self.rhythm.look)

    def retry(self) -> None:
        """Retry a service that is away, at growing intervals."""
        self.stop()
        self._retry_after = min(self._retry_after * 1.5 or self.rhythm.retry, self.rhythm.longest)
        self._retry_timer.start(round(self._retry_after))

    def _on_application_state(self, state: Qt.ApplicationState) -> None:
        """Retry at once when the user returns to the window, perhaps with the network back."""
        if state == Qt.ApplicationState.ApplicationActive and self._retry_timer.isActive():
            self._retry_after = 0.0
            self.connect_wanted.emit()

    def _check(self) -> None:
        workspace = self._workspace
        if workspace is None:
            return
        if workspace.offline:
            self._check_timer.stop()
            self.connect_wanted.emit()
        elif workspace.seconds_since_answer() * 1000 >= self.rhythm.beat and (
            self._task is None or not self._task.active
        ):
            ping = self._ping
            self._task = self._tasks.run(
                Lane.WATCH,
                lambda _context: workspace.run(ping),
                done=lambda _answer: self.ping_answered.emit(),
                failed=self._on_ping_failed,
                owner=self,
                title="Ping the service",
            )

    def _on_ping_failed(self, error: Exception) -> bool:
        if not isinstance(error, RateLimited) and self._check_timer.isActive():  # a service that throttles is there
            self._check_timer.stop()
            self.ping_failed.emit(error)
        return True
