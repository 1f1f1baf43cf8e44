"""Reads a list of images with labels in any format, and the names of numbered classes beside it."""

import bz2
import gzip
import json
import lzma
import re
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from io import BufferedIOBase, BytesIO
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any, Final

from apitorch_desktop.dataset.sources.lists import names
from apitorch_desktop.dataset.sources.lists.annotations import (
    entries_of_class,
    entries_of_json,
    entries_of_xml,
    value_of_xml,
)
from apitorch_desktop.dataset.sources.lists.columns import ListEntry, entries_of, named, point_columns
from apitorch_desktop.dataset.sources.lists.index import path_parts
from apitorch_desktop.dataset.sources.lists.labels_in_values import holds_label
from apitorch_desktop.dataset.sources.lists.records import (
    entries_of_value,
    is_of_detector,
    labeled_entries,
    unfolded_table,
)
from apitorch_desktop.dataset.sources.lists.table import (
    Located,
    Table,
    decode,
    decode_guessing,
    read_table,
)
from apitorch_desktop.dataset.sources.lists.text_forms import TABLES
from apitorch_desktop.utils.errors import UserError
from apitorch_desktop.utils.text import plural, reason, shown
from apitorch_desktop.vision.file_kinds import pointer_of

_MAX_DEPTH: Final = 4
_NAMES_IMAGE: Final = re.compile(
    r"\S\.(?:jpe?g|png|bmp|gif|webp|tiff?)[\"']?(?:\s+|\s*[,;|:]\s*)[^\s|,;]|[^\s|,;](?:\s+|\s*[,;|:]\s*)\S*\.(?:jpe?g|png|bmp|gif|webp|tiff?)\b",
    re.IGNORECASE,
)
"""Name of an image with a word behind or before it."""
SUFFIXES: Final = frozenset(
    {".csv", ".tsv", ".tab", ".json", ".jsonl", ".ndjson", ".manifest", ".txt", ".xml", ".lst", ".labels", *TABLES}
)
_LINES: Final = frozenset({".jsonl", ".ndjson", ".manifest"})
"""Suffixes of texts with a JSON a line."""
MAX_BYTES: Final = 256 * 2**20
SAMPLE: Final = 2**15
"""Bytes of a list that say how it, and others of its form, are read."""
_UNREAD: Final = {
    **dict.fromkeys((".xlsx", ".xls", ".xlsm", ".ods", ".numbers"), "a spreadsheet, which is not read: save it as CSV"),
    ".parquet": "a Parquet file, which is not read: save its table as CSV",
    ".tfrecord": "a TFRecord file, which is not read: export its images as files",
}
_ARRAYS: Final = {
    **dict.fromkeys((".npz", ".npy"), "a NumPy array"),
    **dict.fromkeys((".h5", ".hdf5"), "an HDF5 file"),
    ".mat": "a MATLAB file",
    **dict.fromkeys((".pkl", ".pickle", ".pt"), "a file of Python objects"),
}
"""Suffixes of files of numbers that may be pixels."""
_IDX: Final = re.compile(r".+[.-]idx\d-ubyte(?:\.gz)?", re.IGNORECASE)
"""Name of a file in the format of MNIST."""


_MAX_SPOKEN: Final = 2**24
_POINTER_BYTES: Final = 64
_MAX_STRINGS: Final = 1000
_MENTIONED: Final = re.compile(r"[\w./-]+\.\w{3,4}\b")


class InvalidList(UserError):  # noqa: N818 - named for what is wrong
    """A list cannot be used; the text names it."""


