"""Lists in JSON: finds the tables of images in a value of any form, and what the keys above them mean."""

import re
from bisect import bisect_left
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Final

from apitorch_desktop.dataset.sources.lists import names
from apitorch_desktop.dataset.sources.lists.columns import WEAK, ListEntry, entries_of
from apitorch_desktop.dataset.sources.lists.labels_in_values import SCORES, Objects, holds_label, labels_of
from apitorch_desktop.dataset.sources.lists.table import Cell, Located, Table, is_image_address, looks_like_path
from apitorch_desktop.utils.text import plural, shown

_MAX_DEPTH: Final = 4
_SAMPLE: Final = 300
_MAX_KEYS: Final = 20_000
_QUALIFIED: Final = re.compile(r"[\w-]+(?:\.[\w-]+)+/(\w+)")
"""A key with the domain of its maker before it: aiplatform.googleapis.com/ml_use."""


@dataclass(slots=True)
class _Found:
    """A table in a value, and the keys above it. `images`: how many of its rows name one; `key`: its column of images.

    `of_files`: True where its images end in the suffix of one, as neither web addresses nor the numbers of images do.
    `there`: True where some of them lead to an image.
    """

    table: Table
    images: float
    key: str
    keys: tuple[str, ...]
    of_files: bool
    there: bool


def entries_of_value(value: Any, locate: Located, notes: list[str]) -> list[ListEntry]:
    """Return the entries of all lists in a value: a key above a list is a part of the set, or a label where it has none.

    Raises ValueError where there is no list. `notes` receives sentences, which the caller puts the list's name before.
    """
    found = _find(value, locate, ())
    if not found:
        if isinstance(value, list) and value and all(isinstance(entry, dict) for entry in value):
            return entries_of(_of_records(value, locate), locate)
        if isinstance(value, dict) and (record := _annotated(value)):
            return _labeled(entries_of(_of_records([record], locate), locate))
        raise ValueError("it names no photo")
    best = max(found, key=lambda one: (one.there, one.images))
    lists = [one for one in found if one is best or _is_another(one, best)]
    left = [one for one in found if one not in lists and one.of_files]
    if left and best.of_files:
        where = ".".join(filter(None, (*left[0].keys, left[0].key)))
        notes.append(f"the images under “{shown(where)}” are not taken")
    splits, labels = _of_keys([one.keys for one in lists])
    joined: dict[str, list[int]] = {}
    for number, one in enumerate(lists):
        joined.setdefault(one.key if one.table.sparse else f"\0{number}", []).append(number)
    entries: list[tuple[int, ListEntry]] = []
    by_key = any(labels)
    of_classes = any(names.has_label_role(key) for one in lists for key in one.keys)  # {"classes": {"cat": […]}}
    for group in joined.values():
        table, ends = _joined([lists[number].table for number in group])
        known = any(map(names.has_label_role, table.header))
        for entry in entries_of(table, locate):
            number = group[bisect_left(ends, entry.line)]
            if labels[number] and table.sparse and not known:  # what was guessed from the columns
                entry = replace(entry, label="")
            of_album = entry.of_album and not of_classes
            entries.append((number, replace(entry, split=entry.split or splits[number], of_album=of_album)))
    if by_key and not any(entry.label or entry.several for _, entry in entries):
        return [replace(entry, label=labels[number], of_album=not of_classes) for number, entry in entries]
    return _without_repeats(entries, notes)


def _annotated(value: dict[str, Any]) -> dict[str, Any]:
    """Return the record of one image with a list of what is in it, without other fields called labels; {} for any other."""
    lists = {key for key, part in value.items() if isinstance(part, list) and holds_label(part)}
    return {key: part for key, part in value.items() if key in lists or not names.has_label_role(key)} if lists else {}


def labeled_entries(value: Any, locate: Located) -> list[ListEntry]:
    """Return the entries of a value, or of the record of one image, whose labels are called so. Raises ValueError for none."""
    parts = value.items() if isinstance(value, dict) else ()
    image = any(isinstance(part, str) and locate(part) for _, part in parts)
    label = any(isinstance(part, str) and part and names.is_label_header(key) for key, part in parts)
    return _labeled(entries_of_value([value] if image and label else value, locate, []))


def _labeled(entries: list[ListEntry]) -> list[ListEntry]:
    """Return the entries that something calls labeled. Raises ValueError where there is none."""
    found = [entry for entry in entries if (entry.label or entry.several) and not entry.guessed]
    if not found:
        raise ValueError("it names no photo with a label")
    return found


