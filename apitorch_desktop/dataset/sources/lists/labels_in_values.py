"""Labels in a cell of a table or a value of JSON."""

import ast
import json
import re
from typing import Any, Final

from apitorch_desktop.dataset.sources.lists import names
from apitorch_desktop.dataset.sources.lists.table import Cell

_MAX_WHOLE: Final = 10**15
FRACTION: Final = re.compile(r"[+-]?\d*[.,]\d*[1-9]\d*(?:e[+-]?\d+)?", re.IGNORECASE)
_LABELED_BOXES: Final = re.compile(r"[^\s\d]\S*(?:\s+\d+){4}(?:\s+[^\s\d]\S*(?:\s+\d+){4})*")
"""Label and box of each object, in one cell."""
_EMPTY: Final = frozenset({"", "nan", "none", "null", "n/a", "#n/a", "{}", "[]"})
SCORES: Final = frozenset({"conf", "confidence", "confidencevalue", "score", "probability", "prob"})
"""Names of what says how sure a label is, as `names.normal` spells them."""
_SAYING: Final = SCORES | {"value"}
"""Names of what may say by 1 and 0 whether an image shows an object."""
AXES: Final = frozenset({"x", "y"})
NEUTRALIZED: Final = re.compile(r"'(?=[=+\-@\t\r])")
"""Apostrophe that an export puts before text that a spreadsheet would take for a formula."""


def labels_in(cell: Cell) -> tuple[list[str], bool]:
    """Return the labels in a cell, and True where they are of objects in the image rather than of the image."""
    if isinstance(cell, tuple):
        return [clean(label) for label in dict.fromkeys(cell) if not is_empty(label)], isinstance(cell, Objects)
    text = cell.strip()
    if text[:1] in "[{" and text[-1:] in "]}" and len(text) > 1:
        value: Any = None
        try:
            value = json.loads(text)
        except ValueError:
            try:
                value = ast.literal_eval(text)
            except (ValueError, SyntaxError, MemoryError, RecursionError):
                return [clean(cell)], False
        found = labels_of(value)
        return labels_in(found)
    if _LABELED_BOXES.fullmatch(text):
        return list(dict.fromkeys(text.split()[::5])), True
    return ([] if is_empty(cell) or FRACTION.fullmatch(text) else [clean(cell)]), False


class Objects(tuple[str, ...]):
    """Labels of the objects in an image."""

    __slots__ = ()


def labels_of(value: Any) -> tuple[str, ...]:
    """Return the labels in a value of JSON: text, a number, a list of them, or objects that name their labels."""
    if isinstance(value, bool) or value is None:
        return ()
    if isinstance(value, float) and value.is_integer() and abs(value) < _MAX_WHOLE:
        return (str(int(value)),)
    if isinstance(value, (str, int, float)):
        return (str(value),)
    if isinstance(value, list):
        found = tuple(label for part in _without_denied(value) for label in labels_of(part))
        return Objects(found) if any(isinstance(part, dict) for part in value) else found
    if isinstance(value, dict):
        named_fields = [
            (rank, part)
            for key, part in _described(value)
            for rank in [_label_rank(str(key))]
            if rank is not None and part not in (None, "", [])
        ]
        if named_fields:
            rank, part = min(named_fields, key=lambda field: field[0])
            chosen = value.get("value") if rank > _UNSURE else None  # the answer, rather than the type of the question
            return (labels_of(chosen) if isinstance(chosen, (dict, list)) else ()) or labels_of(part)
        if value and all(isinstance(part, str) for part in value.values()) and len(value) == 1:
            return tuple(value.values())
        held = [part for part in value.values() if isinstance(part, (dict, list))]
        held = [part for part in held if holds_label(part)] or held  # a label, rather than the name of something
        chosen = tuple(
            str(key) for key, part in value.items() if part is True and not held
        )  # {"cat": true, "dog": false}
        return chosen or tuple(label for part in held for label in labels_of(part))
    return ()


def _without_denied(parts: list[Any]) -> list[Any]:
    """Leave out the objects that an image does not show, where all have a number that says so by 1 and 0."""
    given = [
        next((number for key, number in part.items() if names.normal(str(key)) in _SAYING), None)
        if isinstance(part, dict)
        else None
        for part in parts
    ]
    denies = all(number in (0, 1) for number in given)
    return [part for part, number in zip(parts, given, strict=True) if number or not denies]


def holds_label(value: Any) -> bool:
    """Return whether something in a value is called a label, a class or the like."""
    if isinstance(value, list):
        return any(map(holds_label, value))
    return isinstance(value, dict) and any(
        ((rank := _label_rank(str(key))) is not None and rank < _UNSURE and part not in (None, "", []))
        or holds_label(part)
        for key, part in _described(value)
    )


def _described(value: dict[Any, Any]) -> list[tuple[Any, Any]]:
    """Return the fields of an object but its place, whose y is no label."""
    numbers = {key for key, part in value.items() if isinstance(part, (int, float)) and names.normal(str(key)) in AXES}
    return [(key, part) for key, part in value.items() if len(numbers) < len(AXES) or key not in numbers]


_UNSURE: Final = 5000
_KEY_RANKS: Final = {
    **dict.fromkeys(("answer", "answers", "radio_answer", "checklist_answers"), 100),
    **dict.fromkeys(("rectanglelabels", "polygonlabels", "brushlabels", "keypointlabels", "ellipselabels"), 500),
    **dict.fromkeys(("type", "kind", "object", "objects"), 6000),
}
"""Keys that are ranked by themselves, the lowest first: answers to a question (Labelbox), whose own name is no label;
labels of shapes (Label Studio); and last what describes the annotation rather than the image."""


def _label_rank(key: str) -> int | None:
    if (own := _KEY_RANKS.get(key.lower())) is not None:
        return own
    for offset, role in enumerate(names.LABEL_ROLES):
        if (rank := names.rank(key, role)) is not None:
            return offset * 1000 + rank
    return _UNSURE if key.lower() in {"name", "title"} else None


def clean(label: str) -> str:
    """Return a label without blanks around it, and without the apostrophe of an export."""
    return NEUTRALIZED.sub("", label.strip(), count=1)


def is_empty(cell: Cell) -> bool:
    """Return whether a cell has nothing, or a word for it."""
    return not cell if isinstance(cell, tuple) else cell.strip().lower() in _EMPTY
