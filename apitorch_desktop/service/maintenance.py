"""Maintenance of a data folder: check, backup, restore, and the adoption of images without a row."""

import hashlib
import json
import re
import shutil
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from time import sleep, time

from sqlalchemy import Engine, create_engine, select
from sqlalchemy.exc import DBAPIError

from apitorch_desktop import __version__
from apitorch_desktop.service.config import storage_urls
from apitorch_desktop.service.launcher import RUNNING_FILE
from apitorch_desktop.service.storage import damage, schema
from apitorch_desktop.service.storage.blobs import MARKER, Blobs, FolderBlobs
from apitorch_desktop.service.storage.database import DATABASE, LOCAL_OWNER
from apitorch_desktop.service.storage.errors import StorageFault, StoreError, to_store_error
from apitorch_desktop.service.storage.store import Store, check_data, lock_folder, open_blobs
from apitorch_desktop.service.storage.sweeper import QUARANTINE_DAYS
from apitorch_desktop.service.storage.validation import is_sha256
from apitorch_desktop.utils.errors import UserError
from apitorch_desktop.utils.files import atomic_write, fsync_folder, move_into_place, private_folder, sync, try_lock

MANIFEST = "backup.json"
ADOPTED_SET, ADOPTED_LABEL = "Recovered images", "recovered"
_SHOWN = 5  # images named in a sentence
_ATTEMPTS = 5
_LOCK = "lock"  # in a backup's folder
_PART = re.compile(r"\.\d+-[0-9a-f]{12}\.part.*")  # left by `atomic_write`, and SQLite beside it, when killed
_EARLY_TABLES = ("owners", "keys", "training_sets", "labels", "images")  # of every version, with an id
_PAUSE = 1.0  # seconds between two looks at images that seem to be wrong beside a running service
_YOUNG = 60.0  # seconds for which a file may be waiting for its row
_MANY = 20  # images in a backup, of which no more than half are removed unasked


class MaintenanceError(UserError):
    """The command cannot be carried out; `str()` is one sentence for the user."""


@dataclass(frozen=True)
class Finding:
    """A result of `check`: a sentence, and what to do about it (empty where nothing is wrong)."""

    sentence: str
    advice: str = ""


def check(folder: Path, *, hashes: bool = True) -> list[Finding]:
    """Check the database, the image files and, with `hashes`, their content; a service may be running.

    What is missing or damaged is marked in the database, so that an import sends it again; else nothing is changed.
    Raises CannotOpen where there is nothing to check.
    """
    urls = storage_urls()
    check_data(folder, urls["database_url"])
    findings: list[Finding] = []
    restore = "Stop the service, and put a backup back: apitorch-desktop service restore BACKUP."
    if urls["database_url"] is None:
        try:
            with closing(_read_only(folder / DATABASE)) as connection:
                problems = [str(row[0]) for row in connection.execute("PRAGMA integrity_check(20)") if row[0] != "ok"]
                problems += [
                    f"a row of {row[0]} refers to none" for row in connection.execute("PRAGMA foreign_key_check")
                ]
                version = _version(connection)
            if version > schema.VERSION:
                findings.append(Finding(schema.too_new(version), f"Use that version. {restore}"))
        except sqlite3.Error as error:
            problems = [str(error)]
        if problems:
            findings.append(Finding(f"The database is damaged: {'; '.join(problems[:_SHOWN])}.", restore))
    sound = not findings
    try:
        rows, quarantine = _rows(folder, urls["database_url"])
    except DBAPIError as error:
        return findings or [Finding(str(to_store_error(error, folder)), restore)]
    blobs = (
        FolderBlobs(folder / "images", writable=False)
        if urls["blob_url"] is None
        else open_blobs(folder, urls["blob_url"])
    )
    stored = set(blobs.names())
    missing, orphans = rows - stored, stored - rows
    damaged = set(_damaged(blobs, rows & stored)) if hashes else set()
    if (missing or orphans or damaged) and (any(urls.values()) or (folder / RUNNING_FILE).exists()):
        sleep(_PAUSE)  # images come and go meanwhile
        rows = _rows(folder, urls["database_url"])[0]
        stored = set(blobs.names())
        missing, orphans, damaged = missing & rows - stored, orphans & stored - rows, damaged & rows
        orphans = {sha256 for sha256 in orphans if not 0 <= time() - blobs.modified(sha256) < _YOUNG}
    findings += _comparison(missing, orphans, quarantine)
    if sound and (lost := {*damaged, *missing}):
        with suppress(DBAPIError):  # as of a database that cannot be written to; the service finds them by itself later
            _mark(folder, urls["database_url"], lost)
    if damaged:
        findings.append(
            Finding(
                f"{_count(len(damaged))} {_are(damaged)} damaged, the content is not what was stored: {_names(damaged)}.",
                "Upload them again, or put a backup back.",
            )
        )
    if not any(finding.advice for finding in findings):
        checked = "every file was read" if hashes else "their content was not read"
        findings.insert(0, Finding(f"All is well: {_count(len(rows))} in the database and in the storage; {checked}."))
    return findings


