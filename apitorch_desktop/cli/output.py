"""Output of the commands on a terminal or in a file: one line of progress, and sentences."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from time import monotonic
from typing import Final, TextIO

from apitorch_desktop.utils.text import plural

MOST_LISTED: Final = 50
"""Maximum number of files listed for one problem; the rest is counted."""


class ProgressLine:
    """One line of progress on a terminal, drawn over and over; nothing is drawn if standard error is no terminal."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._on = sys.stderr.isatty() and not quiet
        self._next = 0.0
        self._shown = False

    def show(self, text: str) -> None:
        """Draw the line, at most ten times a second."""
        if self._on and monotonic() >= self._next:
            self._next = monotonic() + 0.1
            self._shown = True
            sys.stderr.write(f"\r\x1b[K{text[:200]}")
            sys.stderr.flush()

    def clear(self) -> None:
        """Erase the line."""
        if self._shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
            self._shown = False


def write(text: str, stream: TextIO | None = None) -> None:
    """Write a sentence; what the stream cannot encode is replaced."""
    stream = stream or sys.stdout
    encoding = stream.encoding or "utf-8"
    stream.write(text.encode(encoding, "replace").decode(encoding) + "\n")


def write_list(
    what: str, files: Sequence[tuple[str, str]], *, kind: str = "photo", stream: TextIO | None = None
) -> None:
    """Write which files share a problem, each with its reason."""
    if not files:
        return
    write(f"{plural(len(files), kind)} {what}:", stream)
    for name, why in files[:MOST_LISTED]:
        write(f"    {name}{': ' if why else ''}{why}".rstrip(), stream)
    if len(files) > MOST_LISTED:
        write(f"    and {len(files) - MOST_LISTED:,} more", stream)


def is_standard_output(path: Path) -> bool:
    """Return whether a path leads to where standard output goes, such as /dev/stdout."""
    try:
        return os.path.samestat(path.stat(), os.fstat(sys.stdout.fileno()))
    except (OSError, ValueError):
        return False


def offer_names(names: Sequence[str]) -> str:
    """Return a sentence with the names to choose from."""
    return f"There are: {', '.join(names)}." if names else "There is none yet."
