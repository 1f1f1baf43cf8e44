"""Numbers, sizes, durations and names formatted for the user."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from unicodedata import category

_FORMULA = re.compile(r"'*[=+\-@\t\r\n＝＋－＠]")
"""Beginnings that spreadsheets evaluate or strip (OWASP, CSV injection), after any number of apostrophes."""

_JOINERS = "\u200c\u200d"
"""Of Persian words and of emoji."""


def plural(count: int, one: str, many: str = "") -> str:
    """Return `3 photos` or `1 photo`; `many` is for plurals other than `one` with an s."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def percent(share: float) -> str:
    """Format a share in percent: only exactly 1 is 100 %, and only exactly 0 is 0 %."""
    if share <= 0 or share >= 1:
        return f"{min(1, max(0, share)) * 100:.0f} %"
    return f"{min(99, max(1, round(share * 100)))} %"


def size(count: float) -> str:
    """Format bytes in decimal units, as file managers do: `112 kB`, `1.8 MB`."""
    for unit in ("bytes", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit != "MB" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


def duration(seconds: float) -> str:
    """Format an estimated duration: `5 s`, `2 min`, `1 h 20 min`."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def shown(name: str) -> str:
    """Format a name for one line: undecodable bytes, control characters and line breaks are replaced."""
    text = os.fsencode(name).decode("utf-8", "replace") if _has_surrogates(name) else name
    return "".join(char if char.isprintable() else _visible(char) for char in text)


def cleaned(sentence: str) -> str:
    """Return a sentence for a terminal, with names of anybody in it: no line break, escape or change of direction is left.

    Other than by `shown`, spaces of any width stay, and what joins letters.
    """
    return "".join(char if char in _JOINERS or category(char) == "Zs" else shown(char) for char in sentence)


def natural(name: str) -> list[tuple[int, int, str]]:
    """Return a key that sorts names as people do: `a2` before `a10`, capitals beside small letters."""
    return [
        (0, int(part), part) if part.isascii() and part.isdigit() and len(part) < 4000 else (1, 0, part.casefold())
        for part in re.split(r"([0-9]+)", name)
        if part
    ]


def few(names: Iterable[str]) -> str:
    """Return the first three of different names, each in quotation marks, for a sentence."""
    distinct = sorted(set(names), key=natural)
    return ", ".join(f"“{shown(name)}”" for name in distinct[:3]) + (", …" if len(distinct) > 3 else "")


def decoded(name: str) -> str:
    """Return a word of the command line as text: UTF-8 in every locale, else as the locale or Windows-1252 has it."""
    data = os.fsencode(name)
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.decode("cp1252", "replace") if _has_surrogates(name) else name


def encoded(name: str) -> str:
    """Return text as the name of a file that is UTF-8 on the disk in every locale; `decoded` gives the text back."""
    return os.fsdecode(name.encode("utf-8", "surrogateescape"))


def neutralized(cell: str) -> str:
    """Return the text of a CSV cell so that no spreadsheet takes it for a formula: with an apostrophe in front.

    `restored` gives the text back.
    """
    return f"'{cell}" if _FORMULA.match(cell) else cell


def restored(cell: str) -> str:
    """Return the text that `neutralized` was given."""
    return cell[1:] if cell[:1] == "'" and _FORMULA.match(cell) else cell


def reason(error: OSError) -> str:
    """Return the reason of a system error, as the end of a sentence."""
    return error.strerror or type(error).__name__


def lowered(sentence: str) -> str:
    """Return a sentence with a small first letter, to be a part of another one."""
    return sentence[:1].lower() + sentence[1:]


def _has_surrogates(text: str) -> bool:
    return any("\ud800" <= char <= "\udfff" for char in text)


def _visible(char: str) -> str:
    """Replace a control character by its Unicode symbol (␤ for a line feed), others by the replacement character."""
    code = ord(char)
    if code < 0x20:
        return chr(0x2400 + code)
    return "␡" if code == 0x7F else "\N{REPLACEMENT CHARACTER}"
