"""Image files by content hash in a bucket, accessed by URL through obstore; the layout is that of a folder."""

import logging
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from apitorch_desktop.service.config import without_password
from apitorch_desktop.service.storage.blobs import MARKER, SHA256_DIGITS, Blobs, Staged
from apitorch_desktop.service.storage.errors import CannotOpen, StorageFault, StorageUnreachable

if TYPE_CHECKING:
    from obstore.store import ObjectStore, RetryConfig

_log = logging.getLogger(__name__)
_CONCURRENCY = 64  # requests at a time in `commit`
_RETRIES: "RetryConfig" = {"max_retries": 5, "retry_timeout": timedelta(seconds=20)}
"""Short, since callers of the writer wait as long. A request without a response is given up after 30 seconds."""
_ERROR_CODE = re.compile(r"<Code>(\w+)</Code>")


class BucketBlobs(Blobs):
    """Image files in a bucket, where an object is durable once `put` returns."""

    fast_listing = False

    def __init__(self, store: "ObjectStore", location: str) -> None:
        super().__init__()
        self.location = location
        self._deletions = 0
        self._deleted: dict[str, int] = {}  # the number of the deletion of an object
        self._staged: dict[Staged, int] = {}  # the number of the first deletion that may come after it
        self._store = store

    def stage(self, sha256: str, data: bytes) -> Staged:
        """Store the object, on the caller's thread, so that a slow bucket does not hold up the writer.

        Raises StorageFault.
        """
        staged = Staged(sha256, data)
        self._staged[staged] = self._deletions
        self._put(staged)
        if staged.error is not None:
            self.discard(staged)
            raise staged.error
        return staged

    def discard(self, staged: Staged) -> None:
        """Forget what was staged and will not be committed; its object is removed by the writer or the sweep."""
        self._staged.pop(staged, None)

    def commit(self, staged: Sequence[Staged]) -> None:
        """Store again what was deleted after it was staged; failures are set as the `error` of each."""
        lost = [item for item in staged if self._deleted.get(item.sha256, -1) >= self._staged.pop(item, 0)]
        if lost:
            with ThreadPoolExecutor(min(_CONCURRENCY, len(lost)), "blobs") as threads:
                list(threads.map(self._put, lost))

    def _put(self, item: Staged) -> None:
        try:
            self._store.put(_name(item.sha256), item.data)
            self.damaged.discard(item.sha256)
        except Exception as error:  # noqa: BLE001 - obstore raises many types; the caller gets it
            item.error = _to_storage_fault(error)

    def exists(self, sha256: str) -> bool:
        """Return whether the object exists and is not known to be damaged; True if the bucket cannot be reached."""
        if sha256 in self.damaged:
            return False
        try:
            self._store.head(_name(sha256))
        except FileNotFoundError:
            return False
        except Exception:  # noqa: BLE001 - the next read or write reports it
            return True
        return True

    def modified(self, sha256: str) -> float:
        """Return when the object was stored, 0 if that cannot be determined."""
        try:
            return self._store.head(_name(sha256))["last_modified"].timestamp()
        except Exception:  # noqa: BLE001 - only used for a message
            return 0

    def read(self, sha256: str) -> bytes:
        """Return the bytes. Raises StorageFault."""
        try:
            return bytes(self._store.get(_name(sha256)).bytes())
        except FileNotFoundError as error:
            raise StorageFault("The stored image is gone from the disk. Upload it again.") from error
        except Exception as error:
            raise _to_storage_fault(error) from error

    def delete(self, sha256s: Sequence[str]) -> None:
        """Delete objects, ignoring missing ones. Raises StorageFault; the next sweep tries again."""
        if not self._staged:
            self._deleted.clear()
        for sha256 in sha256s:
            self._deleted[sha256] = self._deletions
        try:
            self._store.delete([_name(sha256) for sha256 in sha256s])
        except FileNotFoundError:
            pass
        except Exception as error:
            raise _to_storage_fault(error) from error
        finally:
            self._deletions += 1  # only now: what is staged meanwhile may be deleted as well

    def names(self) -> Iterator[str]:
        """Yield the sha256 of every stored object. Raises StorageFault."""
        try:
            for batch in self._store.list():
                for entry in batch:
                    name = entry["path"].rpartition("/")[2]
                    if len(name) == SHA256_DIGITS:
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


def open_bucket(url: str) -> BucketBlobs:
    """Open the images at an obstore URL (`s3://bucket/prefix`), with credentials from the environment. Raises
    CannotOpen.
    """
    from obstore.store import from_url

    try:
        store: Any = from_url(url, retry_config=_RETRIES)
    except Exception as error:
        raise CannotOpen(  # the error's text contains the URL, and so a password
            "The address of the image storage cannot be used. Write it as s3://bucket/prefix, or give the file:// URL of a "
            "folder that is there."
        ) from error
    return BucketBlobs(store, without_password(url))


def _name(sha256: str) -> str:
    return f"{sha256[0]}/{sha256}"


def _to_storage_fault(error: Exception) -> StorageFault:
    """Return a StorageFault that has only the reason and the bucket's error code of a page-long error."""
    text = str(error).strip() or type(error).__name__
    _log.warning("the image storage failed: %s", text.splitlines()[0])
    reason = text.splitlines()[0].rpartition(" - ")[2].partition(": <")[0]
    code = _ERROR_CODE.search(text)
    if code:
        reason = f"{reason}, {code[1]}"
    kind = StorageFault if code else StorageUnreachable
    return kind(
        f"The image storage failed ({reason[:200]}). See that it can be reached, and that its name and credentials are "
        "right; then try again."
    )
