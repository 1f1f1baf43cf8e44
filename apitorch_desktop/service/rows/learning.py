"""What training keeps: embeddings by content, and the versions of each training set's head."""

from collections.abc import Iterable, Sequence

from apitorch_desktop.service.records import EmbeddingRow, ExampleRow, VersionRow

KEPT_VERSIONS = 10


class Learning:
    """Embeddings and versions, for the trainer: training sets by number, whoever owns them. Thread-safe."""

    def examples(self, training_set_id: int) -> tuple[int, list[ExampleRow]]:
        """The revision, and all images in the order of arrival, read at one moment. Raises NotFound."""
        raise NotImplementedError

    def missing(self, training_set_id: int, encoder: str) -> list[str]:
        """The sha256 of a training set's images that this encoder has no embedding of, oldest first, each once."""
        raise NotImplementedError

    def embeddings(self, encoder: str, sha256s: Iterable[str]) -> dict[str, EmbeddingRow]:
        """The embeddings that are there, by sha256."""
        raise NotImplementedError

    def put_embeddings(self, encoder: str, rows: Sequence[EmbeddingRow]) -> None:
        """Keep embeddings; one that is there already is replaced, one of an image that is gone is dropped."""
        raise NotImplementedError

    def put_version(
        self,
        training_set_id: int,
        *,
        revision: int,
        encoder: str,
        head: bytes,
        metrics: str,
        images: int,
        labels: int,
    ) -> VersionRow:
        """Keep a trained head as the next version and make it current, in one; the last ten stay. Raises NotFound."""
        raise NotImplementedError

    def versions(self, training_set_id: int) -> list[VersionRow]:
        """The versions that are kept, newest first; empty where there is none or no such set."""
        raise NotImplementedError

    def head(self, training_set_id: int, version: int | None = None) -> tuple[VersionRow, bytes]:
        """The current version, or the one named, and its head. Raises NotFound."""
        raise NotImplementedError

    def set_current(self, training_set_id: int, version: int) -> VersionRow:
        """Make a kept version the current one. Raises NotFound."""
        raise NotImplementedError
