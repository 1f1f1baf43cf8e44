"""Labels of a training set: made, renamed, merged, deleted."""

from apitorch_desktop.service.records import LabelRow


class Labels:
    """Labels. Thread-safe; what changes something returns when it is durable.

    A label is given in any spelling and kept in snake_case; two spellings of one label are one label. Where one that
    exists is meant, its id (`tl_…`) does as well.
    """

    def all(self, owner: int, training_set_id: int | str) -> list[LabelRow]:
        """The labels with their counts, by name. Raises NotFound."""
        raise NotImplementedError

    def get(self, owner: int, training_set_id: int | str, label: str) -> LabelRow:
        """One label by name or id. Raises NotFound."""
        raise NotImplementedError

    def create(self, owner: int, training_set_id: int | str, label: str) -> LabelRow:
        """A new, empty label. Raises NotFound, Invalid, Conflict when it is there already."""
        raise NotImplementedError

    def rename(self, owner: int, training_set_id: int | str, label: str, new: str, *, merge: bool = False) -> LabelRow:
        """Rename a label. With `merge`, one that exists takes its images, and it is gone.

        An image that both labels have stays once, as the other label's. Raises NotFound, Invalid, and Conflict when
        the new label is there and `merge` was not said.
        """
        raise NotImplementedError

    def delete(self, owner: int, training_set_id: int | str, label: str) -> LabelRow:
        """Delete a label with its images; answers what was deleted. Raises NotFound."""
        raise NotImplementedError