def _without_repeats(entries: list[tuple[int, ListEntry]], notes: list[str]) -> list[ListEntry]:
    """Leave out the images that another list names already: the first that has a label for one counts."""
    chosen: dict[str, tuple[int, ListEntry]] = {}
    for number, entry in sorted(entries, key=lambda one: (not (one[1].label or one[1].several), one[0])):
        chosen.setdefault(entry.path, (number, entry))
    splits = {entry.path: entry.split for _, entry in reversed(entries) if entry.split}
    differing: dict[str, None] = {}
    kept = []
    for number, entry in sorted(entries, key=lambda one: one[0]):
        known, first = chosen[entry.path]
        if known == number:
            kept.append(replace(entry, split=entry.split or splits.get(entry.path, "")))
        elif entry.label and entry.label != first.label:
            differing[entry.path] = None
    if differing:
        more = f" and {plural(len(differing) - 1, 'more photo')}" if len(differing) > 1 else ""
        notes.append(f"it lists “{shown(next(iter(differing)))}”{more} again with another label: the first counts")
    return kept


def _is_another(one: _Found, best: _Found) -> bool:
    """Return whether a table lists more of the photos that the best one lists: a licence or a logo is none."""
    if one.key == best.key:
        return True
    return one.of_files and best.of_files and (not one.table.sparse or names.is_path_header(one.key))


def _of_keys(keys: list[tuple[str, ...]]) -> tuple[list[str], list[str]]:
    """Return for each list the part of a set and the label that the keys above it mean."""
    splits, labels = [""] * len(keys), [""] * len(keys)
    for level in range(min(map(len, keys))):
        here = [path[level] for path in keys]
        parts = [names.split_of(key) for key in here]
        if all(parts):
            splits = parts
        elif len(set(here)) > 1 and not any(map(_is_structure, here)):
            labels = list(map(_label_of_key, here))
    return splits, labels


def _label_of_key(key: str) -> str:
    return "" if names.split_of(key) == "unlabeled" else key


def _is_structure(key: str) -> bool:
    """Return True for a key that says what is under it rather than of which class."""
    return names.is_container(key) or names.is_path_header(key)


def _joined(tables: list[Table]) -> tuple[Table, list[int]]:
    """Return one table of the rows of several, and where each of them ends."""
    header = list(dict.fromkeys(name for table in tables for name in table.header))
    rows: list[tuple[int, list[Cell]]] = []
    ends = []
    for table in tables:
        places = [table.header.index(name) if name in table.header else None for name in header]
        for _, cells in table.rows:
            row = [cells[place] if place is not None else "" for place in places] if header != table.header else cells
            rows.append((len(rows) + 1, row))
        ends.append(len(rows))
    above = frozenset().union(*(table.above for table in tables))
    return Table(header, rows, sparse=tables[0].sparse, guessed=tables[0].guessed, above=above), ends


def _is_image(cell: Cell, locate: Located) -> bool:
    return isinstance(cell, str) and (looks_like_path(cell) or is_image_address(cell) or locate(cell))


def _find(value: Any, locate: Located, keys: tuple[str, ...]) -> list[_Found]:
    """Return the tables of images in a value: its own, or those in what it holds where they have more."""
    if isinstance(value, list):
        return _best([_of_list(value, locate)] if value else [], locate, keys)
    if not isinstance(value, dict) or not value:
        return []
    own = _best(_of_dictionary(value, locate), locate, keys)
    if own and (_names_images(list(value), locate) or _are_columns(value)):
        return own
    below: list[_Found] = []
    records = ""
    if len(keys) <= _MAX_DEPTH and len(value) < _MAX_KEYS:
        records = own[0].key if own and own[0].table.sparse else ""
        if sum(_has_text(part, records) for part in value.values()) < 2:
            records = ""
        for key, part in value.items():
            if isinstance(part, (dict, list)) and not (records and _has_text(part, records)):
                below += _find(part, locate, (*keys, str(key)))
    more = sum(one.images for one in below)
    if records and below:  # records by their id, and others that hold lists
        nested = {one.keys[len(keys)] for one in below}
        kept = [{"id": key, **part} for key, part in value.items() if key not in nested]
        return [*_best([records_table(list(enumerate(kept, 1)))], locate, keys), *below]
    return own if own and own[0].images >= more else below


def _field(record: Any, key: str) -> Any:
    """Return what a record has in a field, which a dotted key names."""
    part = record
    for name in key.split("."):
        part = part.get(name) if isinstance(part, dict) else None
    return part


def _has_text(record: Any, key: str) -> bool:
    return isinstance(part := _field(record, key), str) and bool(part)