@dataclass(slots=True)
class ListContent:
    """Entries of a list in their order, and sentences about what was not understood.

    `answers`: True where the labels are those of a detector, which says of each object how sure it is. `of_albums`: True
    where they are nothing but names of lists within it, `guessed` where nothing calls them labels, `scored` where each has a
    score. `bare`: there is nothing but paths in it. `plain`: it is a table without a header. `counted`: its labels are the
    numbers of its rows; `by_number`: they are numbers that nothing calls labels, which names beside it may have replaced.
    `flags`: they are names of columns of yes and no, which may be of anything.
    `of_objects`: it has annotations, which may be of objects in images. `unlabeled`: it has a place for labels, which is
    empty.
    """

    entries: list[ListEntry]
    notes: list[str] = field(default_factory=list)
    answers: bool = False
    of_albums: bool = False
    guessed: bool = False
    scored: bool = False
    bare: bool = False
    plain: bool = False
    counted: bool = False
    by_number: bool = False
    flags: bool = False
    of_objects: bool = False
    unlabeled: bool = False

    @property
    def labeled(self) -> bool:
        """Return whether an image has a label, or several."""
        return any(entry.label or entry.several for entry in self.entries)


def is_list(name: str) -> bool:
    """Return True for the name of a file that may be a list, packed or not."""
    return PurePosixPath(_unpacked_name(name)).suffix.lower() in SUFFIXES


def is_label_file(name: str) -> bool:
    """Return True for the name of a file that holds nothing but the label of the image of its name (WebDataset)."""
    return name.lower().endswith(".cls")


def is_unnamed_list(name: str, head: bytes) -> bool:
    """Return True for the beginning of a text in a file without a suffix whose lines name images and something else."""
    if PurePosixPath(name).suffix or b"\0" in head:
        return False
    lines = head.decode("utf-8", "replace").splitlines()[:20]
    return len(lines) > 1 and all(_NAMES_IMAGE.search(line) for line in lines[1:-1] or lines)


_PACKED: Final[dict[str, Callable[[BytesIO], BufferedIOBase]]] = {
    ".gz": lambda file: gzip.GzipFile(fileobj=file),
    ".bz2": bz2.BZ2File,
    ".xz": lzma.LZMAFile,
}


def _unpacked_name(name: str) -> str:
    return name[: -len(suffix)] if (suffix := PurePosixPath(name).suffix.lower()) in _PACKED else name


def _unpacked(data: bytes, name: str) -> bytes:
    """Return the bytes of a list that may be packed. Raises ValueError."""
    opener = _PACKED.get(PurePosixPath(name).suffix.lower())
    if opener is None:
        return data
    try:
        with opener(BytesIO(data)) as stream:
            text = stream.read(MAX_BYTES + 1)
    except (OSError, EOFError, zlib.error, lzma.LZMAError):
        raise ValueError("it cannot be unpacked") from None
    if len(text) > MAX_BYTES:
        raise ValueError("it is too long for a list of photos")
    return text


def unread_list(name: str) -> str:
    """Return a sentence about a file whose kind is known and not read, else ""."""
    what = _UNREAD.get(PurePosixPath(name).suffix.lower())
    return f"“{shown(name)}” is {what}." if what else ""


def unread_array(name: str) -> str:
    """Return the kind of a file of numbers that may be pixels, with its article, else ""."""
    return "an IDX file" if _IDX.fullmatch(name) else _ARRAYS.get(PurePosixPath(name).suffix.lower(), "")


def speaks_of_labels(data: bytes, name: str, locate: Located) -> bool:
    """Return whether a file is a JSON about images that are there, which something in it calls labeled, or is broken."""
    if PurePosixPath(name).suffix.lower() not in {".json", ".jsonl", ".ndjson", ".labels"} or len(data) > _MAX_SPOKEN:
        return False
    text = decode(data)
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text.lstrip()[:1] in {"{", "["} and any(map(locate, _MENTIONED.findall(text)))
    strings = islice(_strings(value), _MAX_STRINGS)
    return holds_label(value) and (locate(PurePosixPath(name).stem) or any(map(locate, strings)))


