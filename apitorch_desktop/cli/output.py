"""Input and output of the commands: paths from standard input; a line of progress, sentences and JSON."""

import codecs
import json
import os
import sys
from argparse import ArgumentTypeError
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import Any, Final, TextIO

from apitorch_desktop.cli.connect import CommandError
from apitorch_desktop.dataset.sources.pasted_text import is_url
from apitorch_desktop.utils.files import descriptor_of
from apitorch_desktop.utils.text import cleaned, plural

STATUS: Final = "Exit status: 0 all was done, 1 some of it was not, 2 a usage error."
MOST_LISTED: Final = 50
"""Maximum number of files listed for one problem; the rest is counted."""


class ProgressLine:
    """One line of progress on a terminal, drawn over and over; nothing is drawn if standard error is no terminal."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._on = not quiet and sys.stderr.isatty() and _understands_escapes()
        self._next = 0.0
        self._shown = False

    def show(self, text: str) -> None:
        """Draw the line, at most ten times a second."""
        if self._on and monotonic() >= self._next:
            self._next = monotonic() + 0.1
            self._shown = True
            with suppress(OSError):
                sys.stderr.write(f"\r\x1b[K{cleaned(text[:200])}")
                sys.stderr.flush()

    def clear(self) -> None:
        """Erase the line."""
        if self._shown:
            self._shown = False
            with suppress(OSError):
                sys.stderr.write("\r\x1b[K")
                sys.stderr.flush()


def _understands_escapes() -> bool:
    """Return whether the terminal of standard error understands escape sequences, which a console of Windows is told to."""
    if sys.platform == "win32":
        import ctypes
        import msvcrt

        kernel, mode = ctypes.windll.kernel32, ctypes.c_ulong()
        handle = msvcrt.get_osfhandle(sys.stderr.fileno())
        if not kernel.GetConsoleMode(handle, ctypes.byref(mode)):
            return False
        virtual_terminal = 0x0004  # ENABLE_VIRTUAL_TERMINAL_PROCESSING
        return bool(kernel.SetConsoleMode(handle, mode.value | virtual_terminal))
    return True


def write(text: str, stream: TextIO | None = None) -> None:
    """Write a sentence; what the stream cannot encode, or a terminal would obey, is replaced.

    Standard error that cannot be written, as of a terminal that was closed, ends nothing. Raises OSError for others.
    """
    stream = stream or sys.stdout
    encoding = stream.encoding or "utf-8"
    try:
        stream.write(cleaned(text).encode(encoding, "replace").decode(encoding) + "\n")
    except OSError:
        if stream is not sys.stderr:
            raise


def write_json(record: dict[str, Any]) -> None:
    """Write an object as one line on standard output, at once: what reads it need not wait for the next one."""
    text = json.dumps(record, ensure_ascii=False)
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:  # another encoding, or the name of a file that is no UTF-8
        text = json.dumps(record)
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def word(text: str) -> str:
    """Return a word of the command line. Raises ArgumentTypeError for an empty one, as of a variable that is not set."""
    if not text:
        raise ArgumentTypeError("it is empty: is a variable of the shell not set?")
    return text


def path(text: str) -> Path:
    """Return a path of the command line. Raises ArgumentTypeError for an empty one, which is no name of this folder."""
    return Path(word(text))


def read_paths(*, null: bool) -> list[str | Path]:
    """Read paths and web addresses from standard input, one a line, or with `null` each ended by a NUL character.

    Raises CommandError where it holds something else.
    """
    if sys.stdin is None:  # closed by who started the command
        return []
    data = sys.stdin.buffer.read().removeprefix(codecs.BOM_UTF8)
    if not null and b"\0" in data:
        raise CommandError(
            "Standard input has no paths in lines: give a photo by its name, and -0 for NUL between paths.", 2
        )
    names = data.split(b"\0") if null else [line.rstrip(b"\r") for line in data.split(b"\n")]
    words = [os.fsdecode(name) for name in names if name]
    return [word if is_url(word) else Path(word) for word in words]


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
    number = descriptor_of(path)
    with suppress(OSError):
        return number is not None and os.path.samestat(os.fstat(number), os.fstat(1))
    return False


def offer_names(names: Sequence[str]) -> str:
    """Return a sentence with the names to choose from."""
    return f"There are: {', '.join(names)}." if names else "There is none yet."