def backup(folder: Path, target: Path, *, may_shrink: bool = False) -> str:
    """Copy database and images into a folder, or bring an earlier backup there up to date; return a sentence about it.

    A service may be running: the database is copied at one moment, with every image it refers to. A backup that was
    interrupted goes on. One of another database is left as it is, and so is one of which most images would be removed,
    unless it `may_shrink`. Raises MaintenanceError, and CannotOpen where there is no data.
    """
    _check_urls()
    check_data(folder, storage_urls()["database_url"])
    if folder.resolve() == target.resolve() or folder.resolve() in target.resolve().parents:
        raise MaintenanceError("The backup would be inside the data folder. Choose a folder on another disk.")
    try:
        with closing(_read_only(folder / DATABASE)) as connection:
            database_id = _database_id(connection)
        _check_target(target, database_id)
        with ExitStack() as held:
            _begin(target, database_id, held)
            names, failed = _bring_up_to_date(folder, target, may_shrink=may_shrink)
            _write(target / "images" / MARKER, database_id)
            for path in (target / "images").glob("?/*"):
                if path.name not in names:
                    path.unlink()
            _write_manifest(target, database_id, created_at=datetime.now(UTC).isoformat(), images=len(names))
    except sqlite3.Error as error:
        if _is_of_writing(error):
            raise MaintenanceError(f"The backup failed: {to_store_error(error, target)}") from error
        raise MaintenanceError(
            f"The database cannot be copied ({error}). Run “apitorch-desktop service check”."
        ) from error
    except OSError as error:
        raise MaintenanceError(f"The backup failed: {to_store_error(error, target)}") from error
    if failed:
        raise MaintenanceError(
            f"The backup is made, but {_count(len(failed))} could not be copied, as missing or damaged: "
            f"{_names(failed)}. Run “apitorch-desktop service check”."
        )
    return f"{_count(len(names))} and the database are in “{target}”."


def _begin(target: Path, database_id: str, held: ExitStack) -> None:
    """Lock a backup's folder, mark it as one, and remove what a process that was killed left there."""
    target.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        lock = try_lock(target / _LOCK)
    except (OSError, NotImplementedError):  # a file system without locks; any other failure shows below
        pass
    else:
        if lock is None:
            raise MaintenanceError(f"Another backup into “{target}” is being made. Wait until it is done.")
        held.callback(lock.release)
        for path in _parts(target):
            path.unlink(missing_ok=True)
    private_folder(target)
    if not (target / MANIFEST).is_file():
        _write_manifest(target, database_id)
    (target / "images").mkdir(exist_ok=True, mode=0o700)


def _bring_up_to_date(folder: Path, target: Path, *, may_shrink: bool) -> tuple[set[str], set[str]]:
    """Copy the images and, once they are on the disk, the database; return its images, and those that are not copied."""
    present = {path.name for path in (target / "images").glob("?/*") if is_sha256(path.name)}
    good: set[str] = set()
    with atomic_write(target / DATABASE, mode=0o600) as part:
        for _ in range(_ATTEMPTS):  # an image may be deleted after the database is copied and before the image is
            names = _copy_database(folder / DATABASE, part)
            if not may_shrink:
                _check_removal(target, present, names)
            failed = set(_copy_images(folder / "images", target / "images", names - good))
            good |= names - failed
            if not failed:
                break
    return names, failed


def _write_manifest(target: Path, database_id: str, **facts: object) -> None:
    _write(target / MANIFEST, json.dumps({**facts, "version": __version__, "database": database_id}))