def _best(tables: list[Table], locate: Located, keys: tuple[str, ...]) -> list[_Found]:
    best: list[_Found] = []
    for table in tables:
        sample = [cells for _, cells in table.rows[:_SAMPLE]]
        count = sum(any(_is_image(cell, locate) for cell in cells) for cells in sample)
        images = count * len(table.rows) / max(1, len(sample))
        if count and (not best or images > best[0].images):
            column = _image_column(sample, locate)
            key = table.header[column] if column < len(table.header) else ""
            paths = [str(cells[column]) for cells in sample if column < len(cells) and _is_image(cells[column], locate)]
            of_files = 2 * sum(looks_like_path(path) and not is_image_address(path) for path in paths) > len(paths)
            best = [_Found(table, images, key, keys, of_files, any(map(locate, paths)))]
    return best


def _image_column(rows: list[list[Cell]], locate: Located) -> int:
    """Return the column with most images."""
    counts: dict[int, int] = {}
    for cells in rows:
        for column, cell in enumerate(cells):
            if _is_image(cell, locate):
                counts[column] = counts.get(column, 0) + 1
    return max(counts, key=lambda column: counts[column])


def _of_list(value: list[Any], locate: Located) -> Table:
    if all(isinstance(entry, str) for entry in value):
        return Table([], [(0, [entry]) for entry in value])
    if all(isinstance(entry, (list, tuple)) for entry in value):
        rows: list[tuple[int, list[Cell]]] = [(0, [_cell(part) for part in entry]) for entry in value]
        names_first = any(isinstance(cell, str) and names.is_path_header(cell) for cell in rows[0][1])
        if len(rows) > 1 and names_first and not any(_is_image(cell, locate) for cell in rows[0][1]):
            return Table([str(cell) for cell in rows[0][1]], rows[1:])
        return Table([], rows)
    records = [entry for entry in value if isinstance(entry, dict)]
    return _of_records(records, locate) if records else Table([], [(0, [""])])


def _names_images(keys: list[str], locate: Located) -> bool:
    images = sum(_is_image(key, locate) for key in keys[:_SAMPLE])
    paths = sum(looks_like_path(key) for key in keys[:_SAMPLE])
    return paths > 0 or (len(keys) > 1 and images > 0.8 * min(len(keys), _SAMPLE))


def _are_columns(value: dict[str, Any]) -> bool:
    """Return whether the keys of a dictionary are the names of columns, and the parts their values."""
    return _of_one_length(value) and any(
        names.is_path_header(key)
        and all(isinstance(cell, str) for cell in (part.values() if isinstance(part, dict) else part))
        for key, part in value.items()
    )


def _of_one_length(value: dict[str, Any]) -> bool:
    parts = list(value.values())
    return len(parts) > 1 and all(isinstance(part, (list, dict)) for part in parts) and len(set(map(len, parts))) == 1


def _of_dictionary(value: dict[str, Any], locate: Located) -> list[Table]:
    keys, parts = list(value), list(value.values())
    found = []
    columns = [
        list(part.values()) if isinstance(part, dict) else part for part in parts if isinstance(part, (dict, list))
    ]
    records = any(isinstance(column[0], dict) for column in columns if column)
    if _are_columns(value) or (_of_one_length(value) and not records):
        found.append(Table(keys, [(0, [_cell(cell) for cell in row]) for row in zip(*columns, strict=True)]))
        if _are_columns(value):
            return found
    if _names_images(keys, locate):  # path → label
        rows: list[tuple[int, list[Cell]]] = [(0, [key, _label_cell(part)]) for key, part in value.items()]
        found.append(Table(["path", "label"], rows, guessed=True))
    of_paths = all(isinstance(part, list) and all(isinstance(path, str) for path in part) for part in parts)
    if of_paths and not all(map(names.split_of, keys)):  # label → paths
        known = not any(map(_is_structure, keys))
        pairs: list[tuple[int, list[Cell]]] = [
            (0, [path, _label_of_key(key)] if known else [path]) for key, part in value.items() for path in part
        ]
        if pairs and (known or len(keys) == 1):
            header = ["path", "label"] if known else []
            found.append(Table(header, pairs, above=frozenset(header[1:])))
    if any(
        isinstance(part, str) and names.is_label_header(key) for key, part in value.items()
    ):  # one label and its paths
        found.append(records_table([(0, record) for record in _held_images(value, locate)]))
    if all(isinstance(part, dict) for part in parts):
        found.append(
            records_table([(number, {"id": key, **part}) for number, (key, part) in enumerate(value.items(), 1)])
        )
    return found


