"""Coordination of the processes that share a PostgreSQL database: notifications, jobs and leases.

All times are the database's own, in seconds since the epoch. A lease that is not renewed expires, so that the work of a
process that was killed or cut off is taken over by another.
"""

import logging
import secrets
import threading
from collections.abc import Callable, Iterable
from contextlib import closing
from typing import Any, NamedTuple

from sqlalchemy import bindparam, func, select, text
from sqlalchemy.types import BigInteger, Float, Text

from apitorch_desktop.service.storage.database import Database, shut_down
from apitorch_desktop.service.storage.schema import CHANNEL, jobs

LEASE = 10.0
"""Seconds after which the work of a silent process is another's; renewed every second or so."""
_POLL = 1.0  # seconds that one wait for notifications lasts
_RECONNECT = 0.5
_log = logging.getLogger(__name__)

_NOW = "EXTRACT(EPOCH FROM clock_timestamp())::float8"


class ClaimedJob(NamedTuple):
    """A job that this process holds: `changes` of the training set by then, and how often it was begun since the last."""

    training_set_id: int
    changes: int
    attempts: int


class JobRepository:
    """Training sets to be embedded and trained, each by one process at a time. Thread-safe; for PostgreSQL alone.

    The triggers of `schema` schedule a job with each change; `holder` names this process. Raises StorageUnreachable.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self.holder = secrets.token_hex(8)

    def claim(self, count: int) -> list[ClaimedJob]:
        """Take over up to `count` jobs that are due and that no process holds, those that wait longest first."""
        return [ClaimedJob(*row) for row in self._run(_CLAIM, count=count)]

    def renew(self, training_sets: Iterable[int]) -> dict[int, int]:
        """Keep those of the jobs that are still held; return their `changes` by training set.

        Each in a transaction of its own: changes lock several jobs in any order.
        """
        found: dict[int, int] = {}
        with self._database.querying() as connection:
            for number in training_sets:
                row = connection.execute(_RENEW, {"me": self.holder, "number": number}).first()
                if row is not None:
                    found[number] = row[0]
        return found

    def report(self, training_set_id: int, missing: int) -> None:
        """Store how many images are still to be embedded, for the classifier's state in all processes."""
        self._run(_REPORT, number=training_set_id, missing=missing)

    def finish(self, training_set_id: int, changes: int) -> bool:
        """Remove a job; return False, and keep it, where there were changes since, or another process holds it."""
        return bool(self._run(_FINISH, number=training_set_id, changes=changes))

    def fail(self, training_set_id: int, changes: int, failure: str, retry_after: float | None) -> bool:
        """Release a job with a sentence, until the next change or the time to try again. Returns as `finish` does."""
        delay = float("inf") if retry_after is None else retry_after
        return bool(self._run(_FAIL, number=training_set_id, changes=changes, failure=failure, delay=delay))

    def give_back(self, training_set_id: int) -> None:
        """Leave a job to whoever takes it next, after those that wait longer."""
        self._run(_GIVE_BACK, number=training_set_id)

    def release(self, training_sets: Iterable[int]) -> None:
        """Release jobs of this process, at its end."""
        for number in training_sets:
            self._run(_RELEASE, number=number)

    def state(self, training_set_id: int) -> tuple[str, int]:
        """Return the failure of a training set's job, "" without one, and how many images are still to be embedded."""
        query = select(jobs.c.failure, jobs.c.missing).where(jobs.c.training_set_id == training_set_id)
        with self._database.querying() as connection:
            row = connection.execute(query).first()
        return ("", 0) if row is None else (row[0], row[1])

    def is_held(self, training_set_id: int, holder: str) -> bool:
        """Return whether a process holds a job, and its lease has not expired."""
        return bool(self._run(_IS_HELD, number=training_set_id, name=holder))

    def waiting(self) -> int:
        """Return the number of training sets that wait for a process, or are worked on, of all owners."""
        with self._database.querying() as connection:
            count = select(func.count()).select_from(jobs).where(jobs.c.failure == "")
            return int(connection.execute(count).scalar_one())

    def lease(self, name: str, seconds: float) -> bool:
        """Take or keep a lease for `seconds`; return False where another process has it."""
        return bool(self._run(_LEASE, name=name, seconds=seconds))

    def _run(self, statement: Any, **values: object) -> list[Any]:
        with self._database.querying() as connection:
            return list(connection.execute(statement, {"me": self.holder, **values}).all())


def _statement(sql: str) -> Any:
    kinds: dict[str, Any] = {
        "me": Text(),
        "number": BigInteger(),
        "count": BigInteger(),
        "missing": BigInteger(),
        "changes": BigInteger(),
        "failure": Text(),
        "delay": Float(),
        "name": Text(),
        "seconds": Float(),
    }
    used = [bindparam(name, type_=kind) for name, kind in kinds.items() if f":{name}" in sql]
    return text(sql.strip()).bindparams(*used)


