"""Roles of a table's columns (path, label, split) by their names and what is in them; and the entries of its rows."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Final

from apitorch_desktop.dataset.sources.lists import names
from apitorch_desktop.dataset.sources.lists.labels_in_values import (
    AXES,
    FRACTION,
    NEUTRALIZED,
    SCORES,
    clean,
    is_empty,
    labels_in,
)
from apitorch_desktop.dataset.sources.lists.table import Cell, Located, Table, is_image_address, looks_like_path
from apitorch_desktop.utils.text import few, plural, restored, shown

_SAMPLE: Final = 300
_MAX_FRACTIONS: Final = 20
_MAX_LISTED: Final = 6
_SAME_SUM: Final = 0.02
"""Share of a sum by which others may differ from it for rounding."""
_MOST: Final = 0.9
"""Share of the rows of a table that have a sum, from which it is that of all."""
_MIN_COMBINATIONS: Final = 3
_MAX_UNNAMED: Final = 5
"""Columns of numbers without names of which the last may be the label: a box and its class."""
_MANY: Final = 20
"""Rows from which a column that differs in each is no class."""
_ONE: Final = names.YES | {"1", "1.0", "x"}
_ZERO: Final = names.NO | {"0", "0.0", "", "-1", "-1.0", "nan"}
_QUALITY: Final = re.compile(r"(?:[iI]s|[hH]as)[\W_A-Z].*|(?:IS|HAS)[\W_].*")
"""Name of a column that asks something about a photo, rather than of a class."""
_LEADING_ZERO: Final = re.compile(r"0\d+")
_CODE: Final = re.compile(r".+(?:[\W_](?:no|nr|num|number|code)|(?<=[a-z])(?:No|Nr|Num|Number|Code))")
"""Name of a column of the numbers by which something is called."""
_NUMBER: Final = re.compile(r"[+-]?\d+(?:[.,]\d+)?(?:e[+-]?\d+)?", re.IGNORECASE)
_FLAGS: Final = {
    **dict.fromkeys(("istrain", "istraining", "intrain", "train", "training"), "train"),
    **dict.fromkeys(("istest", "istesting", "intest", "test", "testing"), "test"),
    **dict.fromkeys(("isval", "isvalid", "isvalidation", "val", "validation"), "validation"),
}
"""Columns that say of each image by yes and no whether it is in a part of the set."""
_NUMBERED_PARTS: Final = {"0": "train", "1": "validation", "2": "test"}
"""Values of a column `partition` or `split`."""
_NUMBERED: Final = frozenset({"partition", "split"})
_STATES: Final = frozenset({
    "favorite", "favourite", "hidden", "deleted", "starred", "flagged", "rejected", "trashed", "archived", "edited",
})  # fmt: skip
"""Columns of yes and no that say of each photo what a program for photos knows, and are no classes."""
_OF_MESSAGES: Final = frozenset({"fromid", "authorid", "senderid", "sendername", "messageid"})
"""Columns of a chat that was exported with its photos: no word in it is a label, unless its column is called so."""
_OF_FILES: Final = frozenset({"mimetype", "filetype", "exiftoolversion", "filetypeextension"})
"""Columns of what a program reads out of photos, in which a quality or a type is the file's."""
WEAK: Final = frozenset({"quality", "type", "kind", "grade", "level", "sort", "product", "object", "objects"})
"""Names of columns that may hold labels, or as well something else about the photos."""
_LOGGED: Final = re.compile(r"[-dlbcps](?:[-r][-w][-xsStT]){3}[.+@]?|\[?\d{1,2}:\d{2}(?::\d{2})?[],]?")
"""Rights of a file, or a time: where a column without a name has them, the table is the listing of a folder, a log, a chat."""
_DATA: Final = re.compile(
    r"[0-9a-f]{32,128}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|\d{1,3}(?:\.\d{1,3}){3}|\S+@\S+\.\w+|"
    r"\[?\d{1,4}[-./:]\d{1,2}[-./:]\d{1,4}\W?(?:[T ]?\d{1,2}:\d{2}\S*)?|\d{1,2}:\d{2}(?::\d{2})?|"
    r"(?:image|video|text|application)/[\w.+-]+",
    re.IGNORECASE,
)
"""Hashes, UUIDs, addresses, dates, times and media types: what stands beside photos and is no label."""
_KINDS: Final = frozenset({"species", "breed", "variety", "variant", "model", "subclass", "subcategory"})
"""Names of columns of kinds within the classes that another column has."""
_IDENTIFIER: Final = re.compile(r"(?=.*\d)(?=.*[-_a-f])[\da-f_-]{8,}", re.IGNORECASE)
_ID_HEADER: Final = re.compile(r".*(?:[a-z]I[Dd]|[\W_][Ii][Dd])")
"""Name of a column of ids of something."""
_POINTS: Final = re.compile(r"-?\d+\.\d+(?:\s*[;, ]\s*-?\d+(?:\.\d+)?)+")
"""Several numbers, as the coordinates of points."""
_MASK: Final = re.compile(r"\d+ \d+(?: \d+ \d+)*")
"""Runs of pixels, each by its begin and length."""
_SEVERAL: Final = frozenset({
    "labels", "tags", "classes", "categories", "annotations", "findinglabels", "keywords", "choices", "classnames",
    "labelnames", "species", "targets", "diagnoses",
})  # fmt: skip
"""Names of columns that hold several labels of an image."""
_TAGS: Final = frozenset({"tags", "keywords"})
"""Names of columns that hold several words about an image."""
_NUMBERS: Final = re.compile(r"\d+(?: \d+)*")
"""Whole numbers, with blanks between them."""