def unused_labels(content: ListContent, data: bytes, name: str) -> str:
    """Return a sentence about a JSON of images with fields of labels, of which no image has one; else "".

    It may name classes that no image has.
    """
    suffix = PurePosixPath(name).suffix.lower()
    if content.labeled or suffix not in {".json", *_LINES} or len(data) > _MAX_SPOKEN:
        return ""
    try:
        text = decode(data)
        value = [record for _, record in _json_lines(text, name, [])] if suffix in _LINES else json.loads(text)
    except (ValueError, RecursionError):
        return ""
    if isinstance(value, dict):
        value = [part for key, part in value.items() if names.normal(str(key)) not in _NAME_KEYS]
    unread = f"“{shown(name)}” has labels in a form that is not read: no photo gets one of them."
    return unread if _holds_label_field(value) else ""


def _holds_label_field(value: Any) -> bool:
    if isinstance(value, list):
        return any(map(_holds_label_field, value))
    return isinstance(value, dict) and any(
        (part not in (None, "", [], {}) and _is_label_field(str(key))) or _holds_label_field(part)
        for key, part in value.items()
    )


def _is_label_field(key: str) -> bool:
    return names.is_label_header(key) or names.rank(key, "label_id") is not None


def _strings(value: Any) -> Iterator[str]:
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        if isinstance(part, str):
            yield part
        else:
            yield from _strings(part)