_CLAIM = _statement(
    f"""
    UPDATE jobs SET holder = :me, expires = {_NOW} + {LEASE}, attempts = attempts + 1, missing = 0
    WHERE training_set_id IN (
        SELECT training_set_id FROM jobs WHERE due <= {_NOW} AND expires < {_NOW}
        ORDER BY due LIMIT :count FOR UPDATE SKIP LOCKED
    )
    RETURNING training_set_id, changes, attempts
    """  # noqa: S608 - constants
)
_IS_HELD = _statement(
    f"SELECT 1 FROM jobs WHERE training_set_id = :number AND holder = :name AND expires >= {_NOW}"  # noqa: S608
)
_RENEW = _statement(
    f"UPDATE jobs SET expires = {_NOW} + {LEASE} WHERE training_set_id = :number AND holder = :me RETURNING changes"  # noqa: S608
)
_REPORT = _statement("UPDATE jobs SET missing = :missing WHERE training_set_id = :number AND holder = :me RETURNING 1")
_FINISH = _statement(
    "DELETE FROM jobs WHERE training_set_id = :number AND holder = :me AND changes = :changes RETURNING 1"
)
_FAIL = _statement(
    f"""
    UPDATE jobs SET failure = :failure, due = {_NOW} + :delay, holder = NULL, expires = 0, attempts = 0
    WHERE training_set_id = :number AND holder = :me AND changes = :changes RETURNING 1
    """  # noqa: S608
)
_GIVE_BACK = _statement(
    f"""
    UPDATE jobs SET holder = NULL, expires = 0, attempts = 0, due = {_NOW}
    WHERE training_set_id = :number AND holder = :me RETURNING 1
    """  # noqa: S608
)
_RELEASE = _statement(
    "UPDATE jobs SET holder = NULL, expires = 0, attempts = GREATEST(attempts - 1, 0) "
    "WHERE training_set_id = :number AND holder = :me RETURNING 1"
)
_LEASE = _statement(
    f"""
    INSERT INTO leases (name, holder, expires) VALUES (:name, :me, {_NOW} + :seconds)
    ON CONFLICT (name) DO UPDATE SET holder = EXCLUDED.holder, expires = EXCLUDED.expires
    WHERE leases.expires < {_NOW} OR leases.holder = EXCLUDED.holder
    RETURNING 1
    """  # noqa: S608
)


class Listener:
    """A thread that receives what other processes, and this one, have committed: `set ID`, `keys`, `damaged`.

    A subscriber is called with the kind and the number, 0 without one, on that thread. When the connection is lost, and
    before `connected` is set again, it is called with "all": whatever it remembers may be wrong. After that it is called
    with "damaged", since a list that has to be read at once cannot be read while the database is away.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._subscribers: list[Callable[[str, int], None]] = []
        self._stopping = threading.Event()
        self._connection: Any = None
        self.connected = threading.Event()
        self._thread = threading.Thread(target=self._run, name="database-listener", daemon=True)

    def subscribe(self, subscriber: Callable[[str, int], None]) -> None:
        """Call `subscriber(kind, number)`, which must return at once."""
        self._subscribers.append(subscriber)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stopping.set()
        if self._connection is not None:
            shut_down(self._connection)
        if self._thread.is_alive():
            self._thread.join(2 * _POLL)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                with closing(self._database.connect()) as self._connection:
                    self._listen(self._connection)
            except Exception as error:  # noqa: BLE001 - of the driver; the next attempt follows
                if not self._stopping.is_set() and self.connected.is_set():
                    _log.warning("notifications of other services are missing: %s", str(error).partition("\n")[0])
            self.connected.clear()
            self._connection = None
            if not self._stopping.is_set():
                self._notify("all", 0)
            self._stopping.wait(_RECONNECT)

    def _listen(self, connection: Any) -> None:
        connection.autocommit = True
        connection.execute(f"LISTEN {CHANNEL}")
        self._notify("all", 0)
        self.connected.set()
        self._notify("damaged", 0)
        while not self._stopping.is_set():
            for notice in connection.notifies(timeout=_POLL):
                kind, _, number = notice.payload.partition(" ")
                self._notify(kind, int(number or 0))
            connection.execute("SELECT 1")  # fails where the server has gone without a word

    def _notify(self, kind: str, number: int) -> None:
        for subscriber in self._subscribers:
            try:
                subscriber(kind, number)
            except Exception:  # noqa: BLE001 - the others are to be notified
                _log.exception("a subscriber of notifications failed")
