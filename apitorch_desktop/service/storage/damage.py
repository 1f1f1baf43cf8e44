"""Marks of images that are not stored as they came: damaged, or gone.

A listing shows the mark, so that it is logged as a change of the image. The revision of its training set stays, as nothing
else is learned.
"""

from collections.abc import Iterable

from sqlalchemy import Connection, delete, select, text, update

from apitorch_desktop.service.storage.blobs import in_batches
from apitorch_desktop.service.storage.schema import blobs, damaged, images, training_sets
from apitorch_desktop.service.storage.validation import now

_IN_QUERY = 500
_MARK = text("INSERT INTO damaged (sha256, since) VALUES (:sha256, :since) ON CONFLICT (sha256) DO NOTHING")


def mark(connection: Connection, sha256s: Iterable[str]) -> set[str]:
    """Mark images as damaged; return those that are, without those that have no row any more."""
    marked: set[str] = set()
    since = now()
    for batch in in_batches(sorted(sha256s), _IN_QUERY):
        there = set(connection.execute(select(blobs.c.sha256).where(blobs.c.sha256.in_(batch))).scalars())
        known = set(connection.execute(select(damaged.c.sha256).where(damaged.c.sha256.in_(batch))).scalars())
        if new := sorted(there - known):
            connection.execute(_MARK, [{"sha256": sha256, "since": since} for sha256 in new])
            _log_change(connection, new)
        marked |= there
    return marked


def clear(connection: Connection, sha256s: Iterable[str]) -> set[int]:
    """Clear the marks of images; return the training sets that have these."""
    sets: set[int] = set()
    for batch in in_batches(sorted(sha256s), _IN_QUERY):
        cleared = delete(damaged).where(damaged.c.sha256.in_(batch)).returning(damaged.c.sha256)
        sets |= _log_change(connection, list(connection.execute(cleared).scalars()))
    return sets


def _log_change(connection: Connection, sha256s: list[str]) -> set[int]:
    """Have the triggers log a change of images; return their training sets."""
    chosen = images.c.sha256.in_(sha256s)
    numbers = set(connection.execute(select(images.c.training_set_id).where(chosen).distinct()).scalars())
    if numbers:  # locked, so that the change belongs to the revision after the one that others see meanwhile
        sets = select(training_sets.c.id).where(training_sets.c.id.in_(numbers)).order_by(training_sets.c.id)
        connection.execute(sets.with_for_update(key_share=True)).all()
        connection.execute(update(images).where(chosen).values(split=images.c.split))
    return numbers