def _write(path: Path, text: str) -> None:
    with atomic_write(path, mode=0o600) as part:
        part.write_text(text)


def _is_of_writing(error: sqlite3.Error) -> bool:
    """Return whether a database could not be copied because of the disk that it is copied to."""
    code = getattr(error, "sqlite_errorcode", 0)
    return code & 0xFF in {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR} and code != sqlite3.SQLITE_IOERR_READ


def _check_target(target: Path, database_id: str) -> None:
    """Check that a folder is empty, or has a backup of this database. Raises MaintenanceError."""
    if target.exists() and not target.is_dir():
        raise MaintenanceError(f"“{target}” is a file. Choose a new folder.")
    if not target.is_dir() or {*target.iterdir()} <= {target / _LOCK, *_parts(target)}:
        return
    found = _backup_ids(target)
    if not found:
        raise MaintenanceError(f"“{target}” is not empty and no backup. Choose a new folder.")
    if not found <= {database_id, ""}:
        raise MaintenanceError(
            f"The backup in “{target}” is of another database. Choose a new folder for this one. If you meant to put that "
            "backup back: apitorch-desktop service restore."
        )


def _parts(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if _PART.fullmatch(path.name)]


def _backup_ids(target: Path) -> set[str]:
    """Return the ids of the database that a backup's manifest and its database have, as far as they can be read."""
    found: set[str] = set()
    if (target / MANIFEST).is_file():
        with suppress(ValueError):
            manifest = json.loads((target / MANIFEST).read_bytes())
            if isinstance(manifest, dict) and isinstance(manifest.get("database"), str):
                found.add(manifest["database"])
        with suppress(sqlite3.Error), closing(_read_only(target / DATABASE)) as connection:
            found.add(_database_id(connection))
    return found


def _check_removal(target: Path, present: set[str], wanted: set[str]) -> None:
    """Check that a backup keeps half of its images, unless they are few. Raises MaintenanceError."""
    unwanted = len(present - wanted)
    if len(present) >= _MANY and unwanted * 2 > len(present):
        raise MaintenanceError(
            f"{unwanted:,} of the {_count(len(present))} in the backup “{target}” are no longer in the database, and would "
            "be removed. Choose a new folder if they may be wanted, else add --remove-images to the command."
        )


def restore(source: Path, folder: Path) -> str:
    """Put a backup back into a data folder that no service uses; return a sentence about it.

    The database that was there is moved aside, and images that the backup does not know stay: the next start puts them
    in quarantine. Raises MaintenanceError and InUse.
    """
    _check_urls()
    if (source / MANIFEST).is_file() and not (source / DATABASE).exists():
        raise MaintenanceError(
            f"The backup in “{source}” was interrupted. Make it again with “apitorch-desktop service backup”, or use another."
        )
    if not (source / MANIFEST).is_file() or not (source / DATABASE).is_file():
        raise MaintenanceError(f"“{source}” is no backup. Name a folder that “apitorch-desktop service backup” made.")
    try:
        with closing(_read_only(source / DATABASE)) as connection:
            if connection.execute("PRAGMA integrity_check(1)").fetchone()[0] != "ok":
                raise MaintenanceError(f"The database in “{source}” is damaged. Use another backup.")
            _check_schema(connection, source)
            names, database_id = _blob_names(connection), _database_id(connection)
    except sqlite3.Error as error:
        raise MaintenanceError(f"The database in “{source}” cannot be read ({error}). Use another backup.") from error
    with ExitStack() as held:
        lock_folder(folder, held)
        try:
            for path in _parts(folder):
                path.unlink(missing_ok=True)
            images = folder / "images"
            private_folder(images)
            blobs = FolderBlobs(images)
            if blobs.database_id() not in {None, database_id} and next(blobs.names(), ""):
                raise MaintenanceError(
                    f"The images in “{images}” belong to another database. Restore into another folder."
                )
            beside = len(set(blobs.names()) - names)
            failed = list(_copy_images(source / "images", images, names))
            blobs.set_database_id(database_id)
            with atomic_write(folder / DATABASE, mode=0o600) as part:
                shutil.copyfile(source / DATABASE, part)
                moved = _move_aside(folder)
        except OSError as error:
            raise MaintenanceError(f"The restore failed: {to_store_error(error, folder)}") from error
    sentence = f"{_count(len(names) - len(failed))} and the database are back in “{folder}”."
    if moved is not None:
        sentence += f" The database that was there is in “{moved}”."
    if beside:
        other = "" if moved is None else ", or put the database back that was there"
        sentence += (
            f" {_count(beside)} beside it {'is' if beside == 1 else 'are'} not in this backup, and removed {QUARANTINE_DAYS} "
            "days after the next start at the earliest: “apitorch-desktop service adopt” puts them into a training set of "
            f"their own{other}."
        )
    if failed:
        raise MaintenanceError(
            f"{sentence} {_count(len(failed))} {_are(failed)} missing or damaged in the backup: {_names(failed)}. "
            "Upload them again, or use another backup."
        )
    return sentence


