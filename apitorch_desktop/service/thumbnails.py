"""The service's thumbnail cache: JPEGs by content in an SQLite file of its own. Losing it costs only time."""


class Thumbnails:
    """Thumbnails by sha256. Thread-safe; never raises: what fails is a thumbnail that is not there."""

    def get(self, sha256: str) -> bytes | None:
        """A thumbnail, or None where it has to be made."""
        raise NotImplementedError

    def put(self, sha256: str, jpeg: bytes) -> None:
        """Keep a thumbnail; written a little later, in batches."""
        raise NotImplementedError
