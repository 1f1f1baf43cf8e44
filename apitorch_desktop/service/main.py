"""`apitorch-desktop serve`: assembles the service, runs uvicorn, prints the one JSON line, ends on SIGTERM."""

import asyncio
import contextlib
import faulthandler
import json
import logging
import os
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from apitorch_desktop.api.types import KEY_LENGTH
from apitorch_desktop.service.classifiers.classification import ClassificationService
from apitorch_desktop.service.classifiers.trainer import Trainer
from apitorch_desktop.service.config import Config, InvalidConfig, storage_sentence, storage_urls
from apitorch_desktop.service.http import listen
from apitorch_desktop.service.http.listen import CannotListen
from apitorch_desktop.service.http.server import ShutdownSignals
from apitorch_desktop.service.launcher import CHILD_VARIABLE, KEY_VARIABLE, RUNNING_FILE
from apitorch_desktop.service.storage.store import Store
from apitorch_desktop.utils import paths
from apitorch_desktop.utils.files import atomic_write

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from apitorch_desktop.vision.encoder import Encoder

_SWEEP = 24 * 3600.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ServiceOptions:
    """What the command line says. `folder` None is the embedded service's own; `hostnames` more names to answer to."""

    host: str = "127.0.0.1"
    port: int = 8765
    folder: Path | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    allow_private_urls: bool = False
    hostnames: tuple[str, ...] = ()


def run(options: ServiceOptions) -> int:
    """Serve until SIGTERM, SIGINT or the parent's end; answers the exit status."""
    from apitorch_desktop.service.http.server import ShutdownSignals
    from apitorch_desktop.service.storage.errors import InUse, StoreError

    _prepare()
    ending = ShutdownSignals(child=_is_child())
    try:
        with _assembled(options) as parts:
            asyncio.run(_serve(options, parts, ending))
    except CannotListen as failure:
        return _refuse(str(failure), failure.kind, failure.status)
    except InUse as failure:
        return _refuse(str(failure), "folder_in_use", 1)
    except (StoreError, InvalidConfig) as failure:
        return _refuse(str(failure), "cannot_open", 1)
    return 0


@dataclass(frozen=True)
class _ServiceParts:
    """What is assembled before the event loop runs."""

    store: "Store"
    trainer: "Trainer"
    answers: "ClassificationService"
    app: "ASGIApp"
    bound: socket.socket
    attach_key: str
    config: Config


@contextlib.contextmanager
def _assembled(options: ServiceOptions) -> Iterator[_ServiceParts]:
    given_key = _given_key()
    if options.tls_cert and options.tls_key:
        listen.check_tls(options.tls_cert, options.tls_key)
    with contextlib.closing(listen.bind(options.host, options.port)) as bound:
        from apitorch_desktop.service.admin import AdminEndpoint
        from apitorch_desktop.service.app import build_app
        from apitorch_desktop.service.classifiers.classification import ClassificationService
        from apitorch_desktop.service.classifiers.trainer import Trainer
        from apitorch_desktop.service.storage.keys import make_key
        from apitorch_desktop.service.storage.store import Store

        named = storage_urls({} if _is_child() else None)  # a window's own service is on this machine
        if sentence := storage_sentence(named):
            _say(sentence)
        with Store.open(options.folder or paths.service_folder(), **named) as store:
            _admit(store, given_key)
            attach_key = make_key()
            store.owners.admit(attach_key)
            trainer = Trainer(store, _encoder)
            store.on_change(trainer.changed)
            answers = ClassificationService(store, trainer, _encoder)
            loopback = listen.is_loopback(bound)
            config = Config(
                hosts=listen.names(options.host, options.hostnames, loopback=loopback),
                any_address=not loopback,
                allow_private_urls=options.allow_private_urls,
            )
            if not loopback and not options.tls_cert:
                _say(
                    f"Warning: {options.host} is reached from other machines, and without TLS whoever is on the way reads "
                    "keys and images. Give --tls-cert and --tls-key, or listen on 127.0.0.1."
                )
            with contextlib.closing(answers), contextlib.closing(build_app(store, trainer, answers, config)) as app:
                guarded = AdminEndpoint(app, store.owners, attach_key)
                try:
                    yield _ServiceParts(store, trainer, answers, guarded, bound, attach_key, config)
                finally:
                    ended = trainer.stop()
    if not ended:  # native code that still computes would abort the interpreter's end; all that matters is on disk
        logging.shutdown()
        os._exit(0)


