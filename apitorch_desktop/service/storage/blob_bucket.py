"""Image files by content hash in a bucket, accessed by URL through obstore; the layout is that of a folder."""

import logging
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from functools import partial
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeVar

from apitorch_desktop.service.config import without_password
from apitorch_desktop.service.storage.blobs import MARKER, SHA256_DIGITS, Blobs, Staged, check_content, read_file
from apitorch_desktop.service.storage.errors import CannotOpen, DamagedImage, StorageUnreachable, to_store_error
from apitorch_desktop.utils.files import atomic_write

if TYPE_CHECKING:
    from obstore.store import ObjectStore, RetryConfig

_log = logging.getLogger(__name__)
_T = TypeVar("_T")
_BATCH = 500  # objects deleted at once
_SOON, _SOON_THREADS = 2.0, 8  # seconds for an object that others may read at once
_DOWN = 2.0  # seconds after a failure in which other requests fail at once
_RETRY_UPLOADS = 5.0  # seconds until a file that could not be stored is tried again
_SETTLE = 10.0
_RETRIES: "RetryConfig" = {"max_retries": 3, "retry_timeout": timedelta(seconds=10)}
"""Short, since a caller waits as long. A connection has 5 seconds and a request 30, by default: options of the client
given here would replace those of the environment.
"""
_ERROR_CODE = re.compile(r"<Code>(\w+)</Code>")


