"""Parser of tables in text: of all delimiters and quotings, the one whose columns have the most paths of images."""

import csv
import io
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import PurePosixPath
from typing import Final, Literal

from apitorch_desktop.dataset.sources.lists.index import IMAGE_SUFFIXES
from apitorch_desktop.dataset.sources.lists.names import is_known_header, is_path_header, is_view, split_of
from apitorch_desktop.dataset.sources.name_encoding import decode_text
from apitorch_desktop.dataset.sources.pasted_text import data_image, is_url
from apitorch_desktop.utils.text import restored, shown

Cell = str | tuple[str, ...]
"""A value; several labels of one image are a tuple."""
Located = Callable[[str], bool]

_SAMPLE: Final = 60
_MAX_PREAMBLE: Final = 20
_MAX_TYPED: Final = 3
"""Lines at the begin of a table among which may be types of its columns."""
_MAX_LISTED: Final = 6
_MAX_COLUMNS: Final = 200
"""Columns of a row that are looked at: a text without line ends is one row of a million."""
_SUFFIXES: Final = "|".join(sorted(suffix[1:] for suffix in IMAGE_SUFFIXES))
_PATH_FIRST: Final = re.compile(rf"\s*(.*?\.(?:{_SUFFIXES}))(?:(?:\s*(?:[:=]|[-=]>)\s*|\s+)(.*?))?\s*", re.IGNORECASE)
_PATH_LAST: Final = re.compile(rf"\s*(\S+)\s+(.*\.(?:{_SUFFIXES}))\s*", re.IGNORECASE)
_ODD_WORD: Final = re.compile(r"\w*[^\x00-\x7f](?:\w|[^\x00-\x7f])*")
_JOINED: Final = re.compile(rf"(.+?\.(?:{_SUFFIXES}))_([^\s.]+)", re.IGNORECASE)
"""Name of an image and a class in one cell."""
_TYPE: Final = re.compile(
    r"\[\w\]|string|text|discrete|continuous|numeric|float|int|integer|meta|class|ignore", re.IGNORECASE
)
"""Type of a column, as programs write it below the header."""
_DELIMITERS: Final = (",", ";", "\t", "|", "^")
_QUOTED_LINE: Final = re.compile(r'"(?:[^"]++|"")*+"')
_BOX: Final = re.compile(r"-?\d+(?:\.\d+)?(?:,-?\d+(?:\.\d+)?){4}")
"""x,y,x,y,class of one object."""
_RULE: Final = re.compile(r"[\s|+:=-]*[-=]{3}[\s|+:=-]*|\(\d+ rows?\)")
"""Line under the header of a printed table, and the count of rows below it."""
_NUMBERED_NAME: Final = re.compile(r"([^\W\d_][^\d\s]*(?: [^\W\d_][^\d\s]*)*) (\d+)\s*")
"""Words and one whole number."""
csv.field_size_limit(2**26)  # a cell may hold a whole image as a `data:` address; the default is 128 KiB


@dataclass(slots=True)
class Table:
    """Rows of cells with their line in the text; `header` is empty where there is none."""

    header: list[str]
    rows: list[tuple[int, list[Cell]]]
    delimited: bool = False
    """True where a comma or the like is between the cells, rather than blanks, which a label may have too."""
    boxes: bool = False
    """True where the rows are boxes: the labels of one image are those of the objects in it."""
    sparse: bool = False
    """True where rows come from JSON objects, each with keys of its own: a value may be in another column in every row."""
    guessed: bool = False
    """True where nothing in the list says that its labels are labels: the header was made up."""
    last: str = ""
    """Name of the last column where the list is called after it and has no header: train_test_split.txt."""
    counted: bool = False
    """True where its labels are the numbers of its rows, in their order."""
    by_number: bool = False
    """True where its labels are numbers that nothing in it calls labels, named or not."""
    flags: bool = False
    """True where its labels are names of columns that say yes and no, which may be of anything."""
    unlabeled: bool = False
    """True where a column is called a label, and is empty."""
    above: frozenset[str] = frozenset()
    """Columns of what stands above lists of images in JSON: an album's name rather than an image's label."""
    unread: list[str] = field(default_factory=list)
    """Sentences about rows that were left out; the caller puts the list's name in front."""
    notes: list[str] = field(default_factory=list)
    """Sentences about columns, in the same way."""


