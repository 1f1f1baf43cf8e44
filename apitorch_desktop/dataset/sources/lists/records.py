"""JSON → a table, where it holds a list of objects, or of paths, in any form."""

from typing import Any

from apitorch_desktop.dataset.sources.lists import names
from apitorch_desktop.dataset.sources.lists.columns import Objects, labels_of
from apitorch_desktop.dataset.sources.lists.table import Cell, Located, Table, is_image_address, looks_like_path

_MAX_DEPTH = 4


def table_of(value: Any, locate: Located) -> Table:
    """Return the table that is in a value. Raises ValueError where there is none."""
    best: tuple[int, Table] | None = None
    for table in _tables(value, locate, 0):
        count = sum(any(_is_image(cell, locate) for cell in cells) for _, cells in table.rows[:300])
        if count and (best is None or count > best[0]):
            best = count, table
    if best is not None:
        return best[1]
    if isinstance(value, list) and value and all(isinstance(entry, dict) for entry in value):
        return _of_records(value)
    raise ValueError("it names no photo")


def _is_image(cell: Cell, locate: Located) -> bool:
    return isinstance(cell, str) and (looks_like_path(cell) or is_image_address(cell) or locate(cell))


def _tables(value: Any, locate: Located, depth: int) -> "list[Table]":
    """Find what may be a table in a value and in what it holds."""
    found: list[Table] = []
    if isinstance(value, list) and value:
        if all(isinstance(entry, str) for entry in value):
            found.append(Table([], [(0, [entry]) for entry in value]))
        elif all(isinstance(entry, (list, tuple)) for entry in value):
            rows: list[tuple[int, list[Cell]]] = [(0, [_cell(part) for part in entry]) for entry in value]
            found.append(Table([], rows))
        elif any(isinstance(entry, dict) for entry in value):
            found.append(_of_records([entry for entry in value if isinstance(entry, dict)]))
    elif isinstance(value, dict) and value:
        found += _of_dictionary(value, locate)
        if depth < _MAX_DEPTH and len(value) < 1000:
            for part in value.values():
                if isinstance(part, (dict, list)):
                    found += _tables(part, locate, depth + 1)
    return found


def _of_dictionary(value: dict[str, Any], locate: Located) -> list[Table]:
    keys, parts = list(value), list(value.values())
    found = []
    if (
        all(isinstance(part, (list, dict)) for part in parts)
        and len({len(part) for part in parts}) == 1
        and len(parts) > 1
    ):
        columns = [list(part.values()) if isinstance(part, dict) else part for part in parts]
        found.append(Table(keys, [(0, [_cell(cell) for cell in row]) for row in zip(*columns, strict=True)]))
    images = sum(_is_image(key, locate) for key in keys[:300])
    paths = sum(looks_like_path(key) for key in keys[:300])
    if paths or (len(keys) > 1 and images > 0.8 * min(len(keys), 300)):  # path → label
        rows: list[tuple[int, list[Cell]]] = [(0, [key, _label_cell(part)]) for key, part in value.items()]
        found.append(Table(["path", "label"], rows))
    if all(isinstance(part, list) and all(isinstance(path, str) for path in part) for part in parts):  # label → paths
        pairs: list[tuple[int, list[Cell]]] = [(0, [path, key]) for key, part in value.items() for path in part]
        found.append(Table(["path", "label"], pairs))
    if all(isinstance(part, dict) for part in parts):
        found.append(_of_records([{"id": key, **part} for key, part in value.items()]))
    return found


def records_table(records: list[tuple[int, dict[str, Any]]]) -> Table:
    """Return the table of objects, each with its line."""
    flat = [(line, _flat(record)) for line, record in records]
    header = list(dict.fromkeys(key for _, record in flat for key in record))
    return Table(header, [(line, [record.get(key, "") for key in header]) for line, record in flat], sparse=True)


def _of_records(records: list[dict[str, Any]]) -> Table:
    return records_table([(number, record) for number, record in enumerate(records, 1)])


def _flat(record: dict[str, Any], above: str = "", depth: int = 0) -> dict[str, Cell]:
    flat: dict[str, Cell] = {}
    for key, value in record.items():
        name = f"{above}{key}"
        is_label = any(names.rank(str(key), role) is not None for role in ("label", "label_name", "label_id"))
        if isinstance(value, dict) and depth < _MAX_DEPTH and not (is_label and labels_of(value)):
            flat |= _flat(value, f"{name}.", depth + 1)
        else:
            flat[name] = _label_cell(value) if is_label or isinstance(value, list) else _cell(value)
    return flat


def _cell(value: Any) -> Cell:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(int(value))
    return str(value) if isinstance(value, (str, int, float)) else _label_cell(value)


def _label_cell(value: Any) -> Cell:
    labels = labels_of(value)
    return labels[0] if len(labels) == 1 and not isinstance(labels, Objects) else labels or ""
