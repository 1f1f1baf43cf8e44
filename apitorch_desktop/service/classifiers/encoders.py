"""The encoders of a service: the built-in one, users' own files, and those of earlier versions of the program."""

import logging
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from apitorch_desktop.api import types
from apitorch_desktop.service.storage.errors import RecordNotFound
from apitorch_desktop.vision.encoder import UnusableEncoder, earlier_encoder

if TYPE_CHECKING:
    from apitorch_desktop.vision.encoder import Encoder
    from apitorch_desktop.vision.encoder_file import DryRun, EncoderFile

FOLDER = "encoders"
"""Folder below the data folder whose `*.onnx`, and those one level below it, are the users' own encoders."""
_log = logging.getLogger(__name__)


class OwnEncoders:
    """Users' own model files, each inspected and run in a process of its own before it is used. Thread-safe; blocks.

    `files` are given at the start, in addition to those in `folder`.
    """

    def __init__(self, folder: Path, files: Sequence[Path] = ()) -> None:
        self._folder = folder
        self._files = list(files)
        self._lock = threading.Lock()
        self._runs: dict[tuple[Path, int, int], tuple[EncoderFile | None, DryRun]] = {}

    def all(self) -> "list[tuple[Path, DryRun]]":
        """Return the model files with the results of their dry runs, which are made at the first call after a change."""
        return [(path, self._tried(path)[1]) for path in self._paths()]

    def find(self, name: str) -> "EncoderFile | None":
        """Return a usable model by the encoder's name."""
        for path in self._paths():
            file, run = self._tried(path)
            if file is not None and run.name == name:
                return file
        return None

    def tried(self, path: Path) -> "DryRun":
        """Return the result of one file's dry run."""
        return self._tried(path)[1]

    def _paths(self) -> list[Path]:
        found = [*self._folder.glob("*.onnx"), *self._folder.glob("*/*.onnx")] if self._folder.is_dir() else []
        return [*self._files, *sorted(path for path in found if not path.parent.name.startswith("."))]

    def _tried(self, path: Path) -> "tuple[EncoderFile | None, DryRun]":
        from apitorch_desktop.vision.encoder_file import DryRun, dry_run, inspect

        try:
            stat = path.stat()
            key = path, stat.st_mtime_ns, stat.st_size
        except OSError as error:
            return None, DryRun(f"The encoder's model “{path}” cannot be read ({error.strerror}).")
        with self._lock:
            if key not in self._runs:
                try:
                    file = inspect(path)
                    run = dry_run(file)
                except UnusableEncoder as error:
                    self._runs[key] = None, DryRun(str(error))
                else:
                    self._runs[key] = (None if run.problem else file), run
                if (problem := self._runs[key][1].problem) and path not in self._files:  # those are said at the start
                    _log.warning("%s", problem)
            return self._runs[key]


class EncoderPool:
    """Encoders by name, each loaded at its first use; "" is the built-in one. Thread-safe.

    `factory` makes the built-in one. The trainer and classification have a pool each, so that neither waits for the other.
    """

    def __init__(self, factory: "Callable[[], Encoder]", own: OwnEncoders | None = None) -> None:
        self._factory = factory
        self._own = own
        self._loading = threading.Lock()
        self._built_in: Encoder | None = None
        self._others: dict[str, Encoder] = {}

    def built_in(self) -> "Encoder":
        """Return the built-in encoder. Raises UnusableEncoder."""
        with self._loading:
            if self._built_in is None:
                self._built_in = self._factory()
            return self._built_in

    def named(self, name: str) -> "Encoder | None":
        """Return the encoder of this name, or None where there is none that can be used."""
        if not name or name == self.built_in().name:
            return self.built_in()
        with self._loading:
            if name not in self._others and (loaded := self._load(name)):
                self._others[name] = loaded
            return self._others.get(name)

    def wanted(self, name: str) -> "Encoder":
        """Return the encoder that a training set is to be learned with. Raises UnusableEncoder."""
        encoder = self.named(name)
        if encoder is None:
            raise UnusableEncoder(
                f"The encoder “{name}” that was chosen for this training set is not there: bring it back, or choose another."
            )
        return encoder

    def list(self) -> list[types.ListedEncoder]:
        """Return the built-in encoder, with the name "", and the users' own; blocks for dry runs."""
        own = self._own
        if own is None:
            return [types.ListedEncoder(name="", file="")]
        built_in = own.tried(self.built_in().path)
        found = [
            types.ListedEncoder(name="", file="", dimensions=built_in.dimensions, milliseconds=built_in.milliseconds)
        ]
        for path, run in own.all():
            encoder = types.ListedEncoder(name=run.name, file=path.name, problem=run.problem)
            encoder.dimensions, encoder.milliseconds = run.dimensions, run.milliseconds
            found.append(encoder)
        return found

    def check(self, name: str) -> None:
        """Raise RecordNotFound where no usable encoder has this name; blocks for dry runs."""
        if name and (self._own is None or self._own.find(name) is None):
            raise RecordNotFound(f"There is no encoder “{name[:80]}”. GET /api/encoders lists those there are.")

    def _load(self, name: str) -> "Encoder | None":
        file = self._own.find(name) if self._own else None
        if file is None:
            return earlier_encoder(name)
        try:
            return file.load()
        except UnusableEncoder as error:
            _log.warning("%s", error)
            return None
