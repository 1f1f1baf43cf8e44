"""What the commands say to a terminal, or to a file: one line of progress, and sentences."""

import sys
from collections.abc import Sequence
from pathlib import Path
from time import monotonic
from typing import Final, TextIO

from apitorch_desktop.dataset.sources.image_source import Source

MOST_LISTED: Final = 50
"""Files of one kind of trouble that are named; the rest is counted."""


class ProgressLine:
    """One line of progress on a terminal, drawn over and over; nothing where standard error is none."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._on = sys.stderr.isatty() and not quiet
        self._next = 0.0
        self._shown = False

    def show(self, text: str) -> None:
        """Draw it, a few times a second."""
        if self._on and monotonic() >= self._next:
            self._next = monotonic() + 0.1
            self._shown = True
            sys.stderr.write(f"\r\x1b[K{text[:200]}")
            sys.stderr.flush()

    def clear(self) -> None:
        """Take it away."""
        if self._shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
            self._shown = False


def say(text: str, stream: TextIO | None = None) -> None:
    """Write a sentence; what the stream cannot spell is replaced."""
    stream = stream or sys.stdout
    coded = text.encode(stream.encoding or "utf-8", "replace")
    stream.write(coded.decode(stream.encoding or "utf-8") + "\n")


def listed(what: str, files: Sequence[tuple[str, str]], *, sort: str = "picture") -> None:
    """Say which files share a trouble, each with its reason."""
    if not files:
        return
    say(f"{len(files):,} {sort}{'' if len(files) == 1 else 's'} {what}:")
    for name, why in files[:MOST_LISTED]:
        say(f"    {name}{': ' if why else ''}{why}".rstrip())
    if len(files) > MOST_LISTED:
        say(f"    and {len(files) - MOST_LISTED:,} more")


def there_are(names: Sequence[str]) -> str:
    """A sentence that offers the names there are."""
    return f"There are: {', '.join(names)}." if names else "There is none yet."


def pictures(count: int) -> str:
    """So many pictures."""
    return f"{count:,} picture{'' if count == 1 else 's'}"


def time(seconds: float) -> str:
    """A duration, as a person says it."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"


def shown(path: Path | str) -> str:
    """A path in one line, whatever is in it."""
    from apitorch_desktop.utils.text import shown as in_one_line

    return in_one_line(str(path))


def place(source: "Source") -> str:
    """Where a picture lies, as the person knows it."""
    from apitorch_desktop.dataset.sources.image_source import place_of

    return place_of(source)
