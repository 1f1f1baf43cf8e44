"""Table of a watched folder's answers: a CSV file that gets a row for each photo, once."""

from __future__ import annotations

import io
import os
from pathlib import Path

from apitorch_desktop.dataset.batch.classification import COLUMNS, cells, write_rows
from apitorch_desktop.dataset.sources.image_source import ImageFile, place_of
from apitorch_desktop.dataset.watch.journal import WatchJournal
from apitorch_desktop.dataset.watch.task import Answer, WatchTask
from apitorch_desktop.utils.errors import UserError
from apitorch_desktop.utils.text import reason, shown


class UnfitTable(UserError):  # noqa: N818 - named for what it is
    """No row can be added to the file: it cannot be written, or is no table of answers."""


class AnswerRows:
    """The rows that a watch adds to its table; without a table, the journal's note of what was reported."""

    def __init__(self, task: WatchTask, journal: WatchJournal) -> None:
        self._path = task.table
        self._classifier = task.classifier
        self._journal = journal
        self._header_written = False

    def check(self) -> None:
        """Begin the table if it is new. Raises UnfitTable if no row can be added."""
        if self._path is None or _is_stream(self._path):
            return
        try:
            _open_table(self._path).close()
        except OSError as error:
            raise UnfitTable(f"“{shown(str(self._path))}” cannot be written: {reason(error)}.") from None

    def write(self, path: Path, answer: Answer) -> bool:
        """Write a photo's row of the table, unless it is there; return False if it was. Raises OSError."""
        table = self._path
        if table is None:
            if self._journal.row(path, Path()) is not None:
                return False
            self._journal.save_row(path, Path(), 0, written=True)  # so that the answer is reported once
            return True
        begun = self._journal.row(path, table)
        if begun is not None and begun[1]:
            return False
        text = io.StringIO(newline="")
        write_rows(text, [cells(place_of(ImageFile(path)), self._classifier, answer)])
        row = text.getvalue().encode("utf-8", "replace")
        if _is_stream(table):
            with table.open("wb") as stream:
                stream.write(row if self._header_written else _header() + row)
            self._header_written = True
            self._journal.save_row(path, table, 0, written=True)
            return True
        with _open_table(table) as file:
            end = file.seek(0, os.SEEK_END)
            if begun is not None and begun[0] < end:  # an earlier run ended while it wrote
                file.seek(begun[0])
                tail = file.read()
                if tail.lstrip().startswith(row):
                    self._journal.save_row(path, table, begun[0], written=True)
                    return True
                if row.startswith(tail.lstrip()):
                    end = file.truncate(begun[0])
            file.seek(end - 1)
            if file.read(1) != b"\n":  # as some editors leave it
                row = b"\r\n" + row
            self._journal.save_row(path, table, end, written=False)
            file.seek(end)
            file.write(row)
            file.flush()
            os.fsync(file.fileno())
            self._journal.save_row(path, table, end, written=True)
        return True


def _is_stream(path: Path) -> bool:
    """Return True for a pipe or a device, which is written to and never read."""
    return path.exists() and not path.is_file()


def _header() -> bytes:
    text = io.StringIO(newline="")
    write_rows(text, [COLUMNS])
    return text.getvalue().encode()


def _open_table(path: Path) -> io.BufferedRandom:
    """Open a table of answers for more rows, with its header if it is new. Raises UnfitTable and OSError."""
    if not path.exists():
        path.touch()
    file = path.open("r+b")
    header = _header()
    start = file.read(len(header))
    if not start:
        file.write(header)
        file.flush()
    elif start != header:
        file.close()
        raise UnfitTable(f"“{shown(str(path))}” is another file than a table of answers: choose another name.")
    return file
