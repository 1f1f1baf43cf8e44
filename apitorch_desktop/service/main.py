"""`apitorch-desktop serve`: assembles the service, runs uvicorn, prints one JSON line, ends on SIGTERM."""

import asyncio
import contextlib
import faulthandler
import importlib.util
import json
import logging
import os
import socket
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from starlette.types import ASGIApp

from apitorch_desktop.api.types import KEY_LENGTH
from apitorch_desktop.service.admin import AdminEndpoint
from apitorch_desktop.service.app import build_app
from apitorch_desktop.service.classifiers.classification import ClassificationService
from apitorch_desktop.service.classifiers.cluster import Cluster
from apitorch_desktop.service.classifiers.encoders import FOLDER, OwnEncoders
from apitorch_desktop.service.classifiers.trainer import Trainer
from apitorch_desktop.service.config import (
    Config,
    InvalidConfig,
    Limits,
    proxy_networks,
    scheduler_url,
    storage_sentence,
    storage_urls,
)
from apitorch_desktop.service.http.access import ForwardedHeaders
from apitorch_desktop.service.http.protocol import server_config
from apitorch_desktop.service.http.server import (
    CannotListen,
    Server,
    ShutdownSignals,
    base_url,
    bind,
    check_tls,
    host_names,
    is_loopback,
)
from apitorch_desktop.service.launcher import CHILD_VARIABLE, KEY_VARIABLE, RUNNING_FILE
from apitorch_desktop.service.storage.errors import InUse, StorageFault, StoreError
from apitorch_desktop.service.storage.owners import make_key
from apitorch_desktop.service.storage.records import SweepReport
from apitorch_desktop.service.storage.store import Store
from apitorch_desktop.service.storage.sweeper import QUARANTINE_DAYS
from apitorch_desktop.utils import paths
from apitorch_desktop.utils.files import atomic_write
from apitorch_desktop.utils.parallel import lower_priority
from apitorch_desktop.utils.text import cleaned
from apitorch_desktop.vision.encoder import Encoder, UnusableEncoder

_FIRST_SWEEP, _SWEEP = 3600.0, 24 * 3600.0  # seconds: nothing is deleted at a start
_TRIM = 600.0  # seconds between two renewals of the leadership, and between two small clean-ups by the leader
_LEADER, _LEADERSHIP = "sweep", 3 * _TRIM
_SCRUB_LEASE = 180.0  # seconds
_SCRUB_DELAY = 60.0  # seconds after the start

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ServiceOptions:
    """Options of the command line.

    `folder` None is the embedded service's own; `hostnames` are additional host names; `threads` 0 is one per core.
    `encoders` are model files of the user's own.
    """

    host: str = "127.0.0.1"
    port: int = 8765
    folder: Path | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    allow_private_urls: bool = False
    hostnames: tuple[str, ...] = ()
    threads: int = 0
    proxies: str = ""
    """Addresses of proxies in front, whose forwarding headers are believed."""
    encoders: tuple[Path, ...] = ()
    scheduler: str | None = None
    """Address of a Dask scheduler, whose workers embed and train."""


def run(options: ServiceOptions) -> int:
    """Serve until SIGTERM, SIGINT or the end of the parent process; return the exit status."""

    _prepare()
    shutdown = ShutdownSignals(child=_is_child())
    try:
        with _assembled_parts(options) as parts:
            asyncio.run(_serve(options, parts, shutdown))
    except CannotListen as failure:
        return _report_failure(str(failure), failure.kind, failure.status)
    except InUse as failure:
        return _report_failure(str(failure), "folder_in_use", 1)
    except InvalidConfig as failure:
        return _report_failure(str(failure), "cannot_open", failure.status)
    except StoreError as failure:
        return _report_failure(str(failure), "cannot_open", 1)
    return 0


@dataclass(frozen=True)
class _ServiceParts:
    """The parts that are assembled before the event loop runs."""

    store: Store
    trainer: Trainer
    classification: ClassificationService
    app: ASGIApp
    bound: socket.socket
    attach_key: str
    config: Config


