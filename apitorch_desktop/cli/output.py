"""Input and output of the commands: paths from standard input; a line of progress, sentences and JSON."""

import codecs
import json
import os
import re
import sys
from argparse import ArgumentTypeError
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic
from typing import Any, Final, TextIO

from apitorch_desktop.cli.connect import CommandError
from apitorch_desktop.dataset.sources.pasted_text import file_path, is_url
from apitorch_desktop.utils.files import descriptor_of
from apitorch_desktop.utils.text import cleaned, lowered, plural, reason, shown

STATUS: Final = "Exit status: 0 all was done, 1 some of it was not, 2 a usage error."
MOST_LISTED: Final = 50
"""Maximum number of files listed for one problem; the rest is counted."""
_ADDRESS: Final = re.compile(r"[a-z][a-z0-9+.-]+://|data:[^/]*[;,/]", re.IGNORECASE)


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

    Standard error that cannot be written, as of a terminal that was closed, ends nothing. Raises CommandError for
    standard output.
    """
    stream = stream or sys.stdout
    encoding = stream.encoding or "utf-8"
    line = cleaned(text).encode(encoding, "replace").decode(encoding) + "\n"
    if stream is sys.stderr:
        with suppress(OSError):
            stream.write(line)
        return
    with output_named():
        stream.write(line)


@contextmanager
def output_named() -> Iterator[None]:
    """Raise CommandError for standard output that cannot be written in the block. A reader that has left is no failure."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise CommandError(f"Standard output cannot be written: {lowered(reason(error))}.") from None


def write_json(record: dict[str, Any]) -> None:
    """Write an object as one line on standard output, at once: what reads it need not wait for the next one."""
    text = json.dumps(record, ensure_ascii=False)
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:  # another encoding, or the name of a file that is no UTF-8
        text = json.dumps(record)
    with output_named():
        sys.stdout.write(text + "\n")
        sys.stdout.flush()


def word(text: str) -> str:
    """Return a word of the command line. Raises ArgumentTypeError for an empty one, as of a variable that is not set."""
    if not text:
        raise ArgumentTypeError("it is empty: is a variable of the shell not set?")
    return text


def path(text: str) -> Path:
    """Return a path of the command line, also of a `file:` address.

    Raises ArgumentTypeError for an empty one, which is no name of this folder, and for another address.
    """
    found = local_path(word(text))
    if found is None:
        raise ArgumentTypeError(
            f"“{shown(text[:200])}” is no file or folder of this machine: give a path, or a file:// address"
        )
    return found


def local_path(text: str) -> Path | None:
    """Return the path that a word is, or that its `file:` address names; None for any other address."""
    if os.path.lexists(text):  # whatever its name looks like
        return Path(text)
    if text.lower().startswith("file:/"):
        return file_path(text)
    return None if _ADDRESS.match(text) else Path(text)


def path_or_url(text: str) -> str | Path:
    """Return the path that a word is, or its web address as text. Raises CommandError for another address."""
    if is_url(text):
        return text
    found = local_path(text)
    if found is None:
        raise CommandError(
            f"“{shown(text[:200])}” cannot be read: only http:// and https:// are, and files of this machine.", 2
        )
    return found


def read_paths(*, null: bool) -> list[str | Path]:
    """Read paths and web addresses from standard input, one a line, or with `null` each ended by a NUL character.

    Raises CommandError where it holds something else.
    """
    if sys.stdin is None:  # closed by who started the command
        return []
    data = sys.stdin.buffer.read().removeprefix(codecs.BOM_UTF8)
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):  # a list made by Windows PowerShell
        data = data.decode("utf-16", "replace").encode()
    if not null and b"\0" in data:
        raise CommandError(
            "Standard input has no paths in lines: give a photo by its name, and -0 for NUL between paths.", 2
        )
    names = data.split(b"\0") if null else [line.rstrip(b"\r") for line in data.split(b"\n")]
    return [path_or_url(os.fsdecode(name)) for name in names if name]


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