@dataclass(frozen=True, slots=True)
class ListEntry:
    """Image in a list: its path or address as it stands there, its label and part of a split, "" where there is none.

    `line`: its line in the list, or its number. `several`: labels of the objects in it, where they are more than one.
    `guessed`: True where its column is called otherwise, or holds numbers and is not called at all.
    `original`: the name that the image had once, "" where that is not known. `keys`: ids that other lists may call it by.
    `of_album`: True where the label is the name of the list that the image is in, which may be no class: “Holiday”.
    `blank`: True where it has none in a column of labels.
    `scored`: True where a number below 1 beside the label says how sure it is, as a classifier does.
    """

    path: str
    label: str = ""
    split: str = ""
    line: int = 0
    several: tuple[str, ...] = ()
    guessed: bool = False
    of_album: bool = False
    scored: bool = False
    blank: bool = False
    original: str = ""
    keys: tuple[str, ...] = ()


class _Columns:
    """A table's columns, and a sample of their cells."""

    def __init__(self, table: Table, locate: Located) -> None:
        self.table = table
        self.locate = locate
        self.width = max((len(cells) for _, cells in table.rows), default=0)
        self.width = max(self.width, len(table.header))
        missing = [""] * (self.width - len(table.header))
        wide = sum(len(cells) == self.width for _, cells in table.rows)
        # where names stand over all columns but the first, that one holds the paths
        first = len(missing) == 1 and 2 * wide > len(table.rows)
        self.header = [*missing, *table.header] if first else [*table.header, *missing]
        self.sample = [cells for _, cells in table.rows[:_SAMPLE]]

    def values(self, column: int) -> list[Cell]:
        return _values(self.sample, column)

    def located(self, column: int) -> int:
        return sum(
            isinstance(cell, str) and (is_image_address(cell) or find_spelling(cell, self.locate) is not None)
            for cell in self.values(column)
        )

    def numeric(self, column: int) -> bool:
        return _are_numbers(self.values(column))

    def paths(self, column: int) -> bool:
        """Return whether a column holds nothing but names of image files."""
        return all(isinstance(cell, str) and looks_like_path(cell) for cell in self.values(column))

    def holds(self, pattern: re.Pattern[str], column: int) -> bool:
        """Return whether a column holds nothing but text of one form."""
        values = self.values(column)
        return bool(values) and all(isinstance(cell, str) and pattern.fullmatch(cell.strip()) for cell in values)

    def identifies(self, column: int) -> bool:
        """Return whether a column holds hashes and the like, each of one row."""
        values = self.values(column)
        return len(set(values)) == len(values) > 1 and all(_IDENTIFIER.fullmatch(str(value)) for value in values)

    def counts(self, column: int) -> bool:
        """Return whether a column holds the numbers of the rows, or other identifiers of them."""
        if self.identifies(column):
            return True
        values = self.values(column)
        begin = str(values[0]) if values else ""
        return (
            len(values) > 2
            and begin in {"0", "1"}
            and values == [str(int(begin) + place) for place in range(len(values))]
        )

    def codes(self, column: int) -> bool:
        """Return whether a column holds numbers by which something is called, rather than counts of it."""
        zeros = any(_LEADING_ZERO.fullmatch(str(value)) for value in self.values(column))
        return zeros or _CODE.fullmatch(self.header[column]) is not None

    def distinct(self, column: int) -> int:
        return len(set(self.values(column)))

    def note_values(self, column: int, values: Iterable[str], what: str) -> None:
        """Notify of values that are not what a column is taken for."""
        distinct = set(values)
        are = "is no" if len(distinct) == 1 else "are no"
        self.table.notes.append(f"{few(distinct)} in the column “{shown(self.header[column])}” {are} {what}")

    def role(self, role: str) -> list[int]:
        """Columns that may have a role by their names, the most usual name first."""
        ranked = [(names.rank(name, role), column) for column, name in enumerate(self.header) if name]
        return [column for _, column in sorted((rank, column) for rank, column in ranked if rank is not None)]


def _values(rows: Iterable[Sequence[Cell]], column: int) -> list[Cell]:
    return [cells[column] for cells in rows if column < len(cells) and not is_empty(cells[column])]


def _are_numbers(values: Sequence[Cell]) -> bool:
    return bool(values) and all(isinstance(cell, str) and _NUMBER.fullmatch(cell.strip()) for cell in values)


def point_columns(header: Sequence[str], rows: Sequence[Sequence[Cell]], path: int) -> set[int]:
    """Return the columns x and y of points, numbers both. A column y by itself may be a label, and x the path."""
    points: dict[str, dict[str, int]] = {}
    for column, name in enumerate(header):
        stem, _, axis = name.rpartition(".")
        if column != path and names.normal(axis) in AXES and _are_numbers(_values(rows, column)):
            points.setdefault(stem, {})[names.normal(axis)] = column
    return {column for axes in points.values() if axes.keys() >= AXES for column in axes.values()}


