"""Training sets: name, slug, revision."""

from apitorch_desktop.service.records import TrainingSetRow

STANDARD_SLUGS = ("safe-for-work", "extract-text", "design-score")
"""Slugs of the standard classifiers: only a training set that collects their feedback has one."""


class TrainingSets:
    """The training sets of all owners. Thread-safe; what changes something returns when it is durable.

    An id may be a number or a numeric string; anything else, and another owner's, is NotFound.
    """

    def all(self, owner: int) -> list[TrainingSetRow]:
        """An owner's training sets, oldest first, with labels and counts."""
        raise NotImplementedError

    def get(self, owner: int, training_set_id: int | str) -> TrainingSetRow:
        """One training set. Raises NotFound."""
        raise NotImplementedError

    def by_slug(self, owner: int, slug: str) -> TrainingSetRow:
        """One training set by its slug. Raises NotFound."""
        raise NotImplementedError

    def find(self, training_set_id: int) -> TrainingSetRow | None:
        """One training set whoever owns it, for training; None when it is gone."""
        raise NotImplementedError

    def all_ids(self) -> list[int]:
        """The ids of all training sets of all owners, for training's first look."""
        raise NotImplementedError

    def create(self, owner: int, name: str, description: str = "") -> TrainingSetRow:
        """A new, empty training set. Names may repeat; the slug then ends in `-2`, `-3`, …

        Raises Invalid for a name that is empty or over 200 characters, or a description over 10,000.
        """
        raise NotImplementedError

    def standard(self, owner: int, slug: str, name: str) -> TrainingSetRow:
        """The training set that collects feedback on a standard classifier; made when it is not there yet."""
        raise NotImplementedError

    def update(
        self,
        owner: int,
        training_set_id: int | str,
        *,
        name: str | None = None,
        description: str | None = None,
    ) -> TrainingSetRow:
        """Change the name (the slug goes with it, but for a standard classifier's), the description or both.

        Raises NotFound, Invalid.
        """
        raise NotImplementedError

    def delete(self, owner: int, training_set_id: int | str) -> TrainingSetRow:
        """Delete a training set with its labels, images and versions; answers what was deleted. Raises NotFound."""
        raise NotImplementedError