def decode(data: bytes) -> str:
    """Decode the text of a list."""
    return decode_guessing(data)[0]


def decode_guessing(data: bytes) -> tuple[str, str]:
    """Decode the text of a list; return it and a sentence about its encoding, "" where that is certain."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", "replace"), ""
    if data[1:2] == b"\0" or data[:1] == b"\0":
        return data.decode("utf-16-le" if data[1:2] == b"\0" else "utf-16-be", "replace"), ""
    text, encoding = decode_text(data)
    if not encoding:
        return text, ""
    odd = list(dict.fromkeys(_ODD_WORD.findall(text)))[:3]
    known = "its encoding is not known, and it was read as cp1252" if encoding == "?" else f"it was read as {encoding}"
    words = f" ({', '.join(f'“{shown(word)}”' for word in odd)})" if odd else ""
    return text, f"it is no UTF-8: {known}{words}. If that is wrong, save it as UTF-8"


def read_table(text: str, locate: Located, alike: str = "") -> Table:
    """Read a table from text. Raises ValueError where no column looks like paths or web addresses.

    `alike`: text of other lists of the same form.
    """
    separator = ""
    if found := re.match(r"sep=(.)\s*(?:\r\n|\r|\n)", text, re.IGNORECASE):
        separator = found[1]
        text = text[found.end() :]
    best: tuple[tuple[float, ...], int, list[tuple[int, list[Cell]]]] | None = None
    delimited = False
    for order, (parse, by_delimiter) in enumerate(_parsers(text, separator, alike)):
        try:
            sample = _first(parse(), _SAMPLE)
        except csv.Error:
            continue
        rank, column = _rank(sample, locate)
        if best is None or (*rank, -order) > best[0]:
            try:
                best = (*rank, -order), column, list(parse())
                delimited = by_delimiter
            except csv.Error:
                continue
    if best is None or not any(best[0][:3]):
        raise ValueError("no column looks like paths or web addresses")
    table = _unfolded(_with_header(best[2], best[1], locate), locate)
    table.delimited = delimited
    return table


def _first(rows: Iterator[tuple[int, list[Cell]]], count: int) -> list[tuple[int, list[Cell]]]:
    return [row for row, _ in zip(rows, range(count), strict=False)]


Parse = Callable[[], Iterator[tuple[int, list[Cell]]]]


def _parsers(text: str, separator: str, alike: str) -> Iterator[tuple[Parse, bool]]:
    """Yield functions that parse the rows, with True where they are split by a delimiter."""
    quotes: list[str | None] = ['"', *([None] if '"' in text else []), *(["'"] if "'" in text else [])]
    for delimiter in [separator] if separator else _DELIMITERS:
        if delimiter in text:
            for quote in quotes:
                yield partial(_delimited, text, delimiter, quote), True
            if any(map(_JOINED.match, text[: 2**12].splitlines()[1:])):
                yield partial(_joined, text, delimiter), True
            if '\\"' in text:
                yield partial(_delimited, text, delimiter, '"', "\\"), True
    if '" "' in text:  # as R writes tables
        yield partial(_delimited, text, " ", '"'), True
    if inner := _unquoted_lines(text):
        for delimiter in _DELIMITERS:
            if delimiter in inner:
                yield partial(_delimited, inner, delimiter, '"'), True
    yield partial(_lines, text, lambda line: [line]), False
    if _has_numbered_names(f"{text}\n{alike}"):
        yield partial(_lines, text, _split_after_name), False
    yield partial(_lines, text, _split_after_path), False
    yield partial(_lines, text, _split_before_path), False
    yield partial(_lines, text, lambda line: list(line.split())), False


def _unquoted_lines(text: str) -> str:
    """Return a table each of whose lines stands in quotes as a whole, without these; "" for another."""
    lines = [line.strip() for line in io.StringIO(text, newline=None)]
    if not all(map(_QUOTED_LINE.fullmatch, filter(None, lines))):
        return ""
    return "\n".join(line[1:-1].replace('""', '"') for line in lines)


def _delimited(
    text: str, delimiter: str, quote: str | None, escape: str | None = None
) -> Iterator[tuple[int, list[Cell]]]:
    quoting: Literal[0, 3] = csv.QUOTE_NONE if quote is None else csv.QUOTE_MINIMAL
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=delimiter, quotechar=quote, quoting=quoting, escapechar=escape
    )
    before = 0
    for cells in reader:
        if any(cell.strip() for cell in cells):
            yield before + 1, [restored(cell) for cell in cells]
        before = reader.line_num


def _joined(text: str, delimiter: str) -> Iterator[tuple[int, list[Cell]]]:
    """Yield the rows of a table that has an image and a class in its first cell, and nothing or 0 behind one that is absent."""
    for line, cells in _delimited(text, delimiter, '"'):
        if found := _JOINED.fullmatch(str(cells[0]).strip()):
            absent = len(cells) > 1 and all(str(cell).strip() in {"", "0"} for cell in cells[1:])
            yield line, [found[1], "" if absent else found[2], *cells[1:]]
        else:
            name, _, label = str(cells[0]).rpartition("_")
            yield line, [name, label, *cells[1:]]


def _lines(text: str, split: Callable[[str], list[Cell]]) -> Iterator[tuple[int, list[Cell]]]:
    for number, line in enumerate(io.StringIO(text, newline=None), 1):
        if line.strip():
            yield number, split(line.rstrip("\n"))


def _split_after_path(line: str) -> list[Cell]:
    found = _PATH_FIRST.fullmatch(line)
    if found is None:
        return list(line.split())
    rest = (found[2] or "").split()
    if rest and all(_BOX.fullmatch(token) for token in rest):
        return [found[1], tuple(dict.fromkeys(token.rpartition(",")[2] for token in rest))]
    return [found[1], *([found[2]] if found[2] and not re.search(r"[\d.]$", found[2]) and len(rest) > 1 else rest)]


def _split_after_name(line: str) -> list[Cell]:
    found = _PATH_FIRST.fullmatch(line)
    return [found[1], found[2]] if found and found[2] else list(line.split(None, 1))


def _has_numbered_names(text: str) -> bool:
    """Return whether lines end in names with numbers, as “Boeing 737”: most have a word, and one word several numbers."""
    numbers: dict[str, set[str]] = {}
    rests = [str(cells[1]) for _, cells in _lines(text[: 2**18], _split_after_name) if len(cells) > 1]
    for rest in rests:
        if found := _NUMBERED_NAME.fullmatch(rest):
            numbers.setdefault(found[1], set()).add(found[2])
    words = sum(re.match(r"[^\W\d_]", rest) is not None and "," not in rest and len(rest) < 60 for rest in rests)
    return words > 0.9 * len(rests) and any(len(several) > 1 for several in numbers.values())


def _split_before_path(line: str) -> list[Cell]:
    found = _PATH_LAST.fullmatch(line)
    return [found[1].rstrip(":"), found[2]] if found else list(line.split(None, 1))


def _rank(rows: list[tuple[int, list[Cell]]], locate: Located) -> tuple[tuple[float, ...], int]:
    """Return how well rows fit (images found, then cells like paths, known columns, even width), and the path column."""
    width = max((len(cells) for _, cells in rows), default=0)
    counts = []
    for column in range(min(width, _MAX_COLUMNS)):
        cells = [cells[column] for _, cells in rows if column < len(cells)]
        found = sum(isinstance(cell, str) and (is_image_address(cell) or locate(_unpadded(cell))) for cell in cells)
        alike = sum(isinstance(cell, str) and looks_like_path(cell) for cell in cells)
        counts.append((found, alike))
    if not counts:
        return (0, 0, 0, 0), 0
    column = max(range(len(counts)), key=lambda number: counts[number])
    headers = [cells[:_MAX_COLUMNS] for _, cells in rows[:5]]
    header = max((sum(map(_is_known, cells)) for cells in headers), default=0)
    known = header if any(_is_known(cell, is_path_header) for cells in headers for cell in cells) else 0
    body = [len(cells) for _, cells in rows if column < len(cells) and looks_like_path(str(cells[column]))] or [0]
    even = body.count(width) / len(body) if width > 1 else 0
    if not any(counts[column]):
        column = next(
            (place for cells in headers for place, cell in enumerate(cells) if _is_known(cell, is_path_header)), 0
        )
    return (*counts[column], known, even), column


def _unpadded(cell: str) -> str:
    """Return a number without the blanks that make a column of them even; anything else as it is."""
    return number if (number := cell.strip()).isdigit() else cell


def _is_known(cell: Cell, known: Callable[[str], bool] = is_known_header) -> bool:
    return isinstance(cell, str) and known(cell.lstrip("#"))


def looks_like_path(cell: str) -> bool:
    """Return True for text that ends in the suffix of an image."""
    return len(cell) < 4096 and PurePosixPath(cell.strip().replace("\\", "/")).suffix.lower() in IMAGE_SUFFIXES


def is_image_address(cell: str) -> bool:
    """Return True for a web address or a `data:` address."""
    return is_url(cell) or (cell[:5].lower() == "data:" and data_image(cell) is not None)


def _with_header(rows: list[tuple[int, list[Cell]]], column: int, locate: Located) -> Table:
    """Make a table of the rows: find its header, and drop the comments and the preamble."""

    def is_image(cells: list[Cell]) -> bool:
        cell = cells[column] if column < len(cells) else ""
        if len(cells) == 1 and isinstance(cell, str) and cell.strip().isdigit():  # rather the count of what follows
            return False
        return isinstance(cell, str) and (looks_like_path(cell) or is_image_address(cell) or locate(cell))

    def is_comment(cells: list[Cell]) -> bool:
        first = cells[0] if cells and isinstance(cells[0], str) else ""
        return first.lstrip().startswith(("#", "//")) and not is_image(cells)

    rows = [
        row
        for place, row in enumerate(rows)
        if not 0 < place < _MAX_TYPED or is_image(row[1]) or not _are_types(row[1])
    ]
    first = next((number for number, (_, cells) in enumerate(rows) if is_image(cells)), len(rows))
    known = next(
        (
            number
            for number, (_, cells) in enumerate(rows[: min(first, _MAX_PREAMBLE)])
            if any(_is_known(cell, is_path_header) for cell in cells[:_MAX_COLUMNS])
            and not (len(cells) == 1 and is_comment(cells))
        ),
        None,
    )
    if known is None:
        before = [number for number in range(min(first, _MAX_PREAMBLE)) if not is_comment(rows[number][1])]
        known = before[-1] if before and first < len(rows) else None
        if known is not None and len(rows[known][1]) <= column:
            known = None
        body = rows[known + 1 if known is not None else 0 if first == len(rows) else first :]
    else:
        body = rows[known + 1 :]
    header = [str(cell).strip().lstrip("#").strip() for cell in rows[known][1]] if known is not None else []
    repeated = rows[known][1] if known is not None else None  # where files were put one behind the other
    return Table(
        header,
        [
            (line, cells)
            for line, cells in body
            if not is_comment(cells) and cells != repeated and not _RULE.fullmatch(" ".join(map(str, cells)).strip())
        ],
    )


def _are_types(cells: list[Cell]) -> bool:
    """Return whether most cells are types of columns."""
    types = sum(_TYPE.fullmatch(str(cell).strip()) is not None for cell in cells)
    return types > max(1, len(cells) // 2)


def _unfolded(table: Table, locate: Located) -> Table:
    """Return a table of columns of images, each below the name of a class, as one with a column of images and one of labels.

    They are of several lengths; else the columns may be of images that belong together, which is noted.
    """
    header = [name.strip() for name in table.header]
    held = [
        (line, name, str(cell)) for line, cells in table.rows for name, cell in zip(header, cells, strict=False) if cell
    ]
    if (
        len(set(header)) < max(2, len(header), *(len(cells) for _, cells in table.rows))
        or any(not name or is_known_header(name) or is_view(name) for name in header)
        or not all(locate(cell.strip()) for _, _, cell in held)
        or len({cell for _, _, cell in held}) < len(held)
    ):
        return table
    listed = ", ".join(f"“{shown(name)}”" for name in header[:_MAX_LISTED])
    if len(held) == len(header) * len(table.rows):
        table.notes.append(
            f"the columns {listed} hold photos: if they are classes, write one photo a line, with its label in a column “label”"
        )
        return table
    what, role = ("parts of the set", "split") if all(map(split_of, header)) else ("labels", "label")
    rows: list[tuple[int, list[Cell]]] = [(line, [cell, name]) for line, name, cell in held]
    return Table(
        ["file", role], rows, notes=[f"the names of the columns {listed} are taken for {what} of the photos in them"]
    )