def find_spelling(cell: str, locate: Located) -> str | None:
    """Return a path as it is found: as it stands, without spaces around it, or without an export's mark."""
    for spelled in (cell, cell.strip(), NEUTRALIZED.sub("", cell, count=1)):
        if spelled and locate(spelled):
            return spelled
    return None


def entries_of(table: Table, locate: Located, class_names: Mapping[str, str] | None = None) -> list[ListEntry]:
    """Return the entries of a table. Raises ValueError with the reason where no column holds images."""
    columns = _Columns(table, locate)
    path = _path_column(columns)
    if path is None:
        raise ValueError("no column looks like paths or web addresses")
    folder = _folder_column(columns, path)
    split = _split_column(columns, path)
    points = point_columns(columns.header, columns.sample, path)
    labels, one_hot = _label_columns(columns, {path, split, folder, *points}, path)
    of_album = bool(labels) and table.above.issuperset(columns.header[column] for column in labels)
    paths = [path, *(columns.role("path") if table.sparse else ())]
    more = _more_labels(columns, labels, {path, split, folder}) if not table.header else []
    entries = list(_entries(columns, _Roles(paths, labels, more, one_hot, folder, split)))
    numbers = 0 if table.header else sum(columns.numeric(column) for column in range(columns.width))
    if table.boxes or columns.role("box") or points or numbers >= 4:
        entries = join_objects(entries)
    entries = _distinct(entries)
    header = columns.header[labels[0]] if labels else ""
    of_label = names.is_label_header(header) or names.rank(header, "label_id") is not None
    made_up = table.guessed or not header  # words without a name are labels, numbers are anything
    numbers_only = all(entry.label.isdigit() for entry in entries if entry.label)
    guessed = bool(labels) and (made_up or not of_label) and (numbers_only or not made_up)
    parts = [cell for column in one_hot for cell in columns.values(column) if FRACTION.fullmatch(str(cell).strip())]
    table.by_number = guessed and numbers_only
    table.counted = not table.header and bool(labels) and _count_rows(table, labels[0])
    scored = bool(parts) or (bool(labels) and _is_scored(columns))
    if of_album or guessed or scored:
        entries = [replace(entry, guessed=guessed, of_album=of_album, scored=scored) for entry in entries]
    if labels and (of_label or not table.header) and not guessed:
        entries = [entry if entry.label or entry.several else replace(entry, blank=True) for entry in entries]
    return named(entries, class_names or {})


def _count_rows(table: Table, column: int) -> bool:
    values = [str(cells[column]).strip() if column < len(cells) else "" for _, cells in table.rows]
    return any(values == [str(number) for number in range(first, first + len(values))] for first in (0, 1))


def _key_columns(columns: _Columns, taken: Iterable[int | None], path: int) -> list[int]:
    """Return the columns of ids, each of one row."""
    if columns.table.header:
        chosen = [
            column
            for column, header in enumerate(columns.header)
            if names.normal(header) == "id" or _ID_HEADER.fullmatch(header)
        ]
    else:
        chosen = [0] if path == 1 else []
    rows = columns.table.rows
    return [
        column
        for column in chosen
        if column != path
        and column not in taken
        and len({cells[column] for _, cells in rows if column < len(cells)}) == len(rows)
    ]


def _is_scored(columns: _Columns) -> bool:
    """Return whether a column says of the labels how sure they are, rather than of answers in a column of their own."""
    headers = [names.normal(header) for header in columns.header]
    if any("pred" in name for name in headers):
        return False
    for column in [column for column, name in enumerate(headers) if name in SCORES and columns.numeric(column)]:
        scores = [float(str(cell).strip().replace(",", ".")) for cell in columns.values(column)]
        if all(0 <= score <= 1 for score in scores) and any(0 < score < 1 for score in scores):
            return True
    return False


@dataclass(slots=True)
class _Roles:
    """Columns by their role; of several paths or labels, the first that is not empty counts, and all of `more_labels`."""

    paths: list[int]
    labels: list[int]
    more_labels: list[int]
    one_hot: list[int]
    folder: int | None
    split: int | None


def join_objects(entries: Sequence[ListEntry]) -> list[ListEntry]:
    """Return one entry for each image: with the label of its only class, or with all labels of its objects."""
    grouped: dict[str, list[ListEntry]] = {}
    for entry in entries:
        grouped.setdefault(entry.path, []).append(entry)
    joined = []
    for path, group in grouped.items():
        labels = tuple(dict.fromkeys(label for entry in group for label in (entry.several or (entry.label,)) if label))
        only = labels[0] if len(labels) == 1 else ""
        several = labels if len(labels) > 1 else ()
        joined.append(ListEntry(path, only, group[0].split, group[0].line, several, original=group[0].original))
    return joined