def records_table(records: list[tuple[int, dict[str, Any]]], above: frozenset[str] = frozenset()) -> Table:
    """Return the table of objects, each with its line; `above`: see `Table`."""
    flat = [(line, _flat(record)) for line, record in records]
    every = {key for _, record in flat for key in record}
    for key in [key for key in every if any(part != key and part.startswith(f"{key}.") for part in every)]:
        if inner := [part for part in every if part.rpartition(".")[0] == key and names.has_label_role(part)]:
            for _, record in flat:  # one value, and in other records an object of several
                if key in record:
                    record[inner[0]] = record.pop(key)
    keys = list(dict.fromkeys(key for _, record in flat for key in record))
    header = keys
    known = [key for key in keys if names.has_label_role(key) and names.normal(key.rpartition(".")[2]) not in WEAK]
    if not any(record.get(key) for key in known for _, record in flat[:_SAMPLE]):
        objects = {key for _, record in flat[:_SAMPLE] for key, cell in record.items() if isinstance(cell, Objects)}
        named = {key for key in objects if any(holds_label(_field(record, key)) for _, record in records[:_SAMPLE])}
        header = [f"{key}.label" if key in named else key for key in keys]  # what names the classes of objects
    rows: list[tuple[int, list[Cell]]] = [(line, [record.get(key, "") for key in keys]) for line, record in flat]
    return Table(header, rows, sparse=True, above=above)


def _of_records(records: list[dict[str, Any]], locate: Located) -> Table:
    return unfolded_table(list(enumerate(records, 1)), locate)


def unfolded_table(records: list[tuple[int, dict[str, Any]]], locate: Located) -> Table:
    """Return the table of objects that hold images, or lists of them."""
    inner = _unfolded(records, locate)
    if inner is records:
        return records_table(records)
    held = [entry for _, record in records for part in record.values() if isinstance(part, list) for entry in part]
    own = {key for entry in held if isinstance(entry, dict) for key in entry}
    keys = {
        str(key) for _, record in records for key in record if key not in own and not names.has_label_role(str(key))
    }
    return records_table(inner, frozenset(keys))


def _unfolded(
    records: list[tuple[int, dict[str, Any]]], locate: Located, depth: int = 0
) -> list[tuple[int, dict[str, Any]]]:
    """Return records with one for each image in place of those that hold lists of images, each with the fields above it."""
    sample = [_flat(record) for _, record in records[:_SAMPLE]]
    own = {key for record in sample for key, cell in record.items() if cell and _is_image(cell, locate)}
    found: list[tuple[int, dict[str, Any]]] = []
    nested = 0
    for number, (line, record) in enumerate(records):
        if number == _SAMPLE and not nested:
            return records
        inner = [] if any(_has_text(record, key) for key in own) else _held_images(record, locate, depth)
        nested += bool(inner)
        found += [(line, one) for one in inner] or [(line, record)]
    return found if nested else records


def _held_images(record: dict[str, Any], locate: Located, depth: int = 0) -> list[dict[str, Any]]:
    lists = {key: part for key, part in record.items() if isinstance(part, list) and part}
    found: list[dict[str, Any]] = []
    taken = set()
    for key, part in lists.items():
        if isinstance(part[0], str) and all(
            isinstance(path, str) and _is_image(path, locate) for path in part[:_SAMPLE]
        ):
            inner = [{key: path} for path in part]
        elif isinstance(part[0], dict) and depth < _MAX_DEPTH:
            parts = [(0, entry) for entry in part if isinstance(entry, dict)]
            inner = [one for _, one in _unfolded(parts, locate, depth + 1)]
            inner = [one for one in inner if any(_is_image(cell, locate) for cell in _flat(one).values())]
            if not inner:
                continue
        else:
            continue
        taken.add(key)
        found += inner
    above = {key: part for key, part in record.items() if key not in taken and not (key == "id" and _is_number(part))}
    return [{**above, **one} for one in found]


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) or (isinstance(value, str) and value.isdigit())


def _flat(record: dict[str, Any], above: str = "", depth: int = 0) -> dict[str, Cell]:
    flat: dict[str, Cell] = {}
    for key, value in record.items():
        qualified = _QUALIFIED.fullmatch(str(key))
        name = f"{above}{qualified[1] if qualified else key}"
        is_label = names.has_label_role(str(key))
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


def is_of_detector(value: Any, in_list: int = 0) -> bool:
    """Return whether objects in a list of an image have a label and a confidence below 1."""
    if isinstance(value, list):
        return in_list < _MAX_DEPTH and any(is_of_detector(part, in_list + 1) for part in value[:_SAMPLE])
    if not isinstance(value, dict):
        return False
    parts = list(islice(value.items(), _SAMPLE))
    sure = any(names.normal(str(key)) in SCORES and isinstance(part, float) and 0 < part < 1 for key, part in parts)
    if (
        in_list > 1
        and sure
        and any(isinstance(part, (str, int)) and names.has_label_role(str(key)) for key, part in parts)
    ):
        return True
    return any(is_of_detector(part, in_list) for _, part in parts if isinstance(part, (dict, list)))
