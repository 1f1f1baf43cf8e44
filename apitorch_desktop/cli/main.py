"""The command `apitorch-desktop`: no argument opens the window; its subcommands are in `_COMMANDS`."""

from __future__ import annotations

import errno
import io
import os
import signal
import sys
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TextIO

from apitorch_desktop import CLASSIFY_OPTION, __version__
from apitorch_desktop.utils.errors import UserError
from apitorch_desktop.utils.text import cleaned, duration, lowered, reason, shown

if TYPE_CHECKING:
    import argparse  # 5 ms that the window need not wait for
    from collections.abc import Iterator, Sequence
    from types import FrameType

_COMMANDS = {
    "serve": "run the service alone",
    "keys": "make, list and revoke keys of a service that others use",
    "service": "check, back up and restore the data of a service",
    "import": "a folder of photos into a training set",
    "export": "a training set into a folder",
    "classify": "what a classifier says about photos",
    "watch": "classify the photos that arrive in a folder",
}

_UNUSABLE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM})
_LONGEST_NAMED = 48 * 3600.0
"""Longest time to wait, in seconds, that is worth to be named."""
_ENDS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))  # Windows has no SIGHUP


class _Terminated(KeyboardInterrupt):
    """A signal that ends a command as Ctrl+C does; `status` is the exit status that a shell reports."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.status = 128 + number


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status: 0 all done, 1 some of it not, 2 a usage error, 128 + the signal's number."""
    words = list(sys.argv[1:] if argv is None else argv)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by who started the command
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115
        if isinstance(stream := getattr(sys, name), io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # names may hold what no terminal shows
    if getattr(sys, "frozen", False):
        from multiprocessing import freeze_support

        freeze_support()  # the review worker is this program again
    if _is_for_the_window(words):
        if "" in words:
            return _fail("A path is empty: is a variable of the shell not set?", 2)
        from apitorch_desktop.ui.app import run

        return run(words)
    with _ended_by_signals():
        status = _run(words)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()  # what is left after an error
        except OSError:
            _discard(stream)
    return status


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end what runs as Ctrl+C does. One that is ignored, as below `nohup`, stays so."""
    before = {number: signal.getsignal(number) for number in _ENDS}
    taken = [number for number, handler in before.items() if handler is not signal.SIG_IGN]
    for number in taken:
        signal.signal(number, _terminate)
    try:
        yield
    finally:
        for number in taken:
            if signal.getsignal(number) is _terminate:
                signal.signal(number, before[number])


def _terminate(number: int, _frame: FrameType | None) -> None:
    for one in _ENDS:  # `timeout` and a closed terminal send two, of which the second would cut the clean-up short
        signal.signal(one, signal.SIG_IGN)
    raise _Terminated(number)


def _run(words: list[str]) -> int:
    """Run a command and return its exit status; an error becomes a sentence on standard error."""
    from apitorch_desktop.api.errors import RateLimited
    from apitorch_desktop.cli import output
    from apitorch_desktop.cli.connect import CommandError  # as in `make_parser`: 50 ms the window need not wait for

    try:
        arguments = make_parser(words[0] if words[0] in _COMMANDS else None).parse_args(words)
        status: int = arguments.command(arguments)
        with output.output_named():  # a full disk shows here, not while Python ends
            sys.stdout.flush()
    except SystemExit as ended:  # after the help, or a usage error
        return ended.code if isinstance(ended.code, int) else 0
    except UserError as error:
        advice = _given_up(error.retry_after) if isinstance(error, RateLimited) else error.advice
        end = "." if advice and str(error)[-1:].isalnum() else ""  # as other services write it
        return _fail(f"{error}{end} {advice}".strip(), error.status if isinstance(error, CommandError) else 1)
    except KeyboardInterrupt as interrupt:
        return interrupt.status if isinstance(interrupt, _Terminated) else 128 + signal.SIGINT
    except BrokenPipeError:  # `… | head` has read enough
        _discard(sys.stdout)
        return 1
    except OSError as error:
        _discard(sys.stdout)
        if error.filename and error.errno in _UNUSABLE:
            place = shown(str(error.filename))
            return _fail(
                f"“{place}” cannot be used: {lowered(reason(error))}. Free some space or check the folder, then try again."
            )
        named = f"“{shown(str(error.filename))}”: " if error.filename else ""
        return _fail(f"{named}{reason(error)}.")
    except MemoryError:
        return _fail("There is not enough memory: close other programs, or raise the limit that is set for this one.")
    except Exception as error:  # noqa: BLE001 - a sentence, whatever it is
        text = " ".join(str(error).split())
        return _fail(
            f"Something unexpected went wrong ({type(error).__name__}{': ' if text else ''}{text}; {_place_of(error)})."
        )
    return status


def _place_of(error: Exception) -> str:
    """Return the file and the line of the program where an error was raised, for a report of it."""
    import traceback

    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if Path(__file__).parents[1] in Path(frame.filename).parents]
    return f"{Path(own[-1].filename).name}:{own[-1].lineno}"


def _fail(sentence: str, status: int = 1) -> int:
    try:
        sys.stderr.write(f"apitorch-desktop: {cleaned(sentence)}\n")
        sys.stderr.flush()
    except OSError:  # nowhere left to write it
        pass
    return status


def _given_up(seconds: float | None) -> str:
    """Return what to do where a service asks to wait longer than a command does."""
    if seconds is None or seconds > _LONGEST_NAMED:
        return "Given up: try again later."
    return f"Given up: try again in {duration(seconds)}."


def _discard(stream: TextIO) -> None:
    """Send what is still buffered for standard output or error nowhere, or Python complains while it ends."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, stream.fileno())
    os.close(null)


def _is_for_the_window(words: list[str]) -> bool:
    """Return True for no words, or for photos and folders to open: paths that exist, and URLs; any to be classified."""
    if not words or (words[0] == CLASSIFY_OPTION and len(words) > 1):
        return True
    if words[0].startswith("-") or words[0] in _COMMANDS:
        return False
    return all(word.partition("://")[1] or os.path.exists(word) for word in words)  # noqa: PTH110 - a word may be too long for a path


def make_parser(command: str | None = None) -> argparse.ArgumentParser:
    """Return the parser of all commands; man page and shell completion are made of it (packaging/linux).

    With a `command` only that one has its options: to load those of all takes a quarter of a second more for `serve`.
    """
    import argparse

    from apitorch_desktop.cli import output
    from apitorch_desktop.dataset.connections.store import KEY_VARIABLE, URL_VARIABLE

    class Parser(argparse.ArgumentParser):
        def error(self, message: str) -> NoReturn:
            super().error(cleaned(message))

        def _print_message(self, message: str, file: Any = None) -> None:  # help and version: else nothing tells
            stream = file or sys.stderr  # of a disk that is full
            with output.output_named() if stream is sys.stdout else suppress(OSError):
                stream.write(message)
                stream.flush()

    parser = Parser(
        prog="apitorch-desktop",
        description="Curate images for a classifier, and classify by drag and drop. Without a command the window opens, "
        f"imports the photos and folders named, or classifies those after {CLASSIFY_OPTION}.",
        epilog=f"import, export, classify and watch talk to {URL_VARIABLE} with {KEY_VARIABLE} where set, else to "
        "the embedded service. Exit status: 0 all was done, 1 some of it was not, 2 a usage error.",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for name, about in _COMMANDS.items():
        added = commands.add_parser(name, help=about, description=about[0].upper() + about[1:] + ".")
        if command in (None, name):
            _add_arguments(name, added)
            added._has_negative_number_optionals.clear()  # for `-0` is one, and -1 none
    return parser


def _add_arguments(name: str, parser: argparse.ArgumentParser) -> None:
    """Give the parser of a command its options."""
    match name:
        case "import":
            from apitorch_desktop.cli.imports import add_import_arguments

            add_import_arguments(parser)
        case "export":
            from apitorch_desktop.cli.exports import add_export_arguments

            add_export_arguments(parser)
        case "classify" | "watch":
            from apitorch_desktop.cli import classify

            (classify.add_classify_arguments if name == "classify" else classify.add_watch_arguments)(parser)
        case _:
            from apitorch_desktop.cli import serve

            {
                "serve": serve.add_serve_arguments,
                "keys": serve.add_keys_arguments,
                "service": serve.add_service_arguments,
            }[name](parser)