def named(entries: list[ListEntry], class_names: Mapping[str, str]) -> list[ListEntry]:
    """Return entries with names in place of the numbers of classes, where every number has one."""
    used = {label for entry in entries for label in (*entry.several, entry.label) if label}
    if not used or not class_names:
        return entries
    if not used <= class_names.keys():
        one_based = {str(int(key) + 1): name for key, name in class_names.items() if key.isdigit()}
        if not used <= one_based.keys():
            return entries
        class_names = one_based
    return [
        replace(
            entry,
            label=class_names.get(entry.label, ""),
            several=tuple(class_names[label] for label in entry.several),
            guessed=False,
        )
        for entry in entries
    ]


def _distinct(entries: list[ListEntry]) -> list[ListEntry]:
    """Leave out what is listed twice with one label: the rows of several objects, or of several annotators."""
    seen: set[tuple[str, str]] = set()
    labeled = {entry.path for entry in entries if entry.label}
    kept = []
    for entry in entries:
        if (entry.path, entry.label) not in seen and (entry.label or entry.path not in labeled):
            seen.add((entry.path, entry.label))
            kept.append(entry)
    return kept


def _path_column(columns: _Columns) -> int | None:
    ranked = columns.role("path")
    counts = {column: columns.located(column) for column in range(columns.width)}
    alike = {
        column: sum(isinstance(cell, str) and looks_like_path(cell) for cell in columns.values(column))
        for column in range(columns.width)
    }

    def rank(column: int) -> tuple[int, int, int, int]:
        there = sum(isinstance(cell, str) and columns.locate(cell) for cell in columns.values(column))
        return counts[column], there, alike[column], -ranked.index(column) if column in ranked else -1000

    best = max(range(columns.width), key=rank, default=None)
    if best is None:
        return None
    if counts[best] or alike[best]:
        return best
    return next((column for column in ranked if names.is_path_header(columns.header[column])), None)


def _folder_column(columns: _Columns, path: int) -> int | None:
    """The column of folders, where paths are found with it before them only."""
    found = columns.located(path)
    for column in columns.role("folder"):
        joined = [
            f"{cells[column]}/{cells[path]}".strip()
            for _, cells in columns.table.rows[:_SAMPLE]
            if max(column, path) < len(cells)
        ]
        if sum(columns.locate(one) for one in joined) > found:
            return column
    return None


def _split_column(columns: _Columns, path: int) -> int | None:
    """The column whose values are parts of a split, by its name or without."""
    by_name = columns.role("split")
    of_labels = [column for column, header in enumerate(columns.header) if names.is_label_header(header)]
    only_label = of_labels if len(of_labels) == 1 else []  # “train” may be a label
    for column in [*by_name, *(one for one in range(columns.width) if one not in (*by_name, *only_label))]:
        values = {value for value in columns.values(column) if isinstance(value, str)}
        parts = {names.split_of(value) or ("none" if value.lower() == "unassigned" else "") for value in values}
        if column == path or not parts or "" in parts:
            continue
        if column in by_name or not columns.header[column] or len(parts) > 1:
            return column
    for column in by_name:
        values = {value.strip() for value in columns.values(column) if isinstance(value, str)}
        if column != path and any(map(names.split_of, values)):
            columns.note_values(column, [value for value in values if not names.split_of(value)], "known part of a set")
            return column
    headers = [names.normal(header) for header in columns.header]
    for column in by_name:
        numbers = set(columns.values(column))
        if headers[column] not in _NUMBERED or not numbers or not numbers <= _NUMBERED_PARTS.keys():
            continue
        if headers[column] == "partition" or "2" in numbers:
            return column
        columns.note_values(column, map(str, numbers), "known part of a set")
    last = columns.width - 1
    if columns.table.last and columns.width == 2 and path == 0:
        values = {str(value) for value in columns.values(last)}
        if values and values <= ({"0", "1"} if columns.table.last in _FLAGS else _NUMBERED_PARTS.keys()):
            columns.header[last] = columns.table.last
            return last
    flags = [column for column in range(columns.width) if column != path and _is_flag(columns, column)]
    for column in flags:  # a flag “test” among others may be a class
        if headers[column] in _FLAGS and (headers[column].startswith(("is", "in")) or len(flags) == 1):
            return column
    return None


def _is_flag(columns: _Columns, column: int) -> bool:
    values = columns.values(column)
    return bool(values) and all(isinstance(value, str) and value.strip().lower() in _ONE | _ZERO for value in values)


def _part_of(header: str, value: str) -> str:
    """Return the part of a split that a cell in the column of parts means."""
    name, value = names.normal(header), value.strip()
    if part := names.split_of(value):
        return part
    if name in _NUMBERED:
        return _NUMBERED_PARTS.get(value, "")
    if (part := _FLAGS.get(name, "")) and value:
        return part if value.lower() in _ONE else "test" if part == "train" else "train"
    return ""


