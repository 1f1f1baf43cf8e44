"""The service and the training set that a command is about, and the error that ends a command."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager

from apitorch_desktop.api.client import ApiClient
from apitorch_desktop.api.slugs import slugify
from apitorch_desktop.api.transport import normalize_url
from apitorch_desktop.api.types import TrainingSet
from apitorch_desktop.dataset.connections.local_client import LocalClient, LocalImages
from apitorch_desktop.dataset.connections.store import EMBEDDED, KEY_VARIABLE, URL_VARIABLE, clean_key, environment_id
from apitorch_desktop.utils import paths
from apitorch_desktop.utils.errors import UserError


class CommandError(UserError):
    """Error that ends a command; `status` is the exit status."""

    def __init__(self, sentence: str, status: int = 1) -> None:
        super().__init__(sentence)
        self.status = status


@contextmanager
def connected() -> Iterator[ApiClient]:
    """Connect to the service named by APITORCH_BASE_URL and APITORCH_API_KEY where set, else to the embedded one.

    An embedded service that does not run yet is started for as long as the command takes.
    """
    folder = paths.private(paths.desktop_folder())
    url, key = os.environ.get(URL_VARIABLE, "").strip(), clean_key(os.environ.get(KEY_VARIABLE, ""))
    if url and not key:
        raise CommandError(f"{URL_VARIABLE} is set but {KEY_VARIABLE} is not: set both, or neither.", 2)
    if not url:
        with _embedded() as (url, key), closing(ApiClient(url, key)) as client:
            yield client
        return
    local = LocalImages(folder)
    with closing(local), closing(LocalClient(local, environment_id(normalize_url(url)), url, key)) as client:
        yield client


def connection_id() -> str:
    """Return the id of the connection that `connected` opens, by which data is kept apart."""
    url = os.environ.get(URL_VARIABLE, "").strip()
    return environment_id(normalize_url(url)) if url else EMBEDDED


def find_training_set(sets: Sequence[TrainingSet], name: str) -> TrainingSet | None:
    """Find a training set by its name, in any case, or by its slug: “Grade C++” is not “Grade C”."""
    wanted = name.strip()
    matches: tuple[Callable[[TrainingSet], bool], ...] = (
        lambda found: found.name == wanted,
        lambda found: found.name.casefold() == wanted.casefold(),
        lambda found: slugify(found.name) == wanted != "",
    )
    return next((found for match in matches for found in sets if match(found)), None)


@contextmanager
def _embedded() -> Iterator[tuple[str, str]]:
    from apitorch_desktop.service.launcher import ServiceFailed, attach_or_start

    try:
        service = attach_or_start(paths.private(paths.service_folder()))
    except ServiceFailed as error:
        raise CommandError(str(error)) from error
    try:
        yield service.url, service.key
    finally:
        service.stop()
