"""Log of crashes and unhandled exceptions: stacks only, no keys and no names of photos.

A crash of native code ends the process; `faulthandler` then writes the stacks of all threads into a file that was opened at
the start. Exceptions that nobody handled are appended by type and stack, without their message, which may name a file.
"""

from __future__ import annotations

import faulthandler
import sys
import threading
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import TextIO

LIMIT = 256 * 1024
"""Bytes of a report that are read: the first crash counts."""


class CrashLog:
    """Log of one program in `folder`; one process at a time may have it open."""

    def __init__(self, folder: Path, version: str) -> None:
        self._current = folder / "crash.log"
        self._previous = folder / "crash-previous.log"
        self._version = version
        self._file: TextIO | None = None
        self._was_enabled = False
        self._hooks: tuple[Callable[..., object], Callable[..., object]] | None = None

    def open(self) -> None:
        """Set a log that reports something aside, and begin a new one; a folder that cannot be written is ignored."""
        try:
            self._current.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            if self._current.is_file() and self._current.stat().st_size:
                self._current.replace(self._previous)
            self._file = self._current.open("w", encoding="utf-8")
            self._current.chmod(0o600)
        except OSError:
            return
        self._was_enabled = faulthandler.is_enabled()
        faulthandler.enable(self._file)
        self._hooks = sys.excepthook, threading.excepthook
        sys.excepthook = self._unhandled
        threading.excepthook = self._unhandled_in_thread

    def close(self) -> None:
        """End the log of a run that ended well; what was reported in it stays."""
        if self._file is None:
            return
        faulthandler.disable()
        if self._was_enabled:
            faulthandler.enable()
        if self._hooks is not None:
            sys.excepthook, threading.excepthook = self._hooks
        self._file.close()
        self._file = None

    def report(self) -> str:
        """Return what the last run left to report, "" for nothing. Blocks on the disk."""
        try:
            with self._previous.open(encoding="utf-8", errors="replace") as file:
                text = file.read(LIMIT)
        except OSError:
            return ""
        return text.replace(str(Path.home()), "~")

    def discard(self) -> None:
        """Delete the report."""
        self._previous.unlink(missing_ok=True)

    def _unhandled(self, kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        self._append(kind, trace)
        if self._hooks is not None:
            self._hooks[0](kind, error, trace)

    def _unhandled_in_thread(self, args: threading.ExceptHookArgs) -> None:
        self._append(args.exc_type, args.exc_traceback)
        if self._hooks is not None:
            self._hooks[1](args)

    def _append(self, kind: type[BaseException], trace: TracebackType | None) -> None:
        if self._file is None or issubclass(kind, KeyboardInterrupt):
            return
        now = datetime.now(UTC).isoformat(timespec="seconds")
        system = f"{sys.platform}, Python {sys.version.split()[0]}"
        self._file.write(f"{now} {self._version}, {system}: unhandled {kind.__module__}.{kind.__qualname__}\n")
        self._file.writelines(traceback.format_list(traceback.extract_tb(trace)))
        self._file.flush()