def _separator(columns: _Columns, labels: list[int], path: int) -> str:
    """Return what stands between several labels in one cell, "" where cells hold one each.

    Each is the label of another image too, or in lines without a header the folder of one. Words with blanks between
    them are rather one label: there, one of them is the folder of the image, which others have alone, or there are several
    combinations of them, or the column is one of tags, and each cell has a word that stands in another mix. Numbers are
    always several.
    """
    if not labels:
        return ""
    placed = {
        (cell.strip(), PurePosixPath(str(row[path]).replace("\\", "/")).parent.name)
        for _, row in columns.table.rows
        if max(labels[0], path) < len(row) and isinstance(cell := row[labels[0]], str)
    }
    cells = {cell for cell, _ in placed}
    header = names.normal(columns.header[labels[0]])
    if (header in _SEVERAL or header.endswith("ids")) and columns.holds(_NUMBERS, labels[0]):
        return " "
    plural = header in _SEVERAL
    lines = not columns.table.header and labels[0] > path
    folders = {folder for _, folder in placed} if lines else set()
    for separator in ("|", ";", ",", " "):
        held = [cell for cell in cells if separator in cell]
        joined = [[part.strip() for part in cell.split(separator)] for cell in held]
        if not joined or any(cell[:1] in "[{" for cell in cells) or not all(all(parts) for parts in joined):
            continue
        alone = [[part in cells or part in folders for part in parts] for parts in joined]
        known = all(map(all, alone)) or (separator == "|" and any(map(any, alone)))
        blank = separator == " "
        spaced = not blank or (any("_" in cell for cell in held) and all(map(any, alone)))
        of_folder = all(folder in cell.split(separator) for cell, folder in placed if separator in cell)
        combined = len(held) >= _MIN_COMBINATIONS or of_folder
        joint = lines and blank and of_folder and any(cell == folder for cell, folder in placed)
        if (plural and (known or spaced)) or (known and (not blank or (lines and combined))) or joint:
            return separator
    if any(re.search(r"[|;,\[{]", cell) for cell in cells):
        return ""
    mixes = [cell.split() for cell in cells]
    if (header in _TAGS and _are_mixed(mixes, alone=True)) or (
        header in _SEVERAL - _KINDS and len(mixes) >= _MIN_COMBINATIONS and _are_mixed(mixes, alone=False)
    ):
        columns.table.notes.append(f"each word in the column “{shown(columns.header[labels[0]])}” is taken for a label")
        return " "
    return ""


def _are_mixed(mixes: Sequence[Sequence[str]], *, alone: bool) -> bool:
    """Return whether each mix of words has one that stands elsewhere in others, and so is no part of a name.

    `alone`: one that is all of another mix will do.
    """
    places: dict[str, list[tuple[int, int]]] = {}
    for mix in mixes:
        for place, word in enumerate(mix):
            places.setdefault(word, []).append((place, len(mix) - place))
    moving = {word for word, held in places.items() if all(len(set(one)) > 1 for one in zip(*held, strict=True))}
    moving |= {mix[0] for mix in mixes if alone and len(mix) == 1}
    several = [mix for mix in mixes if len(mix) > 1]
    return bool(several) and all(moving.intersection(mix) for mix in several)


def _label_columns(columns: _Columns, taken: set[int | None], path: int) -> tuple[list[int], list[int]]:
    """Return the columns of labels, of which the first that is not empty counts, or the columns of a one-hot table."""
    free = [
        column
        for column in range(columns.width)
        if column not in taken
        and column not in columns.role("box")
        and columns.values(column)
        and (columns.numeric(column) or not (columns.located(column) and columns.located(path)))  # 1 is no 1.jpg
        and not columns.paths(column)  # of the masks of the images
    ]
    headers = [names.normal(header) for header in columns.header]
    logged = not columns.table.header and any(columns.holds(_LOGGED, column) for column in free)
    chat = _OF_MESSAGES.intersection(headers)
    if logged or (chat and not any(names.is_label_header(columns.header[column]) for column in free)):
        return [], []
    of_files = bool(_OF_FILES.intersection(headers))
    constant = {
        column for column in free if columns.distinct(column) == 1 < min(len(columns.values(column)), len(free))
    }
    free = [column for column in free if headers[column] not in WEAK or not (of_files or column in constant)]
    known = [column for role in names.LABEL_ROLES for column in columns.role(role) if column in free]
    known.sort(key=columns.numeric)  # names before numbers
    of_classes = [*columns.role("label"), *columns.role("label_id")]
    one_hot = _one_hot(columns, [column for column in free if column not in of_classes])
    if known and not (one_hot and known[0] in of_classes and _correspond(columns, known[0], *one_hot)):
        if (finer := _finer(columns, known)) is not None:
            known.insert(0, finer)
        words = [column for column in free if not columns.numeric(column)]
        known = [
            *(column for column in words if columns.numeric(known[0]) and _correspond(columns, known[0], column)),
            *known,
        ]
        return (known if columns.table.sparse else known[:1]), []
    if scores := _score_columns(columns, free):
        return [], scores
    flags = one_hot if not columns.table.sparse and _are_flags(columns, one_hot, free) else []
    if one_hot and not flags:
        columns.table.flags = not _is_one_class(columns, one_hot)
        return [], one_hot
    named_labels = [column for role in ("label_name", "label") for column in columns.role(role)]
    empty = [column for column in named_labels if columns.table.header and not columns.values(column)]
    columns.table.unlabeled = any(names.is_label_header(columns.header[column]) for column in empty)
    if of_files or empty:
        return [], []
    for column in [column for column in free if columns.table.header and columns.holds(_MASK, column)]:
        free.remove(column)
        columns.table.notes.append(f"the masks in the column “{shown(columns.header[column])}” are no labels")
    free = [column for column in free if not columns.holds(_DATA, column) and not columns.holds(_POINTS, column)]
    free = [column for column in free if not _ID_HEADER.fullmatch(columns.header[column])]
    if columns.table.header:
        free = [column for column in free if not columns.identifies(column)]
    else:
        free = [column for column in free if column > path or not columns.counts(column)]
    guessed = (_guess_by_header if columns.table.header else _guess_by_place)(columns, free)
    guessed = guessed or _titles(columns, path)
    if columns.table.header and not columns.table.sparse:
        if guessed:
            _note_ids(columns, guessed[0], (*taken, path))
        else:
            _note_candidates(columns, path, free, flags)
    return guessed, []