def _check_schema(connection: sqlite3.Connection, source: Path) -> None:
    """Check that a service of this version can open a database. Raises MaintenanceError."""
    version = _version(connection)
    if version > schema.VERSION:
        raise MaintenanceError(
            f"{schema.too_new(version)} Restore the backup with that version, or use another backup."
        )
    columns = set(
        connection.execute("SELECT t.name, c.name FROM sqlite_master AS t, pragma_table_info(t.name) AS c").fetchall()
    )
    if version == schema.VERSION:
        known = {(table.name, column.name) for table in schema.metadata.tables.values() for column in table.columns}
    else:
        known = {(name, "id") for name in _EARLY_TABLES} | {("meta", "name"), ("meta", "value"), ("blobs", "sha256")}
    if (
        version < 1
        or not known <= columns
        or not _database_id(connection)
        or not all(is_sha256(name) for name in _blob_names(connection))
    ):
        raise MaintenanceError(f"The database in “{source}” is none of this service. Use another backup.")


def adopt(folder: Path) -> str:
    """Add the images in quarantine to a training set of their own; return a sentence about it.

    Raises StoreError: CannotOpen where there is no data, InUse where a service runs.
    """
    from apitorch_desktop.vision.images import UnreadableImage, verify

    check_data(folder, storage_urls()["database_url"])
    adopted = unreadable = 0
    with Store.open(folder, **storage_urls()) as store:
        if store.startup_sweep is None:
            store.sweeper.scan()
        waiting = sorted(store.sweeper.quarantined())
        if not waiting:
            return "There are no images without a row in the database."
        training_set = store.training_sets.create(LOCAL_OWNER, ADOPTED_SET)
        for sha256 in waiting:
            try:
                data = store.read(sha256)
                facts = verify(data)
                if hashlib.sha256(data).hexdigest() != sha256:
                    raise StorageFault("The stored image is damaged.")
            except (StoreError, UnreadableImage):
                unreadable += 1
                continue
            store.images.add(LOCAL_OWNER, training_set.id, ADOPTED_LABEL, data, facts)
            adopted += 1
        store.sweeper.scan()
    sentence = f"{_count(adopted)} {'is' if adopted == 1 else 'are'} in the training set “{training_set.name}” now."
    return f"{sentence} {_count(unreadable)} cannot be read and stay in quarantine." if unreadable else sentence


def _comparison(missing: set[str], orphans: set[str], quarantine: dict[str, str]) -> Iterator[Finding]:
    if missing:
        yield Finding(
            f"{_count(len(missing))} {_are(missing)} in the database, but the file is gone: {_names(missing)}.",
            "Upload them again, or put a backup back.",
        )
    if orphans:
        since = min((quarantine[sha256] for sha256 in orphans if sha256 in quarantine), default="")
        held = f", in quarantine since {since[:10]}," if since else ""
        yield Finding(
            f"{_count(len(orphans))}{held} {_are(orphans)} stored, but not in the database: {_names(orphans)}.",
            "They are uploads that were cut off before their answer, or an older copy of the database was put back: then put "
            "the newer one back, or add them to a training set of their own with the service stopped: apitorch-desktop "
            "service adopt. They are removed after 30 days.",
        )


