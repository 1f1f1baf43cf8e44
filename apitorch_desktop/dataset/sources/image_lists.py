"""Lists of pictures with labels: CSV, JSON and JSON lines of paths or addresses, and pasted text."""

import base64
import binascii
import csv
import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from apitorch_desktop.dataset.sources.image_source import ImageBytes, ImageFile, ImageUrl, Source
from apitorch_desktop.utils.errors import UserError
from apitorch_desktop.utils.text import reason, shown

SUFFIXES: Final = frozenset({".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".txt"})
METADATA: Final = ("metadata.jsonl", "metadata.csv")
"""Names a Hugging Face image folder gives the list that lies beside its pictures."""
_MOST_BYTES: Final = 256 * 2**20
_WHERE: Final = (
    "file_name", "filename", "file", "path", "filepath", "file_path", "image_path", "image", "image_url", "url", "src",
    "img", "uri",
)  # fmt: skip
_LABEL: Final = (
    "label", "labels", "class", "class_name", "classname", "category", "annotation", "annotations", "target", "tag",
    "tags", "y",
)  # fmt: skip
_URL = re.compile(r"https?://[^\s<>\"“”]+", re.IGNORECASE)
_DATA = re.compile(r"data:image/([a-z0-9.+-]+);base64,([A-Za-z0-9+/=\s%]+)", re.IGNORECASE)


class InvalidList(UserError):  # noqa: N818 - named for what is wrong
    """A list cannot be used; `str()` is a sentence that names it."""


@dataclass(frozen=True, slots=True)
class ListEntry:
    """A path or an address as it stands in a list, and its label as spelled there (empty where there is none)."""

    where: str
    label: str


def rows(path: Path) -> list[ListEntry]:
    """The rows of a list on disk. Raises BadList."""
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise InvalidList(f"“{shown(path.name)}” is too long for a list of pictures.")
        data = path.read_bytes()
    except OSError as error:
        raise InvalidList(f"“{shown(path.name)}” cannot be read: {reason(error)}.") from None
    return parse(data, path.name)


def parse(data: bytes, name: str) -> list[ListEntry]:
    """The rows of a list by its bytes and its file name. Raises BadList."""
    text = _decoded(data)
    suffix = Path(name).suffix.lower()
    try:
        if suffix == ".json":
            found = list(_from_objects(json.loads(text)))
        elif suffix in {".jsonl", ".ndjson"}:
            found = list(_from_objects([json.loads(line) for line in text.splitlines() if line.strip()]))
        elif suffix == ".txt":
            found = [ListEntry(line.strip(), "") for line in text.splitlines() if line.strip()]
        else:
            found = list(_from_table(text))
    except (ValueError, RecursionError, csv.Error) as error:
        what = " ".join(str(error).split()).rstrip(".")
        raise InvalidList(f"“{shown(name)}” is not in the form its name says: {what}.") from None
    if not found:
        raise InvalidList(
            f"“{shown(name)}” names no picture: it needs a column “file_name”, “path” or “url”, and one “label”."
        )
    return found


def resolve(where: str, folder: Path) -> Source:
    """What a row's path or address leads to; a path counts from `folder`."""
    if picture := data_picture(where):
        return picture
    if is_url(where):
        return ImageUrl(where.strip())
    if where.lower().startswith("file:"):
        return ImageFile(Path(unquote(urlsplit(where).path)))
    path = folder / where
    try:
        if "\\" in where and not path.exists():
            path = folder / where.replace("\\", "/")
    except OSError:  # a name of more than 255 bytes: it will be said when the file is looked at
        pass
    return ImageFile(path)


def in_text(text: str) -> tuple[list[Source], list[str]]:
    """What pasted or dropped text leads to: addresses, `file:` addresses, paths; and the lines that are none of it."""
    sources: list[Source] = []
    strange: list[str] = []
    if picture := data_picture(text):
        return [picture], []
    for line in filter(None, (line.strip() for line in text.splitlines())):
        if urls := _URL.findall(line):
            sources += [ImageUrl(url.rstrip(".,;)]")) for url in urls]
        elif picture := data_picture(line):
            sources.append(picture)
        elif line.lower().startswith("file:"):
            sources.append(ImageFile(Path(unquote(urlsplit(line).path))))
        elif Path(line).is_absolute():
            sources.append(ImageFile(Path(line)))
        else:
            strange.append(line)
    return sources, strange


def is_url(text: str) -> bool:
    """Whether a text is one web address with a host."""
    try:
        parts = urlsplit(text.strip())
        return parts.scheme.lower() in {"http", "https"} and bool(parts.hostname)
    except ValueError:
        return False


def data_picture(text: str) -> ImageBytes | None:
    """The picture in a `data:image/…;base64,` address, as browsers give for small ones."""
    found = _DATA.fullmatch(text.strip())
    if not found:
        return None
    try:
        data = base64.b64decode(unquote(found[2]))
    except (binascii.Error, ValueError):
        return None
    return ImageBytes(data, f"picture.{found[1].lower().replace('jpeg', 'jpg').partition('+')[0]}")


def _decoded(data: bytes) -> str:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", "replace")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252", "replace")  # what spreadsheets on Windows still write


def _from_objects(value: Any) -> Iterator[ListEntry]:
    if isinstance(value, dict):  # {"data": [...]}, {"images": [...]}
        value = next((part for part in value.values() if isinstance(part, list)), [value])
    if not isinstance(value, list):
        raise ValueError("it is no list of objects")  # the file's fault, as the others above
    for entry in value:
        if isinstance(entry, str):
            yield ListEntry(entry, "")
        elif isinstance(entry, dict):
            fields = {str(key).lower(): part for key, part in entry.items()}
            where = _text(_first(fields, _WHERE))
            labels = _first(fields, _LABEL)
            for label in (labels or [""]) if isinstance(labels, list) else [labels]:
                if where:
                    yield ListEntry(where, _text(label))


def _first(fields: dict[str, Any], names: tuple[str, ...]) -> Any:
    return next((fields[name] for name in names if fields.get(name) not in (None, "")), "")


def _text(value: Any) -> str:
    if isinstance(value, dict):  # {"path": …}, {"url": …}, {"label": …}
        fields = {str(key).lower(): part for key, part in value.items()}
        return _text(_first(fields, (*_WHERE, *_LABEL, "name")))
    return str(value) if isinstance(value, (str, int, float)) else ""


def _from_table(text: str) -> Iterator[ListEntry]:
    first = text.partition("\n")[0]
    delimiter = max(",;\t|", key=first.count) if any(mark in first for mark in ",;\t|") else ","
    table = [[cell.strip() for cell in line] for line in csv.reader(io.StringIO(text), delimiter=delimiter) if line]
    if not table:
        return
    header = [cell.lower() for cell in table[0]]
    where = next((header.index(name) for name in _WHERE if name in header), None)
    label = next((header.index(name) for name in _LABEL if name in header), None)
    if where is not None:
        del table[0]
    else:
        where, label = _guessed(table)
    for line in table:
        if where < len(line) and line[where]:
            yield ListEntry(line[where], line[label] if label is not None and label < len(line) else "")


def _guessed(table: list[list[str]]) -> tuple[int, int | None]:
    """The columns of a table without a header: the one that looks like paths, and the other if there are two."""

    def likeness(column: int) -> int:
        return sum(
            is_url(line[column]) or bool(Path(line[column]).suffix) for line in table[:100] if column < len(line)
        )

    width = max(len(line) for line in table)
    where = max(range(width), key=likeness)
    if not likeness(where):
        raise ValueError("no column looks like paths or web addresses")
    return where, (1 - where if width == 2 else None)