def _note_ids(columns: _Columns, guessed: int, taken: Iterable[int | None]) -> None:
    """Notify of columns of ids that repeat, beside one of numbers that is taken for the labels."""
    ids = [
        column
        for column, header in enumerate(columns.header)
        if column not in (guessed, *taken)
        and _ID_HEADER.fullmatch(header)
        and 1 < columns.distinct(column) < len(columns.values(column))
    ]
    if ids and columns.numeric(guessed):
        columns.table.notes.append(
            f"the labels are those of the column “{shown(columns.header[guessed])}”, not of {', '.join(_listed(columns, ids))}"
        )


def _note_candidates(columns: _Columns, path: int, free: list[int], flags: list[int]) -> None:
    """Notify of columns without a usual name that may be labels: rather words and numbers that repeat, else any numbers."""
    unknown = [
        column
        for column in free
        if column not in flags
        and names.rank(columns.header[column], "other") is None
        and names.normal(columns.header[column]) != "id"
        and columns.distinct(column) > 1
        and not any(looks_like_path(str(cell)) for cell in columns.values(column))
    ]
    words = [column for column in unknown if not columns.numeric(column)]
    fractions = {
        column for column in unknown if any(FRACTION.fullmatch(str(cell).strip()) for cell in columns.values(column))
    }
    if fractions and not words and path not in columns.role("path") and _count_rows(columns.table, path):
        return  # of epochs, not of photos
    numbers = [
        column
        for column in unknown
        if column not in fractions
        and columns.distinct(column) < len(columns.values(column))
        and not columns.codes(column)
    ]
    if candidates := [column for column in unknown if column in words or column in numbers] if words else unknown:
        listed = ("one of " if len(candidates) > 1 else "") + ", ".join(_listed(columns, candidates))
        left = (
            f"; {', '.join(_listed(columns, flags))} say yes and no, and are taken for no labels beside it"
            if flags
            else ""
        )
        columns.table.notes.append(f"no column is called “label”: if {listed} holds the labels, rename it{left}")


def _listed(columns: _Columns, chosen: list[int]) -> list[str]:
    """Return the quoted names of columns in their order, of many the first and “…”."""
    quoted = [f"“{shown(columns.header[column])}”" for column in chosen[:_MAX_LISTED]]
    return [*quoted, "…"] if len(chosen) > _MAX_LISTED else quoted


def _titles(columns: _Columns, path: int) -> list[int]:
    """Return the columns of titles of lists of nothing but paths."""
    above = columns.table.above
    titles = [column for column, name in enumerate(columns.header) if name in above and names.normal(name) == "title"]
    return titles if columns.header[path] in above else []


def _is_finer(columns: _Columns, column: int, than: int) -> bool:
    """Return whether each value of a column is in one value of another, which holds several."""
    pairs = {(cells[than], cells[column]) for cells in columns.sample if max(than, column) < len(cells)}
    return columns.distinct(column) == len(pairs) > columns.distinct(than)


def _finer(columns: _Columns, known: list[int]) -> int | None:
    """Return the column of kinds of what is in the first of several columns of labels: species of classes of animals.

    Of others of words, the label is chosen by the name of its column, which is noted.
    """
    first = known[0]
    others = [column for column in known[1:] if column in columns.role("label") and not columns.numeric(column)]
    if columns.table.sparse:
        return None
    for column in columns.role("label_id") if columns.numeric(first) else ():
        if column in known and _is_finer(columns, column, first):
            return column
    if columns.numeric(first):
        return None
    for column in others:
        if (
            _is_finer(columns, column, first)
            and names.normal(columns.header[column]) in _KINDS
            and first in columns.role("label")
        ):
            return column
    if passed := [f"“{shown(columns.header[column])}”" for column in others if columns.distinct(column) > 1]:
        columns.table.notes.append(
            f"the labels are those of the column “{shown(columns.header[first])}”, not of {', '.join(passed[:3])}"
        )
    return None


def _correspond(columns: _Columns, first: int, *others: int) -> bool:
    """Return whether columns say the same in other words: each value of the first has its own in all the others."""
    rows = [cells for _, cells in columns.table.rows if max(first, *others) < len(cells)]
    pairs = {(cells[first], tuple(cells[other] for other in others)) for cells in rows}
    return len({one for one, _ in pairs}) == len({other for _, other in pairs}) == len(pairs) > 1 and len(pairs) < len(
        rows
    )


