"""Images by the hash of their content in a bucket, by URL through obstore; in the same layout as in a folder."""

import logging
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from apitorch_desktop.service.config import without_password
from apitorch_desktop.service.storage.blobs import MARKER, SHA256_DIGITS, Blobs, Staged
from apitorch_desktop.service.storage.errors import CannotOpen, StorageFault

if TYPE_CHECKING:
    from obstore.store import ObjectStore, RetryConfig

_log = logging.getLogger(__name__)
_AT_ONCE = 64  # requests at a time in `settle`
_RETRIES: "RetryConfig" = {"max_retries": 5, "retry_timeout": timedelta(seconds=20)}
"""Short: who waits for the writer waits as long. A request that gets no answer is given up after 30 seconds."""
_CODE = re.compile(r"<Code>(\w+)</Code>")


class BucketBlobs(Blobs):
    """Images in a bucket, which says itself when an object is durable."""

    quick_to_list = False

    def __init__(self, store: "ObjectStore", place: str) -> None:
        self.place = place
        self._store = store

    def stage(self, sha256: str, data: bytes) -> Staged:
        """Take bytes in, for `settle`. Raises StorageFull or StorageFault; then nothing of them stays."""
        return Staged(sha256, data)

    def discard(self, staged: Staged) -> None:
        """Drop what was staged and will not be settled."""

    def settle(self, staged: Sequence[Staged]) -> None:
        """Make them durable; what could not be is told in each one's `error`."""

        def put(one: Staged) -> None:
            try:
                self._store.put(_name(one.sha256), one.data)
            except Exception as error:  # noqa: BLE001 - obstore's errors are of many kinds; it goes to the caller
                one.error = _fault(error)

        with ThreadPoolExecutor(min(_AT_ONCE, len(staged) or 1), "blobs") as threads:
            list(threads.map(put, staged))

    def has(self, sha256: str) -> bool:
        """Whether it is there; a bucket that cannot be reached is taken to have it."""
        try:
            self._store.head(_name(sha256))
        except FileNotFoundError:
            return False
        except Exception:  # noqa: BLE001 - whoever reads or writes next hears of it
            return True
        return True

    def read(self, sha256: str) -> bytes:
        """The bytes. Raises StorageFault."""
        try:
            return bytes(self._store.get(_name(sha256)).bytes())
        except FileNotFoundError as error:
            raise StorageFault("The stored image is gone from the disk. Upload it again.") from error
        except Exception as error:
            raise _fault(error) from error

    def delete(self, sha256s: Sequence[str]) -> None:
        """Delete; what is not there is fine. Raises StorageFault; the next sweep tries again."""
        try:
            self._store.delete([_name(sha256) for sha256 in sha256s])
        except FileNotFoundError:
            pass
        except Exception as error:
            raise _fault(error) from error

    def names(self) -> Iterator[str]:
        """The sha256 of everything stored. Raises StorageFault."""
        try:
            for batch in self._store.list():
                for entry in batch:
                    name = entry["path"].rpartition("/")[2]
                    if len(name) == SHA256_DIGITS:
                        yield name
        except Exception as error:
            raise _fault(error) from error

    def marker(self) -> str | None:
        """What `mark` left. Raises StorageFault."""
        try:
            return bytes(self._store.get(MARKER).bytes()).decode()
        except FileNotFoundError:
            return None
        except Exception as error:
            raise _fault(error) from error

    def mark(self, database: str) -> None:
        """Keep the id of the database with the images. Raises StorageFault."""
        try:
            self._store.put(MARKER, database.encode())
        except Exception as error:
            raise _fault(error) from error


def open_bucket(url: str) -> BucketBlobs:
    """Images at an obstore URL (`s3://bucket/prefix`), with credentials from the environment. Raises CannotOpen."""
    from obstore.store import from_url

    try:
        store: Any = from_url(url, retry_config=_RETRIES)
    except Exception as error:
        raise CannotOpen(  # what the error says has the address, and so a password, in it
            "The address of the image storage cannot be used. Write it as s3://bucket/prefix, or give the file:// URL of a "
            "folder that is there."
        ) from error
    return BucketBlobs(store, without_password(url))


def _name(sha256: str) -> str:
    return f"{sha256[0]}/{sha256}"


def _fault(error: Exception) -> StorageFault:
    """In few words, of an error that goes on for a page: what it came to, and the code a bucket gives."""
    text = str(error).strip() or type(error).__name__
    _log.warning("the image storage failed: %s", text.splitlines()[0])
    reason = text.splitlines()[0].rpartition(" - ")[2].partition(": <")[0]
    code = _CODE.search(text)
    if code:
        reason = f"{reason}, {code[1]}"
    return StorageFault(
        f"The image storage failed ({reason[:200]}). See that it can be reached, and that its name and credentials are "
        "right; then try again."
    )