class BucketBlobs(Blobs):
    """Image files in a bucket, where an object is durable once `put` returns.

    The writer never waits for the bucket. `stage` stores the object on the caller's thread; a thread of its own deletes
    objects, and stores what `stage_soon` wrote into the folder `pending`, from which it is read until then. An object
    is not deleted while it is staged, nor staged while it is being deleted.
    """

    fast_listing = False

    def __init__(self, store: "ObjectStore", location: str, pending: Path | None = None) -> None:
        super().__init__()
        self.location = location
        self._store = store
        self._pending = pending
        self._changed = threading.Condition()
        self._staged: set[Staged] = set()
        self._uploads: dict[str, None] = {}
        self._deletions: dict[str, None] = {}
        self._deleting: set[str] = set()
        self._retry_at = 0.0  # of the uploads
        self._down_until = 0.0
        self._down_reason = ""
        self._stopping = False
        self._soon: ThreadPoolExecutor | None = None
        self._thread: threading.Thread | None = None
        if pending is not None and pending.is_dir():
            self._uploads = dict.fromkeys(path.name for path in pending.iterdir() if len(path.name) == SHA256_DIGITS)

    def stage(self, sha256: str, data: bytes) -> Staged:
        """Store the object, on the caller's thread. Raises StorageUnreachable."""
        staged = self._begin(Staged(sha256, data, repairs=sha256 in self.damaged))
        try:
            self._ask(lambda: self._store.put(_name(sha256), data))
        except StorageUnreachable:
            self.discard(staged)
            raise
        self.damaged.discard(sha256)
        return staged

    def stage_soon(self, sha256: str, data: bytes) -> Staged:
        """Write the bytes to a file that is stored later. Raises DiskFull, StorageFault.

        Where other processes read the images, they are stored now if the bucket takes them soon.
        """
        if self._pending is None:
            return self.stage(sha256, data)
        if self.shared and self._put_soon(sha256, data):
            return self._begin(Staged(sha256, data, repairs=sha256 in self.damaged))
        staged = self._begin(Staged(sha256, data, self._pending / sha256))
        try:
            self._pending.mkdir(exist_ok=True, mode=0o700)
            with atomic_write(self._pending / sha256, mode=0o600) as part:
                part.write_bytes(data)
        except OSError as error:
            self.discard(staged)
            raise to_store_error(error, self._pending) from error
        return staged

    def _put_soon(self, sha256: str, data: bytes) -> bool:
        """Store an object; return False if that fails or takes too long: a slow bucket holds up no classification."""
        if monotonic() < self._down_until:
            return False
        with self._changed:
            if self._soon is None:
                self._soon = ThreadPoolExecutor(_SOON_THREADS, "bucket-soon")
        stored = self._soon.submit(self._ask, lambda: self._store.put(_name(sha256), data))
        try:
            stored.result(_SOON)
        except TimeoutError:
            stored.cancel()
            self._down_until, self._down_reason = monotonic() + _DOWN, "The image storage is too slow. Try again."
            return False
        except StorageUnreachable:
            return False
        return True

    def discard(self, staged: Staged) -> None:
        """Forget what was staged and will not be committed; the sweep finds an object without a row."""
        with self._changed:
            self._release(staged)
            unwanted = staged.file is not None and staged.sha256 not in self._uploads
            if unwanted and staged.sha256 not in {each.sha256 for each in self._staged}:
                with suppress(OSError):
                    staged.file.unlink(missing_ok=True)  # type: ignore[union-attr]
        staged.file = None

    def commit(self, staged: Sequence[Staged]) -> None:
        """Keep the objects: they are stored already, or will be."""
        with self._changed:
            for item in staged:
                self._deletions.pop(item.sha256, None)
                if item.file is not None and item in self._staged:
                    self._uploads[item.sha256] = None
                self._release(item)
        self.resume()

    def resume(self) -> None:
        """Store and delete in the background what is left to do."""
        with self._changed:
            if self._thread is None and not self._stopping and (self._uploads or self._deletions):
                self._thread = threading.Thread(target=self._work, name="bucket", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def settle(self, timeout: float = _SETTLE) -> None:
        """Wait until all is stored and deleted, or the bucket cannot be reached, or the time is over."""
        with self._changed:
            self._changed.wait_for(lambda: not (self._next() or self._deleting), timeout)

    def close(self) -> None:
        """Finish what can be done within seconds; the next start stores the rest, and the sweep finds it."""
        self.settle()
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
            soon = self._soon
        if soon is not None:
            soon.shutdown(wait=False, cancel_futures=True)

    def exists(self, sha256: str) -> bool:
        """Return whether the object exists and is not known to be damaged; True if the bucket cannot be reached."""
        if sha256 in self.damaged or self._is_deleted(sha256):
            return False
        if self._local(sha256) is not None:
            return True
        try:
            self._ask(lambda: self._store.head(_name(sha256)))
        except FileNotFoundError:
            return False
        except StorageUnreachable:  # the next read or write reports it
            return True
        return True

    def modified(self, sha256: str) -> float:
        """Return when the object was stored, 0 if that cannot be determined."""
        try:
            if (local := self._local(sha256)) is not None:
                return local.stat().st_mtime
            return float(self._ask(lambda: self._store.head(_name(sha256)))["last_modified"].timestamp())
        except (OSError, StorageUnreachable):
            return 0

    def read(self, sha256: str, size: int | None = None, *, afresh: bool = False) -> bytes:  # noqa: ARG002 - always
        """Return the bytes. Raises DamagedImage, StorageUnreachable."""

        def get() -> bytes | None:
            found = self._store.get(_name(sha256))
            return bytes(found.bytes()) if size in (None, found.meta["size"]) else None

        try:
            if self._is_deleted(sha256):
                raise FileNotFoundError
            if (local := self._local(sha256)) is not None:
                with suppress(DamagedImage):  # just stored
                    data = read_file(local, size)[0]
                    check_content(data, sha256)
                    return data
            found = self._ask(get)
        except FileNotFoundError as error:
            raise DamagedImage("The stored image is gone from the image storage.") from error
        if found is None:
            raise DamagedImage
        check_content(found, sha256)
        return found

    def delete(self, sha256s: Sequence[str]) -> None:
        """Delete objects in the background, ignoring missing ones."""
        with self._changed:
            self._deletions.update(dict.fromkeys(sha256s))
        self.resume()

    def remove(self, sha256s: Sequence[str]) -> None:
        """Delete objects now. Raises StorageUnreachable."""
        for start in range(0, len(sha256s), _BATCH):
            names = [_name(sha256) for sha256 in sha256s[start : start + _BATCH]]
            with suppress(FileNotFoundError):
                self._ask(partial(self._store.delete, names))

    def _begin(self, staged: Staged) -> Staged:
        with self._changed:
            self._changed.wait_for(lambda: staged.sha256 not in self._deleting)
            self._staged.add(staged)
        return staged

    def _release(self, staged: Staged) -> None:
        self._staged.discard(staged)
        self._changed.notify_all()

    def _local(self, sha256: str) -> Path | None:
        """Return the file of an image that is not stored yet."""
        return self._pending / sha256 if self._pending is not None and sha256 in self._uploads else None

    def _is_deleted(self, sha256: str) -> bool:
        return sha256 in self._deletions or sha256 in self._deleting

    def _ask(self, request: Callable[[], _T]) -> _T:
        """Make a request. Raises FileNotFoundError for a missing object, StorageUnreachable for any other failure.

        After a failure others fail at once for a moment, so that those who wait for a thread need not wait as long.
        """
        if monotonic() < self._down_until:
            raise StorageUnreachable(self._down_reason)
        try:
            answer = request()
        except FileNotFoundError:
            raise
        except Exception as error:  # obstore raises many types
            failure = _to_storage_fault(error)
            self._down_until, self._down_reason = monotonic() + _DOWN, str(failure)
            raise failure from error
        self._down_until = 0.0
        return answer

    # The thread

    def _work(self) -> None:
        while (found := self._wait()) is not None:
            kind, sha256s = found
            try:
                if kind == "delete":
                    self._delete(sha256s)
                else:
                    self._upload(sha256s[0])
            except Exception as error:  # noqa: BLE001 - a lost object costs space, a lost thread all later work
                _log.warning("the bucket could not be brought up to date: %s", error)
            finally:
                with self._changed:
                    self._deleting.difference_update(sha256s)
                    self._changed.notify_all()

    def _wait(self) -> tuple[str, list[str]] | None:
        """Wait for work and mark it as begun; None to end."""
        with self._changed:
            while not self._stopping:
                if found := self._next():
                    if found[0] == "delete":
                        self._deleting.update(found[1])
                        for sha256 in found[1]:
                            del self._deletions[sha256]
                    return found
                self._changed.wait(1.0 if self._uploads else None)
        return None

    def _next(self) -> tuple[str, list[str]] | None:
        staged = {each.sha256 for each in self._staged}
        deletable = [sha256 for sha256 in self._deletions if sha256 not in staged]
        if deletable:
            return "delete", deletable[:_BATCH]
        if self._uploads and monotonic() >= self._retry_at:
            return "upload", [next(iter(self._uploads))]
        return None

    def _upload(self, sha256: str) -> None:
        path = self._pending / sha256 if self._pending is not None else Path()
        try:
            if path.is_file():
                data = path.read_bytes()
                self._store.put(_name(sha256), data)
        except Exception as error:
            self._retry_at = monotonic() + _RETRY_UPLOADS
            raise _to_storage_fault(error) from error
        with self._changed:
            self._uploads.pop(sha256, None)
        with suppress(OSError):
            path.unlink(missing_ok=True)

    def _delete(self, sha256s: list[str]) -> None:
        for sha256 in sha256s:
            with self._changed:
                self._uploads.pop(sha256, None)
            if self._pending is not None:
                (self._pending / sha256).unlink(missing_ok=True)
        with suppress(FileNotFoundError):
            self._store.delete([_name(sha256) for sha256 in sha256s])

    def names(self) -> Iterator[str]:
        """Yield the sha256 of every stored object. Raises StorageFault.

        Those that are to be deleted when it begins are left out, as the bucket may list them though they are deleted then.
        """
        with self._changed:
            deleted = {*self._deletions, *self._deleting}
        yield from list(self._uploads)
        try:
            for batch in self._store.list():
                for entry in batch:
                    name = entry["path"].rpartition("/")[2]
                    gone = name in deleted or self._is_deleted(name)
                    if len(name) == SHA256_DIGITS and name not in self._uploads and not gone:
                        yield name
        except Exception as error:
            raise _to_storage_fault(error) from error

    def database_id(self) -> str | None:
        """Return the id of the database the images belong to, None if not set. Raises StorageFault."""
        try:
            return bytes(self._store.get(MARKER).bytes()).decode()
        except FileNotFoundError:
            return None
        except Exception as error:
            raise _to_storage_fault(error) from error

    def set_database_id(self, database: str) -> None:
        """Store the id of the database with the images. Raises StorageFault."""
        try:
            self._store.put(MARKER, database.encode())
        except Exception as error:
            raise _to_storage_fault(error) from error


def open_bucket(url: str, pending: Path | None = None) -> BucketBlobs:
    """Open the images at an obstore URL (`s3://bucket/prefix`), with credentials from the environment.

    `pending` is a folder for images that are stored later. Raises CannotOpen.
    """
    from obstore.store import from_url

    try:
        store: Any = from_url(url, retry_config=_RETRIES)
    except Exception as error:
        raise CannotOpen(  # the error's text contains the URL, and so a password
            "The address of the image storage cannot be used. Write it as s3://bucket/prefix, or give the file:// URL of a "
            "folder that is there."
        ) from error
    return BucketBlobs(store, without_password(url), pending)


def _name(sha256: str) -> str:
    return f"{sha256[0]}/{sha256}"


def _to_storage_fault(error: Exception) -> StorageUnreachable:
    """Return an error that has only the reason and the bucket's error code of a page-long error."""
    text = str(error).strip() or type(error).__name__
    _log.warning("the image storage failed: %s", text.splitlines()[0])
    reason = text.splitlines()[0].rpartition(" - ")[2].partition(": <")[0]
    code = _ERROR_CODE.search(text)
    if code:
        reason = f"{reason}, {code[1]}"
    return StorageUnreachable(
        f"The image storage failed ({reason[:200]}). See that it can be reached, and that its name and credentials are "
        "right; then try again."
    )