def load(path: Path) -> bytes:
    """Return the bytes of a list on disk. Raises InvalidList."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InvalidList(f"“{shown(path.name)}” is too long for a list of photos.")
        return without_pointer(path.read_bytes(), path.name)
    except OSError as error:
        raise InvalidList(f"“{shown(path.name)}” cannot be read: {reason(error)}.") from None


def without_pointer(data: bytes, name: str) -> bytes:
    """Return the bytes of a list. Raises InvalidList for those of a pointer to it."""
    if pointer := pointer_of(data[:_POINTER_BYTES]):
        raise InvalidList(
            f"“{shown(name)}” is a pointer of {pointer[0]} in place of the list: run “{pointer[1]}” first."
        )
    return data


def read_list(
    data: bytes, name: str, locate: Located, class_names: Mapping[str, str] | None = None, alike: bytes = b""
) -> ListContent:
    """Read a list by its bytes and its file name. Raises InvalidList.

    `locate(path)` is True where a path in the list leads to an image. `class_names`: number → name, from beside it.
    `alike`: lists of the same form, of other parts of the set.
    """
    content = ListContent([])
    try:
        entries = _entries(_unpacked(data, name), _unpacked_name(name), locate, class_names or {}, content, alike)
        content.entries = [entry for entry in entries if entry.path]
    except (ValueError, RecursionError) as error:
        what = " ".join(str(error).split()).rstrip(".")
        raise InvalidList(f"“{shown(name)}” is not understood: {what}.") from None
    if not content.entries:
        raise InvalidList(
            f"“{shown(name)}” names no photo: it needs a column “file_name”, “path” or “url”, and one “label”."
        )
    labeled = [entry for entry in content.entries if entry.label or entry.several]
    content.of_albums = bool(labeled) and all(entry.of_album for entry in labeled)
    content.scored = bool(labeled) and all(entry.scored for entry in labeled)
    content.guessed = bool(labeled) and all(entry.guessed for entry in labeled)
    content.notes += _repeated(content.entries, name)
    several = [entry for entry in content.entries if entry.several]
    if several:
        content.of_objects = True
        first = f"“{shown(several[0].path)}” ({', '.join(several[0].several[:5])})"
        more = f" and {len(several) - 1:,} more" if len(several) > 1 else ""
        content.notes.append(f"“{shown(name)}” gives several classes to {first}{more}: choose a label for them.")
    return content


def counts_rows(content: ListContent) -> bool:
    """Return whether numbers that may count the rows of a list do: it has several images of one folder, and no names."""
    folders = {path_parts(entry.path)[:-1] for entry in content.entries}
    unnamed = all(entry.label.isdigit() for entry in content.entries)
    return content.counted and unnamed and len(content.entries) > max(2, len(folders))


def repeated_by(name: str) -> str:
    """Return how the sentence begins that a list gives images several labels."""
    return f"“{shown(name)}” gives several labels to "


def _repeated(entries: list[ListEntry], name: str) -> list[str]:
    """Return a sentence about images that a list gives several labels."""
    labels: dict[str, list[str]] = {}
    for entry in entries:
        if entry.label:
            labels.setdefault(entry.path, []).append(entry.label)
    repeated = [(path, given) for path, given in labels.items() if len(given) > 1]
    if not repeated:
        return []
    path, given = repeated[0]
    more = f" and so to {plural(len(repeated) - 1, 'more photo')}" if len(repeated) > 1 else ""
    return [f"{repeated_by(name)}“{shown(path)}” ({', '.join(given[:5])}){more}: it comes under each."]


def _entries(
    data: bytes,
    name: str,
    locate: Located,
    class_names: Mapping[str, str],
    content: ListContent,
    alike: bytes = b"",
) -> list[ListEntry]:
    suffix = PurePosixPath(name).suffix.lower()
    if suffix == ".xml":
        content.of_objects = True
        return entries_of_xml(data) or labeled_entries(value_of_xml(data), locate)
    text, guessed = decode_guessing(data)
    if "\0" in text[:4096]:
        raise ValueError("it is no text")
    content.notes += [f"“{shown(name)}”: {guessed}."] if guessed else []
    table: Table
    if (of_class := entries_of_class(text, name)) is not None:
        return of_class
    if suffix in {".txt", ".labels"} and text.lstrip()[:1] in {"{", "["}:
        suffix = ".json"
    if suffix in _LINES:
        records = _json_lines(text, name, content.notes)
        if len(records) == 1 and not isinstance(records[0][1], dict):
            return _of_json(records[0][1], locate, class_names, name, content)
        if (known := entries_of_json([record for _, record in records], locate)) is not None:
            content.of_objects = True
            return named(known, class_names)
        if records and (own := _names_of_set(records[0][1], locate)):
            class_names, records = own, records[1:]
        content.answers = is_of_detector([record for _, record in records])
        table = unfolded_table([(line, record) for line, record in records if isinstance(record, dict)], locate)
    elif suffix == ".json":
        try:
            value = json.loads(text)
        except ValueError as error:
            if (
                getattr(error, "msg", "") == "Extra data" and text.lstrip()[:1] == "{"
            ):  # lines of JSON under another name
                return _entries(data, f"{name}.jsonl", locate, class_names, content)
            what = f"line {getattr(error, 'lineno', 1)}: {getattr(error, 'msg', error)}"
            raise ValueError(f"it is no JSON, {what}") from None
        return _of_json(value, locate, class_names, name, content)
    else:
        text = TABLES[suffix](text) if suffix in TABLES else text
        table = read_table(text, locate, decode(alike))
        table.last = "" if table.header else _last_column(name)
        content.bare = all(len(cells) == 1 for _, cells in table.rows)
        content.plain = not table.header
    entries = entries_of(table, locate, class_names)
    content.counted, content.by_number, content.flags = table.counted, table.by_number, table.flags
    content.unlabeled = table.unlabeled
    content.notes += [f"“{shown(name)}”: {sentence}." for sentence in table.notes]
    if table.unread:
        more = f" and {plural(len(table.unread) - 1, 'more line')} like it" if len(table.unread) > 1 else ""
        content.notes.append(f"“{shown(name)}”: {table.unread[0]}{more}.")
    return entries


def _last_column(name: str) -> str:
    """Return the name of a column of parts of a set that a list is called after; "" for another."""
    words = set(re.split(r"[\W\d_]+", name.lower()))
    if words >= {"train", "test"}:
        return "istrain"
    return next((word for word in ("partition", "split") if word in words), "")


def _of_json(
    value: Any, locate: Located, class_names: Mapping[str, str], name: str, content: ListContent
) -> list[ListEntry]:
    content.bare = isinstance(value, list) and all(isinstance(entry, str) for entry in value)
    if (known := entries_of_json(value, locate, PurePosixPath(name).stem)) is not None:
        content.of_objects = True
        return named(known, class_names)
    parts = (
        {key: part for key, part in value.items() if part and isinstance(part, (dict, list))}
        if isinstance(value, dict)
        else {}
    )
    if (
        parts
        and all(names.split_of(str(key)) for key in parts)
        and any(entries_of_json(part, locate) is not None for part in parts.values())
    ):
        return [
            replace(entry, split=entry.split or names.split_of(str(key)))
            for key, part in parts.items()
            for entry in _of_json(part, locate, class_names, "", content)
        ]
    said: list[str] = []
    entries = named(entries_of_value(value, locate, said), class_names)
    content.notes += [f"“{shown(name)}”: {sentence}." for sentence in said]
    content.answers = is_of_detector(value)
    return named(entries, own) if (own := _own_names(value)) else entries


_NAME_KEYS: Final = frozenset(
    {"classes", "classnames", "categories", "labelnames", "id2label", "names", "labelmap", "detectioncategories"}
)
"""Keys of a JSON under which it names its own numbered classes, as `names.normal` spells them."""
_TEXT: Final = re.compile(r"\S")
_MAX_VALUES: Final = 1_000_000
"""Values of JSON in one file that are read, as many as an archive may have members."""


def _own_names(value: Any, depth: int = 0) -> dict[str, str]:
    """Return the names of numbered classes that a JSON itself holds."""
    for key, part in value.items() if isinstance(value, dict) and len(value) < 1000 else ():
        if names.normal(str(key)) in _NAME_KEYS:
            if isinstance(part, list) and part and all(isinstance(entry, dict) for entry in part):
                part = {str(entry.get("id")): entry.get("name") for entry in part}
            if found := _from_json(part):
                return found
            continue
        found = _numbered_classes(part) if names.rank(str(key), "label") is not None else {}
        if not found and isinstance(part, dict) and depth < _MAX_DEPTH:
            found = _own_names(part, depth + 1)
        if found:
            return found
    return {}


def _names_of_set(record: Any, locate: Located) -> dict[str, str]:
    """Return the names of numbered classes in a record that is about the set, and names no image."""
    texts = [part for part in record.values() if isinstance(part, str)] if isinstance(record, dict) else []
    return {} if any(_IMAGE.search(text) or locate(text) for text in texts) else _own_names(record)


def _numbered_classes(value: Any) -> dict[str, str]:
    """Return id → name of a list of classes, each with a name of its own; nothing for a list of anything else."""
    if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
        return {}
    found = {str(entry.get("id")): entry.get("name") for entry in value}
    if len(found) < len(value) or len(set(map(str, found.values()))) < len(value):
        return {}
    return {number: name for number, name in found.items() if isinstance(name, str) and not _IMAGE.search(name)}


def _values(text: str) -> list[tuple[int, Any]]:
    """Return the values of JSON that stand one behind the other, in any number of lines; nothing where one is none."""
    decoder, values, place = json.JSONDecoder(), list[tuple[int, Any]](), 0
    while (begin := _TEXT.search(text, place)) and len(values) < _MAX_VALUES:
        try:
            value, place = decoder.raw_decode(text, begin.start())
        except ValueError:
            return []
        values.append((0, value))
    return values


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
        records = _values(text)
        bad = [] if records else bad
    if bad and not records:
        raise ValueError(f"it is no JSON, line {bad[0][0]}: {bad[0][1]}")
    if bad:
        more = f", and {plural(len(bad) - 1, 'more line')}" if len(bad) > 1 else ""
        notes.append(f"“{shown(name)}”: line {bad[0][0]} is not understood ({bad[0][1]}){more}.")
    return records


CLASS_NAME_FILES: Final = re.compile(
    r"(?:.*[._-])?(?:classes|class_?names|classnames|labels?|label_?names|names|categories|label_?map|class_?map(?:ping)?|class|category|(?:label|class|category)_?key|"
    r"labels?_list|class_?list|class_?dict|(?:cat|idx|id|index|label|class)_?(?:to|2)_?(?:name|class|label|cat|idx|index)s?|"
    r"id2label|class_?indices|class_?index|synsets?|synset_?words|words|synset_mapping|categories_\w+|class-?descriptions(?:-\w+)*)(?:[._-](?:en|eng|english))?(?:\.txt|\.json|\.csv|\.names|\.ya?ml|\.pbtxt)"
    r"|README\.md|.*(?:label|class|categor|map|schema).*\.json|.*\.names|data\.ya?ml|dataset\.ya?ml|.*\.labels|.*labels?\.txt",
    re.IGNORECASE,
)
"""Names of files that may hold class names."""


def may_be_list(name: str, head: bytes) -> bool:
    """Return True for a file that may label images: a list, names of classes, the label of one; by its name, else its head."""
    return (
        is_list(name)
        or is_label_file(name)
        or CLASS_NAME_FILES.fullmatch(name) is not None
        or is_unnamed_list(name, head)
    )


_IMAGE: Final = re.compile(r"\.(?:jpe?g|png|bmp|gif|webp|tiff?)\b", re.IGNORECASE)


def class_names(data: bytes, name: str) -> dict[str, str]:
    """Return number (or other id) → class name; empty where the file holds no such names."""
    text = decode(data[: 2**20])
    suffix = name.lower().rpartition(".")[2]
    if suffix == "json":
        try:
            value = json.loads(text)
            return _from_json(value) or _from_schema(value)
        except (ValueError, RecursionError):
            return {}
    if suffix == "md":
        return _from_yaml(text[: text.find("\n---", 3)]) if text.startswith("---") else {}
    if suffix in {"yaml", "yml"}:
        return _from_yaml(text)
    if suffix == "pbtxt":
        pairs = re.findall(r"item\s*\{[^}]*?id\s*:\s*(\d+)[^}]*?name\s*:\s*[\"']([^\"']+)", text, re.DOTALL)
        swapped = re.findall(r"item\s*\{[^}]*?name\s*:\s*[\"']([^\"']+)[\"'][^}]*?id\s*:\s*(\d+)", text, re.DOTALL)
        return dict(pairs) | {number: label for label, number in swapped}
    return _from_lines(text)


def labeled_ids(data: bytes, name: str) -> tuple[str, str] | None:
    """Return the column of ids of a table that has labels too, and the first id in it; None for another."""
    if PurePosixPath(_unpacked_name(name)).suffix.lower() not in {".csv", ".tsv", ".tab"}:
        return None
    with suppress(ValueError):
        lines = decode(_unpacked(data, name)[: 2**16]).splitlines()[:2]
        rows = [[cell.strip().strip('"') for cell in re.split(r"[,;\t]", line)] for line in lines]
        if (
            len(rows) == 2
            and any(map(names.is_label_header, rows[0][1:]))
            and names.rank(rows[0][0], "path") is not None
        ):
            return rows[0][0], rows[1][0]
    return None


def labels_of_folders(data: bytes, name: str, folders: Collection[str]) -> dict[str, str]:
    """Return folder → label of a table with a column of folders, or of ids they are called by; else nothing."""
    try:
        table = read_table(decode(_unpacked(data, name)[: 2**20]), lambda cell: cell.strip("/\\ ") in folders)
    except ValueError:
        return {}
    by_role = {
        role: [column for column, cell in enumerate(table.header) if names.rank(cell, role) is not None]
        for role in ("folder", "path", "label_id", "label_name", "label")
    }
    keys = [*by_role["folder"], *by_role["label_id"], *by_role["path"]]
    if not keys:
        return {}
    no_labels = {keys[0], *point_columns(table.header, [cells for _, cells in table.rows], keys[0])}
    labels = [
        column
        for column in (*by_role["label_name"], *by_role["label"])
        if column not in no_labels and len({str(cells[column : column + 1]) for _, cells in table.rows}) > 1
    ]
    if not labels:
        return {}
    found = {
        str(cells[keys[0]]).strip("/\\ "): str(cells[labels[0]]).strip()
        for _, cells in table.rows
        if max(keys[0], labels[0]) < len(cells)
    }
    found = {folder: label for folder, label in found.items() if folder in folders and label}
    return found if len(set(found.values())) > 1 or len(found) == 1 else {}  # one for all says nothing


def _from_json(value: Any) -> dict[str, str]:
    if isinstance(value, dict) and isinstance(value.get("id2label"), dict):
        value = value["id2label"]
    if isinstance(value, list) and all(isinstance(label, str) for label in value):
        return {str(number): label for number, label in enumerate(value)}
    if not isinstance(value, dict):
        return {}
    if value and all(isinstance(key, str) and re.fullmatch(r"-?\d+|n\d{8}", key) for key in value):
        named = {key: label[-1] if isinstance(label, list) and label else label for key, label in value.items()}
        synsets = all(key.startswith("n") for key in named)
        return {
            key: label.partition(",")[0].strip() if synsets else label
            for key, label in named.items()
            if isinstance(label, str)
        }
    numbers = [number for number in value.values() if isinstance(number, int) and not isinstance(number, bool)]
    if value and len(set(numbers)) == len(value) and not any(_IMAGE.search(str(label)) for label in value):
        return {str(number): str(label) for label, number in value.items()}
    return {}


def _from_schema(value: Any) -> dict[str, str]:
    """Return the names in an object that has its classes, and nothing else but words and numbers."""
    held = [key for key, part in value.items() if isinstance(part, (dict, list))] if isinstance(value, dict) else []
    return _own_names(value) if len(held) == 1 and names.normal(str(held[0])) in _NAME_KEYS else {}


def _from_yaml(text: str) -> dict[str, str]:
    """Read `names:` of a YOLO data.yaml, in each of its three forms, or a file of nothing but numbers and names."""
    found = re.search(r"^[ \t]*names\s*:[ \t]*(.*)((?:\n(?:[ \t]+.*|[ \t]*-.*|[ \t]*))*)", text, re.MULTILINE)
    if not found:
        lines = [line for line in text.splitlines() if line.strip() and not line.startswith(("#", "---"))]
        pairs = [_NUMBERED.fullmatch(line) for line in lines]
        return {pair[1]: _scalar(pair[2]) for pair in pairs if pair} if all(pairs) else {}
    inline, block = found[1].strip(), found[2]
    if inline[:1] in {"[", "{"}:
        items = _flow_items(text[found.start(1) :])
        if inline.startswith("["):
            return {str(number): item for number, item in enumerate(map(_scalar, items)) if item}
        pairs = [_NUMBERED.match(item) for item in items]
        return {pair[1]: _scalar(pair[2]) for pair in pairs if pair}
    names: dict[str, str] = {}
    for line in block.splitlines():
        if numbered := _NUMBERED.match(line):
            names[numbered[1]] = _scalar(numbered[2])
        elif item := re.match(r"\s*-\s+(.+)", line):
            names[str(len(names))] = _scalar(item[1])
    return names


_NUMBERED: Final = re.compile(r"\s*[\"']?(\d+)[\"']?\s*:\s*(.+)", re.DOTALL)
_QUOTED: Final = re.compile(r"'((?:[^']|'')*)'|\"((?:[^\"\\]|\\.)*)\"", re.DOTALL)
_FLOW: Final = re.compile(r"(?:" + _QUOTED.pattern + r"|(?<![^\s,\[{])#[^\n]*|[^,\[\]{}])*", re.DOTALL)
"""An item of a list in brackets, with the commas and brackets in its quotes."""


def _flow_items(text: str) -> list[str]:
    """Return the items of a list or mapping in brackets, which a text begins with."""
    items, place = list[str](), 1
    while (found := _FLOW.match(text, place)) is not None:
        items.append(found[0].strip())
        place = found.end() + 1
        if text[found.end() : place] != ",":
            break
    return items


def _scalar(text: str) -> str:
    """Return a plain or quoted value of YAML, without the comments around it."""
    text = re.sub(r"^(?:\s*#[^\n]*\n)+", "", text).strip()
    if quoted := _QUOTED.match(text):
        return quoted[1].replace("''", "'") if quoted[1] is not None else re.sub(r"\\(.)", r"\1", quoted[2])
    return re.sub(r"(?:^|\s)#.*", "", text).strip()


def _has_words(rows: Sequence[Sequence[str]], column: int) -> bool:
    return any(not cell.strip().isdigit() for row in rows for cell in row[column : column + 1] if cell.strip())


def _of_several_ids(rows: Sequence[Sequence[str]], name: int) -> dict[str, str]:
    """Return number → name of rows that begin with several numbers: by all of them, where no number means two names."""
    if name < 2 or not all(len(row) > name and all(cell.strip().isdigit() for cell in row[:name]) for row in rows):
        return {}
    first = {row[0].strip(): row[name].strip() for row in rows}
    pairs = {(cell.strip(), row[name].strip()) for row in rows for cell in row[:name]}
    return dict(pairs) if len(dict(pairs)) == len(pairs) else first


def _from_lines(text: str) -> dict[str, str]:
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    if lines and any(names.is_path_header(cell) for cell in re.split(r"[,;\t|]", lines[0])[:-1]):
        return {}  # the header of a list of images
    if not lines or any(len(line) > 200 for line in lines):
        return {}
    header = [names.normal(cell) for cell in re.split(r"[,;\t]", lines[0])]
    if len(header) > 1 and any(
        names.rank(cell, role) is not None for cell in header for role in ("label", "label_id", "label_name")
    ):
        rows = [re.split(r"[,;\t]", line) for line in lines[1:]]
        name = next((number for number in range(1, len(header)) if _has_words(rows, number)), 1)
        if ids := _of_several_ids(rows, name):
            return ids
        lines = [",".join(row[:2]) for row in rows]
        if not all(re.match(r"(?:\d+|n\d{8}|/[mgt]/\w+),", line) for line in lines) and not all(
            re.search(r",\d+$", line) for line in lines
        ):
            return {}
    split = [re.split(r"\s*[,;:\t]\s*|\s+", line, maxsplit=1) for line in lines]
    if all(len(pair) == 2 and re.fullmatch(r"\d+|n\d{8}|/[mgt]/\w+", pair[0]) for pair in split):
        found = {key: label.split(",")[0].strip() for key, label in split}
        if split and split[0][0].startswith("n"):  # lists may also mean the place of a synset
            found |= {str(number): label.split(",")[0].strip() for number, (_, label) in enumerate(split)}
        return found
    backward = [re.split(r"\s*[,;:\t]\s*|\s+(?=\S+$)", line, maxsplit=1) for line in lines]
    if all(len(pair) == 2 and pair[1].isdigit() for pair in backward):
        found = {key: label for label, key in backward}
        return found if len(found) == len(backward) else {}  # one number for several: they are photos
    if (
        len(split[0]) == 2
        and not re.search(r"\d", lines[0])
        and all(pair[0].isdigit() for pair in split[1:])
        and split[1:]
    ):
        return {pair[0]: pair[1].split(",")[0].strip() for pair in split[1:] if len(pair) == 2}  # after a header
    if any(_IMAGE.search(line) for line in lines):
        return {}
    if all(re.fullmatch(r"[\d.\s-]+", line) for line in lines):
        return {}  # boxes of YOLO
    return {str(number): label for number, label in enumerate(lines)}