def _guess_by_header(columns: _Columns, free: list[int]) -> list[int]:
    """Return the only column of words that may be labels, else the only one of numbers with few values."""
    words = [
        column for column in free if not columns.numeric(column) and names.rank(columns.header[column], "other") is None
    ]
    few = [column for column in words if columns.distinct(column) <= max(2, len(columns.values(column)) // 2)]
    if len(words) == len(free):  # beside numbers, a table is rather about the photos
        few = [column for column in few if columns.distinct(column) > 1] or few
    found = few if len(words) > 1 else words
    if len(found) == 1 and columns.distinct(found[0]) == 1 < len(words):  # the same for all, beside others
        found = []
    if len(found) == 1 and columns.distinct(found[0]) == len(columns.values(found[0])) >= _MANY:  # each its own
        found = []
    if (
        not words
        and len(free) == 1
        and columns.numeric(free[0])
        and names.rank(columns.header[free[0]], "other") is None
    ):
        identifies = names.rank(columns.header[free[0]], "path") is not None
        least = 0 if identifies else 2
        found = free if columns.distinct(free[0]) <= max(least, len(columns.values(free[0])) // 2) else []
    return found if len(found) == 1 else []


def _guess_by_place(columns: _Columns, free: list[int]) -> list[int]:
    """Return the fullest column of words, of which the one with the fewest values, else a last column of numbers."""
    words = [column for column in free if not columns.numeric(column)]
    if words:
        return [min(words, key=lambda column: (-len(columns.values(column)), columns.distinct(column)))]
    if len(free) > _MAX_UNNAMED:
        columns.table.notes.append(
            f"{len(free)} columns of numbers have no names: write a line of names above them, with “label” for the labels"
        )
        return []
    return free[-1:] if len(free) != 4 else []  # four numbers are a box


def _more_labels(columns: _Columns, labels: list[int], taken: set[int | None]) -> list[int]:
    """Return columns of further labels of an image: they hold labels that other images have, or end rows of several lengths."""
    known = {cell for column in labels for cell in columns.values(column)}
    free = [column for column in range(columns.width) if column not in taken and column not in labels]
    free = [column for column in free if not columns.numeric(column) and known]
    lengths = {len(cells) for cells in columns.sample}
    first = max((*labels, *(column for column in taken if column is not None)), default=0)
    if columns.table.delimited and len(lengths) > 1 and not any(map(columns.numeric, labels)):
        ends = [column for column in range(first + 1, columns.width) if column >= min(lengths)]
        directly = min(lengths) <= first + 1
        if directly and ends and set(ends) <= set(free) and not any(columns.holds(_DATA, column) for column in ends):
            return ends
    return [column for column in free if known.issuperset(columns.values(column) or [""])]


def _one_hot(columns: _Columns, free: list[int]) -> list[int]:
    """Columns that hold nothing but 0 and 1, at least two of them; one record alone is no table."""
    if columns.table.sparse and len(columns.table.rows) < 2:
        return []
    found = [
        column
        for column in free
        if columns.header[column]
        and names.normal(columns.header[column]) not in _STATES
        and columns.role("box").count(column) == 0
        and all(isinstance(value, str) and value.strip().lower() in _ONE | _ZERO for value in columns.values(column))
    ]
    return found if len(found) > 1 else []


def _is_one_class(columns: _Columns, one_hot: Sequence[int]) -> bool:
    """Return whether columns of yes and no are classes, of which each image has one."""
    asked = any(_QUALITY.fullmatch(columns.header[column]) for column in one_hot)
    return not asked and all(len(_chosen(cells, one_hot)) == 1 for _, cells in columns.table.rows)


def _are_flags(columns: _Columns, one_hot: Sequence[int], free: Iterable[int]) -> bool:
    """Return whether columns say by words what is true of an image, beside a column of other words that may be its label."""
    said = {str(value).strip().lower() for column in one_hot for value in columns.values(column)}
    if not one_hot or not said <= names.YES | names.NO or _is_one_class(columns, one_hot):
        return False
    return any(
        column not in one_hot
        and not columns.numeric(column)
        and 1 < columns.distinct(column) < len(columns.values(column))
        and names.rank(columns.header[column], "other") is None
        and not _ID_HEADER.fullmatch(columns.header[column])
        and not any(columns.holds(pattern, column) for pattern in (_DATA, _POINTS, _MASK))
        for column in free
    )


def _chosen(cells: Sequence[Cell], one_hot: Iterable[int]) -> list[int]:
    """Return the columns of yes and no that say yes in a row."""
    return [column for column in one_hot if str(_first_of(cells, [column])).strip().lower() in _ONE]


def _score_columns(columns: _Columns, free: list[int]) -> list[int]:
    """Return the columns of votes for classes, or of their probabilities: those of a row come to the same sum."""
    found = [
        column
        for column in free
        if columns.header[column]
        and columns.numeric(column)
        and columns.distinct(column) > 1
        and names.rank(columns.header[column], "other") is None
        and not columns.codes(column)
    ]
    rows = [_scores(cells, found) for _, cells in columns.table.rows]
    values = {value for row in rows for value in row}
    if len(found) < 2 or len(rows) < 2 or min(values) < 0 or values <= {0, 1}:
        return []
    total = sum(rows[0])
    same = sum(abs(sum(row) - total) <= _SAME_SUM * total for row in rows)
    return found if total > 0 and same >= _MOST * len(rows) else []


def _scores(cells: Sequence[Cell], found: Sequence[int]) -> list[float]:
    return [_number(str(_first_of(cells, [column]))) for column in found]


def _are_scores(columns: _Columns, one_hot: Sequence[int]) -> bool:
    """Return whether columns of classes hold more than yes and no."""
    return any(str(value).strip().lower() not in _ONE | _ZERO for column in one_hot for value in columns.values(column))


def _number(cell: str) -> float:
    """Return a number with a decimal point or comma; 0 for anything else."""
    return float(cell.strip().replace(",", ".")) if _NUMBER.fullmatch(cell.strip()) else 0.0


def _highest(columns: _Columns, cells: Sequence[Cell], scores: Sequence[int]) -> list[str]:
    """Return the label with the highest score, none where several have it."""
    values = _scores(cells, scores)
    highest = max(values)
    return [columns.header[scores[values.index(highest)]].strip()] if values.count(highest) == 1 else []


def _entries(columns: _Columns, roles: _Roles) -> Iterator[ListEntry]:
    whole_numbers = bool(roles.labels) and columns.numeric(roles.labels[0])
    denying = _denying_column(columns)
    denied: list[str] = []
    fractions = whole_numbers and _has_fractions(columns, roles.labels[0])
    separator = _separator(columns, roles.labels, roles.paths[0])
    originals = [column for column in columns.role("original") if column not in roles.paths]
    key_columns = _key_columns(columns, (*roles.labels, roles.split, roles.folder), roles.paths[0])
    scores, tied = _are_scores(columns, roles.one_hot), 0
    for number, (line, cells) in enumerate(columns.table.rows, 1):
        path = _first_of(cells, roles.paths)
        if not isinstance(path, str) or not path.strip():
            columns.table.unread.append(f"line {line or number} names no photo")
            continue
        if roles.folder is not None and (folder := _first_of(cells, [roles.folder])):
            path = f"{folder}/{path}"
        path = find_spelling(path, columns.locate) or path.strip()
        original = restored(str(_first_of(cells, originals)).strip()).replace("\\", "/").rpartition("/")[2]
        split = ""
        if roles.split is not None:
            split = _part_of(columns.header[roles.split], str(_first_of(cells, [roles.split])))
        several = False
        if roles.one_hot and scores:
            labels = _highest(columns, cells, roles.one_hot)
            tied += not labels
        elif roles.one_hot:
            labels = [columns.header[column].strip() for column in _chosen(cells, roles.one_hot)]
        else:
            cell = _first_of(cells, roles.labels)
            labels, several = ([clean(str(cell))], False) if fractions and cell else labels_in(cell)
            if separator and not several:
                labels = list(dict.fromkeys(part.strip() for label in labels for part in label.split(separator)))
            labels += [label for column in roles.more_labels for label in labels_in(_first_of(cells, [column]))[0]]
        if denying is not None and labels and str(_first_of(cells, [denying])).strip() in _ZERO:
            denied += labels
            labels = []
        if whole_numbers:
            labels = [re.sub(r"[.,]0+$", "", label) for label in labels]
        keys = tuple(str(cells[column]).strip() for column in key_columns if column < len(cells))
        if several and len(labels) > 1:
            yield ListEntry(path, "", split, line or number, tuple(labels), original=original, keys=keys)
        else:
            for label in labels or [""]:
                yield ListEntry(path, label, split, line or number, original=original, keys=keys)
    if scores:
        none = f"; {plural(tied, 'photo')} where several are as high got no label" if tied else ""
        columns.table.notes.append(
            f"the label is the highest of the columns {', '.join(_listed(columns, roles.one_hot))}{none}"
        )
    if denied:
        are = "is" if len(denied) == 1 else "are"
        columns.table.notes.append(f"{plural(len(denied), 'label')} of a confidence of 0 {are} left out")


def _denying_column(columns: _Columns) -> int | None:
    """The column of confidence, where it says of each row by 1 and 0 whether the image has the label or has it not."""
    for column, header in enumerate(columns.header):
        values = {str(value).strip() for value in columns.values(column)}
        if names.normal(header) == "confidence" and len(values) == 2 and len(values & _ONE) == len(values & _ZERO) == 1:
            return column
    return None


def _has_fractions(columns: _Columns, column: int) -> bool:
    """Return whether numbers with decimals are labels: few of them in a column of labels, beside whole ones."""
    values = {str(value).strip() for value in columns.values(column)}
    fractions = {value for value in values if FRACTION.fullmatch(value)}
    if not fractions or (column not in columns.role("label") and column not in columns.role("label_name")):
        return False
    if fractions == values or len(values) > _MAX_FRACTIONS:
        columns.note_values(column, fractions, "label, as a number with decimals")
        return False
    return True


def _first_of(cells: Sequence[Cell], columns: Sequence[int]) -> Cell:
    return next((cells[column] for column in columns if column < len(cells) and not is_empty(cells[column])), "")
