"""Moves photos of a watched folder into folders by label: each is journalled before, so that no end of the program loses one."""

from __future__ import annotations

import errno
import filecmp
import os
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path

from apitorch_desktop.dataset.watch.journal import WatchJournal
from apitorch_desktop.dataset.watch.task import Arrival, state_of
from apitorch_desktop.utils.files import atomic_write, fsync_folder, safe_filename


def move(arrival: Arrival, place: Path, journal: WatchJournal) -> Arrival:
    """Move a photo into a folder, under a name that is free there; return it as it is then. Raises OSError."""
    place.mkdir(parents=True, exist_ok=True)
    for name in _names(arrival.path.name):
        target = place / name
        if os.path.lexists(target):
            continue
        journal.begin_move(arrival.path, target)
        try:
            target.touch(exist_ok=False)  # the name is taken from here on
        except FileExistsError:
            continue
        try:
            _replace(arrival, target)
        except OSError:
            there = state_of(target)
            if there is None or not there[0] or state_of(arrival.path) is not None:  # else it has moved
                target.unlink(missing_ok=True)
                journal.begin_move(arrival.path, None)
                raise
        moved = Arrival(target, state_of(target) or arrival.state)
        journal.finish_move(arrival.path, moved)
        return moved
    raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(place))


def finish_move(arrival: Arrival, target: Path, journal: WatchJournal) -> Arrival:
    """Finish or take back a move that was interrupted; return the photo as it is then."""
    there, still = state_of(target), state_of(arrival.path)
    if there is not None and still is not None:
        if not there[0]:
            target.unlink()  # only its name was taken
            there = None
        elif still == arrival.state and filecmp.cmp(arrival.path, target, shallow=False):
            arrival.path.unlink()  # copied to another file system, and not removed yet
            still = None
    if there is None or still is not None:
        journal.begin_move(arrival.path, None)
        return arrival
    moved = Arrival(target, there)
    journal.finish_move(arrival.path, moved)
    return moved


def _names(name: str) -> Iterable[str]:
    """Yield a name, then the name with a number: `a.jpg`, `a (2).jpg`."""
    yield name
    stem, suffix = os.path.splitext(name)  # noqa: PTH122 - a name, no path
    for number in range(2, sys.maxsize):
        yield safe_filename(f"{stem} ({number}){suffix}")


def _replace(arrival: Arrival, target: Path) -> None:
    """Move a photo onto its reserved place; to another file system by a copy, verified before the photo is removed."""
    try:
        arrival.path.replace(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        with atomic_write(target) as part:
            shutil.copy2(arrival.path, part)
            if not filecmp.cmp(arrival.path, part, shallow=False) or state_of(arrival.path) != arrival.state:
                raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), str(arrival.path)) from None
        arrival.path.unlink()
    fsync_folder(target.parent)
    fsync_folder(arrival.path.parent)
