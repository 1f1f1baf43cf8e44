"""Reads a list of images with labels in any format."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Final

from apitorch_desktop.dataset.sources.lists.annotations import entries_of_json, entries_of_xml
from apitorch_desktop.dataset.sources.lists.columns import ListEntry, entries_of, named
from apitorch_desktop.dataset.sources.lists.records import records_table, table_of
from apitorch_desktop.dataset.sources.lists.table import Located, Table, decode, read_table
from apitorch_desktop.utils.errors import UserError
from apitorch_desktop.utils.text import plural, reason, shown

SUFFIXES: Final = frozenset({".csv", ".tsv", ".tab", ".json", ".jsonl", ".ndjson", ".manifest", ".txt", ".xml", ".lst"})
MAX_BYTES: Final = 256 * 2**20
_UNREAD: Final = {
    **dict.fromkeys((".xlsx", ".xls", ".xlsm", ".ods", ".numbers"), "a spreadsheet, which is not read: save it as CSV"),
    ".parquet": "a Parquet file, which is not read: save its table as CSV",
    ".tfrecord": "a TFRecord file, which is not read: export its images as files",
}


class InvalidList(UserError):  # noqa: N818 - named for what is wrong
    """A list cannot be used; the text names it."""


@dataclass(slots=True)
class ListContent:
    """Entries of a list in their order, and sentences about what was not understood."""

    entries: list[ListEntry]
    notes: list[str] = field(default_factory=list)


def is_list(name: str) -> bool:
    """Return True for the name of a file that may be a list."""
    return PurePosixPath(name).suffix.lower() in SUFFIXES


def unread_list(name: str) -> str:
    """Return a sentence about a file whose kind is known and not read, else ""."""
    what = _UNREAD.get(PurePosixPath(name).suffix.lower())
    return f"“{shown(name)}” is {what}." if what else ""


def load(path: Path) -> bytes:
    """Return the bytes of a list on disk. Raises InvalidList."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InvalidList(f"“{shown(path.name)}” is too long for a list of photos.")
        return path.read_bytes()
    except OSError as error:
        raise InvalidList(f"“{shown(path.name)}” cannot be read: {reason(error)}.") from None


def read_list(data: bytes, name: str, locate: Located, class_names: Mapping[str, str] | None = None) -> ListContent:
    """Read a list by its bytes and its file name. Raises InvalidList.

    `locate(path)` is True where a path in the list leads to an image. `class_names`: number → name, from beside it.
    """
    content = ListContent([])
    try:
        content.entries = _entries(data, name, locate, class_names or {}, content.notes)
    except (ValueError, RecursionError) as error:
        what = " ".join(str(error).split()).rstrip(".")
        raise InvalidList(f"“{shown(name)}” is not understood: {what}.") from None
    if not content.entries:
        raise InvalidList(
            f"“{shown(name)}” names no photo: it needs a column “file_name”, “path” or “url”, and one “label”."
        )
    several = [entry for entry in content.entries if entry.several]
    if several:
        first = f"“{shown(several[0].path)}” ({', '.join(several[0].several[:5])})"
        more = f" and {len(several) - 1:,} more" if len(several) > 1 else ""
        content.notes.append(f"“{shown(name)}” gives several classes to {first}{more}: choose a label for them.")
    return content


def _entries(
    data: bytes, name: str, locate: Located, class_names: Mapping[str, str], notes: list[str]
) -> list[ListEntry]:
    suffix = PurePosixPath(name).suffix.lower()
    if suffix == ".xml":
        return entries_of_xml(data)
    text = decode(data)
    table: Table
    if suffix == ".txt" and text.lstrip()[:1] in {"{", "["}:
        suffix = ".json"
    if suffix in {".jsonl", ".ndjson", ".manifest"}:
        records = _json_lines(text, name, notes)
        if len(records) == 1 and not isinstance(records[0][1], dict):
            return _of_json(records[0][1], locate, class_names)
        if (known := entries_of_json([record for _, record in records])) is not None:
            return named(known, class_names)
        table = records_table([(line, record) for line, record in records if isinstance(record, dict)])
    elif suffix == ".json":
        try:
            value = json.loads(text)
        except ValueError as error:
            if text.count("\n") and text.lstrip()[:1] == "{":  # lines of JSON under another name
                return _entries(data, f"{name}.jsonl", locate, class_names, notes)
            raise ValueError(f"line {getattr(error, 'lineno', 1)}: {getattr(error, 'msg', error)}") from None
        return _of_json(value, locate, class_names)
    else:
        table = read_table(text, locate)
    entries = entries_of(table, locate, class_names)
    if table.unread:
        more = f" and {plural(len(table.unread) - 1, 'more line')} like it" if len(table.unread) > 1 else ""
        notes.append(f"“{shown(name)}”: {table.unread[0]}{more}.")
    return entries


def _of_json(value: Any, locate: Located, class_names: Mapping[str, str]) -> list[ListEntry]:
    if (known := entries_of_json(value)) is not None:
        return named(known, class_names)
    return entries_of(table_of(value, locate), locate, class_names)


def _json_lines(text: str, name: str, notes: list[str]) -> list[tuple[int, Any]]:
    """Return the values of lines, which end in a line feed alone: other breaks may stand in a string."""
    records: list[tuple[int, Any]] = []
    bad: list[tuple[int, str]] = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            records.append((number, json.loads(line)))
        except ValueError as error:
            bad.append((number, re.sub(r": line 1 .*", "", str(error))))
    if bad and not records:
        raise ValueError(f"line {bad[0][0]}: {bad[0][1]}")
    if bad:
        more = f", and {plural(len(bad) - 1, 'more line')}" if len(bad) > 1 else ""
        notes.append(f"“{shown(name)}”: line {bad[0][0]} is not understood ({bad[0][1]}){more}.")
    return records
