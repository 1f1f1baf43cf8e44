"""Validation of names, labels, ids and file names from clients; new ids and timestamps."""

import re
import secrets
from datetime import UTC, datetime, timedelta

from apitorch_desktop.api.slugs import slugify, snake_case
from apitorch_desktop.api.types import LONGEST_LABEL
from apitorch_desktop.service.storage.errors import Invalid

LONGEST_NAME = LONGEST_LABEL
LONGEST_DESCRIPTION = 10_000
LONGEST_MESSAGE = 100_000
_LONGEST_FILENAME = 1000
_MAX_ROW_ID = 2**63 - 1
_HEX = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


def now() -> str:
    """Return the current time in the format of the records."""
    return ago(timedelta())


def ago(age: timedelta) -> str:
    """Return the time that was so long ago in the format of the records."""
    return timestamp(datetime.now(UTC) - age)


def timestamp(moment: datetime) -> str:
    """Return ISO 8601 with milliseconds and `Z`, which sorts as text in order of time."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def new_id() -> str:
    """Return 40 random hex digits."""
    return secrets.token_hex(20)


def number(value: int | str) -> int | None:
    """Return the row number of an id, or None for text, negative and huge numbers."""
    if isinstance(value, str):
        if not (0 < len(value) <= 19 and value.isascii() and value.isdigit()):
            return None
        value = int(value)
    return value if 0 < value <= _MAX_ROW_ID else None


def hex_id(value: str, prefix: str) -> str | None:
    """Return the 40 hex digits of an id, given with or without its prefix (`ti_`), or None."""
    digits = value.removeprefix(prefix)
    return digits if _HEX.fullmatch(digits) else None


def is_sha256(value: str) -> bool:
    """Return whether the text is 64 lower-case hex digits."""
    return _SHA256.fullmatch(value) is not None


def name(value: str, what: str = "The name") -> str:
    """Return a name on one line, trimmed. Raises Invalid when it is empty or longer than 200 characters."""
    cleaned = " ".join(storable(value).split())
    if not cleaned:
        raise Invalid(f"{what} is empty. Give one.")
    if len(cleaned) > LONGEST_NAME:
        raise Invalid(f"{what} has {len(cleaned)} characters. Give one of at most {LONGEST_NAME}.")
    return cleaned


def text(value: str, longest: int, what: str) -> str:
    """Return text of any number of lines. Raises Invalid when it is longer than `longest` characters."""
    if len(value) > longest:
        raise Invalid(f"{what} has {len(value):,} characters. Give one of at most {longest:,}.")
    return storable(value)


def label(value: str) -> str:
    """Return a label as it is stored. Raises Invalid when nothing remains of it or it has more than 200 characters."""
    cleaned = snake_case(storable(value))
    if not cleaned:
        raise Invalid(f"“{storable(value[:80])}” cannot be a label: it has no letter and no digit.")
    if len(cleaned) > LONGEST_NAME:
        raise Invalid(f"The label has {len(cleaned)} characters. Give one of at most {LONGEST_NAME}.")
    return cleaned


def filename(value: str) -> str:
    """Return the last part of a path, with characters replaced that no database stores."""
    return storable(value.replace("\\", "/").rpartition("/")[2])[:_LONGEST_FILENAME]


def slug(training_set: str, taken: set[str]) -> str:
    """Return an unused slug for a name."""
    wanted = slugify(training_set) or "training-set"
    candidate, count = wanted, 1
    while candidate in taken:
        count += 1
        candidate = f"{wanted}-{count}"
    return candidate


def storable(value: str) -> str:
    """Replace what is no Unicode (half a surrogate pair) and NUL, which PostgreSQL rejects."""
    return value.encode("utf-8", "replace").decode("utf-8").replace("\0", "\ufffd")