def _rows(folder: Path, url: str | None) -> tuple[set[str], dict[str, str]]:
    """Return the images in the database, and those in quarantine with their dates."""
    engine = _engine(folder, url, _read_only)
    try:
        with engine.connect() as connection:
            rows = set(connection.execute(select(schema.blobs.c.sha256)).scalars())
            if not connection.dialect.has_table(connection, schema.quarantine.name):
                return rows, {}
            dates = connection.execute(select(schema.quarantine.c.sha256, schema.quarantine.c.since))
            return rows, {row[0]: row[1] for row in dates}
    finally:
        engine.dispose()


def _mark(folder: Path, url: str | None, sha256s: set[str]) -> None:
    """Mark images as damaged, also beside a service that runs."""
    engine = _engine(folder, url, _writable)
    try:
        with engine.begin() as connection:
            damage.mark(connection, sha256s)
    finally:
        engine.dispose()


def _engine(folder: Path, url: str | None, connect: Callable[[Path], sqlite3.Connection]) -> Engine:
    if url is None:
        return create_engine("sqlite://", creator=lambda: connect(folder / DATABASE))
    return create_engine(url.replace("postgresql://", "postgresql+psycopg://", 1))


def _damaged(blobs: Blobs, sha256s: Iterable[str]) -> list[str]:
    damaged = []
    for sha256 in sorted(sha256s):
        try:
            if hashlib.sha256(blobs.read(sha256)).hexdigest() != sha256:
                damaged.append(sha256)
        except StorageFault:  # the disk itself cannot read it
            damaged.append(sha256)
    return damaged


def _copy_database(source: Path, target: Path) -> set[str]:
    """Copy a database as it is at one moment; return the images it refers to."""
    with closing(_read_only(source)) as connection, closing(sqlite3.connect(target)) as copy:
        connection.backup(copy)
        copy.execute("PRAGMA journal_mode=DELETE").close()  # one file, without a log beside it
        return _blob_names(copy)


def _copy_images(source: Path, target: Path, sha256s: Iterable[str]) -> Iterator[str]:
    """Copy image files durably, where the target has no good one; yield those that are missing or damaged."""
    copied = []
    for digit in "0123456789abcdef":
        (target / digit).mkdir(exist_ok=True, mode=0o700)
    for sha256 in sorted(sha256s):
        path = target / sha256[0] / sha256
        if path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == sha256:
            continue
        try:
            data = (source / sha256[0] / sha256).read_bytes()
        except OSError:
            yield sha256
            continue
        if hashlib.sha256(data).hexdigest() != sha256:
            yield sha256
            continue
        with atomic_write(path, mode=0o600, durable=False) as part:
            part.write_bytes(data)
        copied.append(path)
    sync(copied)


def _move_aside(folder: Path) -> Path | None:
    """Move the database and its log into a folder of their own; return it, None where there is no database."""
    if not (folder / DATABASE).exists():
        return None
    aside = folder / f"replaced-{datetime.now(UTC):%Y%m%d-%H%M%S}"
    aside.mkdir(mode=0o700)
    for end in ("", "-wal", "-shm"):
        path = folder / f"{DATABASE}{end}"
        if path.exists():
            move_into_place(path, aside / path.name)
    fsync_folder(folder)
    return aside


def _check_urls() -> None:
    if any(storage_urls().values()):
        raise MaintenanceError(
            "This service keeps its data in PostgreSQL or in a bucket: back both up with their own tools, the database first."
        )


def _read_only(path: Path) -> sqlite3.Connection:
    return _connect(path, "ro")


def _writable(path: Path) -> sqlite3.Connection:
    return _connect(path, "rw")


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode={mode}", uri=True, timeout=10, check_same_thread=False)


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _blob_names(connection: sqlite3.Connection) -> set[str]:
    return {row[0] for row in connection.execute("SELECT sha256 FROM blobs")}


def _database_id(connection: sqlite3.Connection) -> str:
    row = connection.execute("SELECT value FROM meta WHERE name = 'id'").fetchone()
    return bytes(row[0]).hex() if row is not None else ""


def _count(number: int) -> str:
    return f"{number:,} image" if number == 1 else f"{number:,} images"


def _are(items: Sized) -> str:
    return "is" if len(items) == 1 else "are"


def _names(sha256s: Iterable[str]) -> str:
    names = sorted(sha256s)
    return ", ".join(names[:_SHOWN]) + (" …" if len(names) > _SHOWN else "")