@contextlib.contextmanager
def _assembled_parts(options: ServiceOptions) -> Iterator[_ServiceParts]:
    given_key = _given_key()
    proxies = proxy_networks(options.proxies)
    if options.tls_cert and options.tls_key and (warning := check_tls(options.tls_cert, options.tls_key)):
        _print_message(warning)
    with contextlib.closing(bind(options.host, options.port)) as bound:
        named = storage_urls({} if _is_child() else None)  # the window's own service stores everything on this machine
        scheduler = None if _is_child() else scheduler_url(options.scheduler, named)
        if sentence := storage_sentence(named):
            _print_message(sentence)
        with Store.open(options.folder or paths.service_folder(), **named, scan=False) as store:
            _set_up_key(store, given_key)
            attach_key = make_key()
            store.owners.add_temporary_key(attach_key)
            own = OwnEncoders(store.folder / FOLDER, options.encoders)
            for problem in filter(None, (own.tried(path).problem for path in options.encoders)):
                _print_message(problem)
            encoder = partial(Encoder, threads=options.threads)
            trainer = Trainer(store, encoder, own=own, cluster=_cluster(scheduler) if scheduler else None)
            store.on_change(trainer.notify_changed)
            limits = Limits(workers=min(4, options.threads)) if options.threads else Limits()
            answering = partial(encoder, at_once=limits.workers)
            classification = ClassificationService(store, trainer, answering, own)
            loopback = is_loopback(bound)
            config = Config(
                hosts=host_names(options.host, options.hostnames, loopback=loopback),
                any_address=not loopback,
                allow_private_urls=options.allow_private_urls,
                behind_proxy=bool(proxies),
                limits=limits,
            )
            if not loopback and not options.tls_cert:
                _print_message(
                    f"Warning: {options.host} is reached from other machines, and without TLS whoever is on the way reads "
                    "keys and images. Give --tls-cert and --tls-key, or listen on 127.0.0.1."
                )
            with (
                contextlib.closing(classification),
                contextlib.closing(build_app(store, trainer, classification, config)) as app,
            ):
                guarded: ASGIApp = AdminEndpoint(app, store.owners, attach_key)
                if proxies:
                    guarded = ForwardedHeaders(guarded, proxies)
                try:
                    yield _ServiceParts(store, trainer, classification, guarded, bound, attach_key, config)
                finally:
                    ended = trainer.stop()
    if not ended:  # running native code would abort the interpreter's exit; all data is on disk
        logging.shutdown()
        os._exit(0)


async def _serve(options: ServiceOptions, parts: _ServiceParts, shutdown: ShutdownSignals) -> None:
    """Run the server and, with TLS, a second one on loopback for the user's own programs."""

    tls = options.tls_cert is not None
    limits = parts.config.limits
    url = attach_url = base_url(parts.bound, options.host, tls=tls)
    config = server_config(parts.app, limits, tls_cert=options.tls_cert, tls_key=options.tls_key)
    servers = [(Server(config), parts.bound)]
    if tls:
        loopback_socket = bind("127.0.0.1", 0)
        attach_url = base_url(loopback_socket, "127.0.0.1", tls=False)
        servers.append((Server(server_config(parts.app, limits)), loopback_socket))
    shutdown.stop_on_signal([server for server, _ in servers])
    with _running_file(parts.store.folder / RUNNING_FILE, attach_url, parts.attach_key):
        async with asyncio.TaskGroup() as group:
            running = [group.create_task(server.serve([bound])) for server, bound in servers]
            for server, _ in servers:
                await server.ready.wait()
            _print_json({"object": "service", "url": url})
            parts.trainer.start()
            group.create_task(asyncio.to_thread(_load_encoder, parts.classification))
            sweeping = group.create_task(_sweep(parts.store, parts.trainer))
            scrub_stopping = threading.Event()
            threading.Thread(target=_scrub, args=(parts.store, scrub_stopping), name="scrub", daemon=True).start()
            await asyncio.wait(running)
            shutdown.ignore_sigterm()
            scrub_stopping.set()
            sweeping.cancel()


async def _sweep(store: Store, trainer: Trainer) -> None:
    """Report files without a row, then sweep once a day, also embeddings that nothing needs.

    Of several processes one does it for all, as long as it renews its lease; each cares for its own thumbnails.
    """
    scanner = ThreadPoolExecutor(1, "scan", lower_priority)  # a thread cannot raise its priority again
    try:
        if await asyncio.to_thread(store.leads, _LEADER, _LEADERSHIP):
            report = await asyncio.get_running_loop().run_in_executor(scanner, store.sweeper.scan)
            _report_sweep(report, store.folder)
    except StoreError:
        _log.exception("the storage could not be compared with the database")
    finally:
        scanner.shutdown(wait=False)
    due = time.monotonic() + _FIRST_SWEEP
    while True:
        await asyncio.sleep(_TRIM)
        try:
            leads = await asyncio.to_thread(store.leads, _LEADER, _LEADERSHIP)
            if leads:
                await asyncio.to_thread(store.deleted_images.forget)
            if leads and store.jobs is not None:
                await asyncio.to_thread(store.classifications.delete_expired)
                await asyncio.to_thread(store.sweeper.finish_removals)
            if time.monotonic() < due:
                continue
            due = time.monotonic() + _SWEEP
            if leads:
                _report_sweep(await asyncio.to_thread(store.sweep), store.folder)
                await asyncio.to_thread(trainer.purge_embeddings)
            else:
                await asyncio.to_thread(store.trim_thumbnails)
        except (StoreError, UnusableEncoder):
            _log.exception("the sweep failed")