async def _serve(options: ServiceOptions, parts: _ServiceParts, ending: "ShutdownSignals") -> None:
    """Run the server, and where it speaks TLS a second one, on loopback, for this person's own programs."""
    from apitorch_desktop.service.http.protocol import server_config
    from apitorch_desktop.service.http.server import Server

    tls = options.tls_cert is not None
    limits = parts.config.limits
    url = attach_url = listen.base_url(parts.bound, options.host, tls=tls)
    config = server_config(parts.app, limits, tls_cert=options.tls_cert, tls_key=options.tls_key)
    servers = [(Server(config), parts.bound)]
    if tls:
        beside = listen.bind("127.0.0.1", 0)
        attach_url = listen.base_url(beside, "127.0.0.1", tls=False)
        servers.append((Server(server_config(parts.app, limits)), beside))
    ending.watch([server for server, _ in servers])
    with _announced(parts.store.folder / RUNNING_FILE, attach_url, parts.attach_key):
        async with asyncio.TaskGroup() as group:
            running = [group.create_task(server.serve([bound])) for server, bound in servers]
            for server, _ in servers:
                await server.ready.wait()
            _print({"object": "service", "url": url})
            parts.trainer.start()
            group.create_task(asyncio.to_thread(_warm, parts.answers))
            sweeping = group.create_task(_sweep(parts.store))
            await asyncio.wait(running)
            sweeping.cancel()


async def _sweep(store: "Store") -> None:
    from apitorch_desktop.service.storage.errors import StoreError

    if store.at_start is not None:
        await asyncio.sleep(_SWEEP)
    while True:
        try:
            await asyncio.to_thread(store.sweep)
        except StoreError:
            _log.exception("the sweep failed")
        await asyncio.sleep(_SWEEP)


def _encoder() -> "Encoder":
    from apitorch_desktop.vision.encoder import Encoder

    return Encoder()


def _warm(answers: "ClassificationService") -> None:
    """The first classification need not wait for the encoder to load."""
    from apitorch_desktop.service.storage.errors import StorageFault

    try:
        answers.warm()
    except StorageFault as error:
        _log.error("%s", error)


def _prepare() -> None:
    """What holds for the whole process."""
    faulthandler.enable()
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    os.umask(0o077)  # photos and keys are the person's own


def _given_key() -> str | None:
    """The key from the environment, taken out of it so that no child inherits it. Raises CannotListen."""
    key = os.environ.pop(KEY_VARIABLE, "")
    if not key:
        return None
    if len(key) != KEY_LENGTH:
        raise CannotListen(
            f"{KEY_VARIABLE} has {len(key)} characters: an API key has {KEY_LENGTH}. Set such a one, or unset it.",
            "bad_key",
            2,
        )
    if ":" in key or not key.isascii() or not key.isprintable():
        raise CannotListen(f"{KEY_VARIABLE} may hold letters, digits and signs, but no colon.", "bad_key", 2)
    return key


def _admit(store: "Store", given: str | None) -> None:
    """Let the given key in, or make the one that lasts at the first start."""
    if given:
        if store.owners.of_key(given) is None:  # a key that “keys make” made stays its owner's
            store.owners.admit(given)
    elif not store.owners.keys():
        _, key = store.owners.make_key(note="made at the first start")
        _say(f"API key, shown only this once: {key}")
    else:
        _say("The API key is the one that was shown before; “apitorch-desktop keys make NAME” makes another.")


@contextlib.contextmanager
def _announced(path: Path, url: str, key: str) -> Iterator[None]:
    """Let this person's own programs find the service, by a file that only they can read."""
    try:
        with atomic_write(path, mode=0o600) as part:
            part.write_text(json.dumps({"url": url, "pid": os.getpid(), "key": key}))
    except OSError as error:
        _say(f"{path} cannot be written ({error.strerror}): other programs of yours will not find this service.")
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


def _say(sentence: str) -> None:
    """To the person, on standard error: standard output is for the one JSON line."""
    with contextlib.suppress(OSError):
        sys.stderr.write(f"apitorch-desktop: {sentence}\n")
        sys.stderr.flush()


def _print(line: dict[str, str]) -> None:
    with contextlib.suppress(OSError):
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()


def _refuse(sentence: str, kind: str, status: int) -> int:
    """Say why there is no service; a child tells its parent in JSON as well."""
    _say(sentence)
    if _is_child():
        _print({"object": "error", "message": sentence, "type": kind})
    return status


def _is_child() -> bool:
    return os.environ.get(CHILD_VARIABLE) == "1"
