"""Elsewhere: a team's PostgreSQL and bucket in place of the data folder's own, named by the environment.

Not by options: such a URL may hold a password, and everybody on the machine can read a command line.
"""

import os
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from apitorch_desktop.service.storage.errors import CannotOpen

DATABASE_VARIABLE: Final = "APITORCH_DATABASE_URL"
BLOB_VARIABLE: Final = "APITORCH_BLOB_URL"


def urls(environment: Mapping[str, str] | None = None) -> dict[str, str | None]:
    """`database_url` and `blob_url` for `Store.open`, None where nothing is named.

    Raises CannotOpen for what is no URL, and for a bucket that would refuse every call.
    """
    given = os.environ if environment is None else environment
    database, blobs = given.get(DATABASE_VARIABLE) or None, given.get(BLOB_VARIABLE) or None
    for name, value in ((DATABASE_VARIABLE, database), (BLOB_VARIABLE, blobs)):
        if value is not None and "://" not in value:
            raise CannotOpen(f"{name} is not a URL: write it as {_EXAMPLES[name]}.")
    if blobs and blobs.startswith("s3") and given.get("AWS_ALLOW_HTTP", "").lower() not in _YES:
        for name in _ENDPOINTS:
            if given.get(name, "").startswith("http://"):
                raise CannotOpen(
                    f"{name} begins with http://, and images would go there unencrypted. Give an https:// address, or set "
                    "AWS_ALLOW_HTTP=true."
                )
    return {"database_url": database, "blob_url": blobs}


def told(named: Mapping[str, str | None]) -> str:
    """A sentence about what is elsewhere, without user names and passwords; empty where nothing is."""
    database, blobs = named["database_url"], named["blob_url"]
    places = [f"rows in {without_password(database)}"] if database else []
    places += [f"images in {without_password(blobs)}"] if blobs else []
    return f"This service keeps its {', its '.join(places)}." if places else ""


def without_password(url: str) -> str:
    """A URL for sentences: without driver, user, password and query."""
    parts = urlsplit(url)
    return f"{parts.scheme.partition('+')[0]}://{parts.netloc.rpartition('@')[2]}{parts.path}"


_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
_YES = {"1", "true", "on", "yes", "y"}
_EXAMPLES = {DATABASE_VARIABLE: "postgresql://user:password@host/name", BLOB_VARIABLE: "s3://bucket/prefix"}
