"""Training images: added, moved, deleted, listed."""

from collections.abc import Sequence

from apitorch_desktop.service.records import ImageFacts, ImagePage, ImageRow


class Images:
    """Training images. Thread-safe; what changes something returns when it is durable.

    An image id is accepted with and without `ti_`; one that is no id at all, or another owner's, is NotFound.
    """

    def add(
        self,
        owner: int,
        training_set_id: int | str,
        label: str,
        data: bytes,
        facts: ImageFacts,
        original_filename: str = "",
    ) -> tuple[ImageRow, bool]:
        """Store an image under a label, which is made when it is new; and whether the image was new to it.

        The same bytes under the same label are one image: the first row comes back, and False. `data` must have been
        verified. Raises NotFound, Invalid, StorageFull, StorageFault; then nothing of it is kept.
        """
        raise NotImplementedError

    def get(self, owner: int, image_id: str) -> ImageRow:
        """One image. Raises NotFound."""
        raise NotImplementedError

    def move(self, owner: int, image_id: str, label: str) -> ImageRow:
        """Put an image under another label of its training set, made when it is new.

        Where that label has the same bytes already, the two become one: the row that was there first comes back.
        Raises NotFound, Invalid.
        """
        raise NotImplementedError

    def move_many(self, owner: int, training_set_id: int | str, image_ids: Sequence[str], label: str) -> list[ImageRow]:
        """The same for many, all or none; answers a row for each id in the order given."""
        raise NotImplementedError

    def delete(self, owner: int, image_id: str) -> ImageRow:
        """Delete an image; answers what was deleted. Raises NotFound."""
        raise NotImplementedError

    def delete_many(self, owner: int, training_set_id: int | str, image_ids: Sequence[str]) -> int:
        """Delete many images of one training set, all or none; answers how many. Raises NotFound."""
        raise NotImplementedError

    def page(
        self,
        owner: int,
        training_set_id: int | str,
        *,
        label: str | None = None,
        after: str | None = None,
        limit: int | None = None,
    ) -> ImagePage:
        """Images in the order of arrival, of one label (name or id) or of all; without `limit`, in full.

        `after` is a page's `next`, or an image id. What comes in meanwhile is at the end; what is deleted or moved
        shifts nothing. Raises NotFound (also for the label), Invalid for an `after` that never was one.
        """
        raise NotImplementedError
