"""Tables in texts that are more than a table: Markdown, ARFF, YAML."""

import csv
import io
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from apitorch_desktop.dataset.sources.lists.table import looks_like_path

_MARKDOWN_RULE: Final = re.compile(r":?-+:?")
_BAR: Final = re.compile(r"(?<!\\)\|")
_ATTRIBUTE: Final = re.compile(r"\s*@attribute\s+(?:'([^']*)'|\"([^\"]*)\"|(\S+))\s", re.IGNORECASE)
_DATA: Final = re.compile(r"^[ \t]*@data[ \t\r]*$", re.IGNORECASE | re.MULTILINE)
_TEXT: Final = r"'([^']+)'|\"([^\"]+)\"|([^\s'\"#\[{&*|>-]%s)"
_PAIR: Final = re.compile(rf"(?:{_TEXT % '[^:#]*'}):\s+(?:{_TEXT % '.*'})")
_COMMENT: Final = re.compile(r"(?:^|\s)#.*|^(?:---|\.\.\.)[ \t]*$", re.MULTILINE)


def markdown_table(text: str) -> str:
    """Return the rows of the tables in a Markdown text, as far as they have the columns of the first with a path."""
    header: list[str] = []
    found: list[list[str]] = []
    for table in _markdown_tables(text):
        if any(looks_like_path(cell) for row in table for cell in row) and table[0] == (header or table[0]):
            header = table[0]
            found += table[1:]
    if not found:
        raise ValueError("it has no table of photos")
    return _csv([header, *found])


def _markdown_tables(text: str) -> Iterator[list[list[str]]]:
    """Yield the rows of each table, the header first, without the rule below it."""
    rows: list[list[str]] = []
    for line in [*text.splitlines(), ""]:
        if "|" in line:
            rows.append(_cells(line))
            continue
        if len(rows) > 1 and all(map(_MARKDOWN_RULE.fullmatch, rows[1])):
            yield [rows[0], *rows[2:]]
        rows = []


def _cells(line: str) -> list[str]:
    inner = line.strip().removeprefix("|")
    inner = inner if inner.endswith("\\|") else inner.removesuffix("|")
    return [cell.strip().strip("`*").replace("\\|", "|") for cell in _BAR.split(inner)]


def arff_table(text: str) -> str:
    """Return the rows of an ARFF file of Weka under the names of its attributes."""
    if (data := _DATA.search(text)) is None:
        raise ValueError("it has no line @data")
    found = [_ATTRIBUTE.match(line) for line in text[: data.start()].splitlines()]
    header = ["".join(filter(None, one.groups())) for one in found if one]
    rows = [line for line in text[data.end() :].splitlines() if line.strip() and not line.lstrip().startswith("%")]
    return _csv([header]) + "\n".join(rows)


def yaml_table(text: str) -> str:
    """Return the rows of a YAML text that gives each path of a photo its label, and has one key above them at most."""
    lines = [line.rstrip() for line in _COMMENT.sub("", text).splitlines() if line.strip()]
    if lines and lines[0].endswith(":"):
        del lines[0]
    pairs = [_PAIR.fullmatch(line.strip()) for line in lines]
    rows = [
        ["".join(filter(None, pair.groups()[:3])), "".join(filter(None, pair.groups()[3:]))] for pair in pairs if pair
    ]
    if not rows or not all(pairs) or not all(looks_like_path(path) for path, _ in rows):
        raise ValueError("it does not give each photo its label, as “1.jpg: cat”")
    return _csv(rows)


def _csv(rows: Iterable[list[str]]) -> str:
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerows(rows)
    return stream.getvalue()


TABLES: Final[dict[str, Callable[[str], str]]] = {
    ".md": markdown_table,
    ".markdown": markdown_table,
    ".arff": arff_table,
    ".yaml": yaml_table,
    ".yml": yaml_table,
}
"""Suffix → function that returns the rows in a text, separated by commas. Raises ValueError where there are none."""