def _report_sweep(report: SweepReport, folder: Path) -> None:
    if not report.left:
        return
    removal = f"{datetime.now(UTC) + timedelta(days=QUARANTINE_DAYS):%Y-%m-%d}"
    number, images = report.newer or report.left, "image" if (report.newer or report.left) == 1 else "images"
    if report.newer:
        found = (
            f"the database in “{folder}” is older than {number:,} {images} beside it. Was it put back from a backup?"
        )
        other = ", or put the newer database back"
    else:
        found = (
            f"{number:,} {images} in “{folder}” {'is' if number == 1 else 'are'} not in the database, as after a crash."
        )
        other = ""
    _print_message(
        f"Warning: {found} Nothing is removed before {removal}. To keep such images, stop the service and run "
        f"“apitorch-desktop service adopt”, which puts them into a training set of their own{other}."
    )


def _cluster(url: str) -> Cluster:
    """Raises InvalidConfig."""
    if importlib.util.find_spec("distributed") is None:
        raise InvalidConfig(
            "Dask is not installed, without which no scheduler can be used. pip install 'apitorch-desktop[team]' brings it.",
            status=1,
        )
    return Cluster(url)


def _scrub(store: Store, stopping: threading.Event) -> None:
    until, leads = 0.0, True

    def is_ours() -> bool:
        nonlocal until, leads
        if time.monotonic() > until:
            until = time.monotonic() + _SCRUB_LEASE / 3
            with contextlib.suppress(StoreError):
                leads = store.leads("scrub", _SCRUB_LEASE)
        return leads

    store.sweeper.leads = is_ours
    if not stopping.wait(_SCRUB_DELAY):
        store.sweeper.scrub(stopping)


def _load_encoder(classification: ClassificationService) -> None:
    """Load the encoder ahead of the first classification."""

    try:
        classification.load_encoder()
    except StorageFault as error:
        _log.error("%s", error)


def _prepare() -> None:
    """Set up the process."""
    faulthandler.enable()
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    os.umask(0o077)  # photos and keys are private to the user
    sys.setswitchinterval(0.001)  # the longest that each busy worker keeps the event loop waiting; 5 ms by default


def _given_key() -> str | None:
    """Return the key from the environment, and remove it there so that no child inherits it. Raises CannotListen."""
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
        raise CannotListen(
            f"{KEY_VARIABLE} may hold the letters, digits and signs of ASCII, but no colon.", "bad_key", 2
        )
    return key


def _set_up_key(store: Store, given: str | None) -> None:
    """Accept the given key, or make a permanent one at the first start."""
    if given:
        if store.owners.find_by_key(given) is None:  # a stored key keeps its owner
            store.owners.add_temporary_key(given)
    elif key := store.owners.create_first_key("made at the first start"):
        _print_message(f"API key, shown only this once: {key}")
    else:
        _print_message("The API key is the one that was shown before; “apitorch-desktop keys make NAME” makes another.")


@contextlib.contextmanager
def _running_file(path: Path, url: str, key: str) -> Iterator[None]:
    """Announce the service to the user's own programs by a file that only the user can read."""
    try:
        with atomic_write(path, mode=0o600) as part:
            part.write_text(json.dumps({"url": url, "pid": os.getpid(), "key": key}))
    except OSError as error:
        _print_message(
            f"{path} cannot be written ({error.strerror}): other programs of yours will not find this service."
        )
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


def _print_message(sentence: str) -> None:
    """Print a sentence for the user on standard error; standard output is for the JSON line."""
    with contextlib.suppress(OSError):
        sys.stderr.write(f"apitorch-desktop: {cleaned(sentence)}\n")
        sys.stderr.flush()


def _print_json(line: dict[str, str]) -> None:
    with contextlib.suppress(OSError):
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()


def _report_failure(sentence: str, kind: str, status: int) -> int:
    """Report why the service did not start, in a child process also as JSON; return the exit status."""
    _print_message(sentence)
    if _is_child():
        _print_json({"object": "error", "message": sentence, "type": kind})
    return status


def _is_child() -> bool:
    return os.environ.get(CHILD_VARIABLE) == "1"
