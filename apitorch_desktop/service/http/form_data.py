"""Decodes the fields of a query, a form or a JSON object into the Struct of an operation."""

import re
from collections.abc import Iterable
from functools import cache
from typing import Any, TypeVar
from urllib.parse import parse_qsl

import msgspec
from msgspec import Struct

from apitorch_desktop.service.http.errors import HttpError
from apitorch_desktop.utils.decoding import prepared

T = TypeVar("T", bound=Struct)

_KEY = re.compile(r"([^\[\]]+)(?:\[([^\[\]]*)\])?")
_AT = re.compile(r" - at `\$\.?(.*)`$", re.DOTALL)
_MISSING = re.compile(r"^Object missing required field `(.*)`")
_TOO_LONG = re.compile(r"Expected `str` of length <= (\d+)")
_HALF_PAIR = re.compile(
    rb"(?:[^\\]++|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\(?!u[dD][89a-fA-F]).)*+"
    rb"\\(u[dD][89a-fA-F][0-9a-fA-F]{2})",
    re.DOTALL,
)
"""JSON up to an escape of half a surrogate pair."""
_MOST_FIELDS = 100_000


def parse_pairs(query: bytes, charset: str = "utf-8") -> list[tuple[str, str]]:
    """Return the fields of a query string or an urlencoded body. Raises HttpError 400."""
    try:
        text = query.decode("ascii")
    except UnicodeDecodeError:  # not percent-encoded, as some scripts send it
        text = _decoded(query, charset)
    try:
        return parse_qsl(text, keep_blank_values=True, encoding=charset, errors="strict", max_num_fields=_MOST_FIELDS)
    except UnicodeDecodeError:
        raise HttpError(400, f"A field of the form is not valid {charset.upper()}. Send text as UTF-8.") from None
    except ValueError:
        raise HttpError(400, f"The form has more than {_MOST_FIELDS:,} fields. Send fewer in a call.") from None


def decode_pairs(kind: type[T], pairs: Iterable[tuple[str, str]]) -> T:
    """Decode `name=…`, `names[]=…&names[]=…` and `options[name]=…` as a Struct; the last value of a repeated single
    field counts. Raises HttpError 400.
    """
    lists = _list_fields(kind)
    fields: dict[str, Any] = {}
    for key, value in pairs:
        match = _KEY.fullmatch(key)
        if match is None:
            continue
        name, inner = match.groups()
        if name in lists:
            fields.setdefault(name, []).append(value)
        elif inner:
            group = fields.setdefault(name, {})
            if isinstance(group, dict):
                group[inner] = value
        else:
            fields[name] = value
    try:
        return msgspec.convert(fields, prepared(kind), strict=False)
    except (msgspec.ValidationError, OverflowError) as error:
        raise HttpError(400, validation_message(error)) from None


def decode_json(kind: type[T], body: bytes, charset: str = "utf-8") -> T:
    """Decode a JSON object as a Struct; unknown fields are skipped without being parsed, so that they take no memory.

    Raises HttpError 400.
    """
    if charset != "utf-8":
        body = _decoded(body, charset).encode()
    try:
        return _decode_json(kind, body.removeprefix(b"\xef\xbb\xbf"))
    except msgspec.ValidationError as error:
        raise HttpError(400, validation_message(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        if half := _HALF_PAIR.match(body):
            raise HttpError(
                400, f"The JSON has “\\{half[1].decode()}”, half of a surrogate pair: no valid Unicode."
            ) from None
        raise HttpError(400, f"The body is not valid JSON: {error}.") from None
    except RecursionError:
        raise HttpError(400, "The JSON is nested too deeply. Send only the fields of this call.") from None


def _decode_json(kind: type[T], body: bytes) -> T:
    try:
        return msgspec.json.decode(body, type=prepared(kind))
    except msgspec.ValidationError as error:
        if "`int`, got `float`" not in str(error):
            raise
        return msgspec.json.decode(body, type=prepared(kind), strict=False)  # in JSON 2.0 is an integer


def fill_missing(fields: T, pairs: Iterable[tuple[str, str]]) -> T:
    """Set the unset fields of a Struct from `pairs`. Raises HttpError 400."""
    defaults = decode_pairs(type(fields), pairs)
    for name in fields.__struct_fields__:
        if getattr(fields, name) is msgspec.UNSET:
            setattr(fields, name, getattr(defaults, name))
    return fields


def validation_message(error: Exception) -> str:
    """Return the message of a validation error: msgspec's text with its path in front."""
    text = str(error)
    where = _AT.search(text)
    missing = _MISSING.match(text)
    if missing:
        return f"“{missing[1]}” is missing. Send it as a field of a form or of JSON."
    what = text[: where.start()] if where else text
    if most := _TOO_LONG.match(what):
        return f"“{where[1] if where else ''}” has more than {most[1]} characters. Send a shorter one."
    what = what[0].lower() + what[1:].replace("`", "")
    name = f"“{where[1]}”" if where and where[1] else "The body"
    return f"{name} does not fit: {what}."


@cache
def _list_fields(kind: type[Struct]) -> frozenset[str]:
    fields = msgspec.structs.fields(kind)
    return frozenset(field.encode_name for field in fields if "list" in str(field.type))


def _decoded(body: bytes, charset: str) -> str:
    try:
        return body.decode(charset)
    except UnicodeDecodeError:
        raise HttpError(400, f"The body is not valid {charset.upper()}. Send it as UTF-8.") from None
