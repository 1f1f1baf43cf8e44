"""Annotation formats with a structure of their own: COCO, FiftyOne, Label Studio, VIA, LabelMe, SageMaker, Pascal VOC, CVAT.

Annotations of objects give an image the label of its only class; an image with several classes gets
none, and its `ListEntry` has all of them.
"""

import re
from collections.abc import Collection, Iterator
from typing import Any, Final
from urllib.parse import unquote, urlsplit
from xml.etree import ElementTree as ET

from apitorch_desktop.dataset.sources.lists import names
from apitorch_desktop.dataset.sources.lists.columns import ListEntry, join_objects
from apitorch_desktop.dataset.sources.lists.labels_in_values import labels_of
from apitorch_desktop.dataset.sources.lists.table import Located, looks_like_path
from apitorch_desktop.dataset.sources.pasted_text import is_url

_DECIMAL: Final = r"-?(?:\d++(?:\.\d*+)?|\.\d++)(?:e-?\d++)?"
"""A number that is found in one way only: else a line of n numbers and a word would be tried in as many as 6 to the n."""
_YOLO_LINE: Final = re.compile(rf"\s*(\d+)((?:\s+{_DECIMAL}){{4,}})\s*", re.IGNORECASE)


def entries_of_json(value: Any, locate: Located, stem: str = "") -> list[ListEntry] | None:
    """Return the entries of a known structure, None where it is none of them.

    `stem`: name of the list without its suffix, after which files for one image each are called.
    """
    if isinstance(value, dict):
        if isinstance(value.get("categories"), dict) and _dicts(value.get("items")):
            return list(_datumaro(value))
        if isinstance(value.get("item"), dict) and isinstance(value.get("annotations"), list):
            return [_darwin(value)]
        if stem and isinstance(value.get("tags"), list) and isinstance(value.get("objects"), list):
            return [_supervisely(value, stem)]
        about = _dicts(value.get("annotations"))
        if (
            _dicts(value.get("images"))
            and "annotations" in value
            and (not about or any("image_id" in one for one in about))
        ):
            return list(_coco(value, locate))
        if stem and (results := _results(value)):
            return [_of_objects(stem, results)]
        if isinstance(value.get("classes"), list) and isinstance(value.get("labels"), dict):
            return list(_fiftyone(value["classes"], value["labels"]))
        if isinstance(value.get("imagePath"), str) and ("shapes" in value or "flags" in value):
            return [_labelme(value)]
        if all(isinstance(value.get(key), dict) for key in ("attribute", "file", "metadata", "view")):
            return list(_via_project(value))
        regions = value.get("_via_img_metadata", value)
        if isinstance(regions, dict) and regions and all(_is_via(entry) for entry in regions.values()):
            chosen = _attributes_of_choice(value.get("_via_attributes"))
            return [_via(entry, chosen) for entry in regions.values()]
    if isinstance(value, list) and value and all(_is_task(entry) for entry in value):
        return [_task(entry, number) for number, entry in enumerate(value, 1)]
    if isinstance(value, list) and value and all(_is_via(entry) for entry in value):
        return [_via(entry) for entry in value]
    if isinstance(value, list) and any(map(_mapped, value)) and all(isinstance(entry, dict) for entry in value):
        return [_of_manifest(entry, number) for number, entry in enumerate(value, 1)]
    if isinstance(value, list) and value and all(_refers_to_answers(entry) for entry in value):
        return [found for entry in value for found in _answered(entry)]
    if isinstance(value, list) and value and all(_is_choice(entry) for entry in value):
        return [_choice(entry, number) for number, entry in enumerate(value, 1)]
    return None


def _text(value: Any) -> str:
    return str(value) if isinstance(value, (str, int, float)) and not isinstance(value, bool) else ""


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []


def _coco(value: dict[str, Any], locate: Located) -> Iterator[ListEntry]:
    categories = {_key(entry, "category_id"): _name(entry) for entry in _dicts(value.get("categories"))}
    labels: dict[str, list[str]] = {}
    for annotation in _dicts(value.get("annotations")):
        ids = annotation.get("category_id", annotation.get("category_ids"))
        for one in ids if isinstance(ids, list) else [ids]:
            if label := categories.get(_text(one), ""):
                labels.setdefault(_text(annotation.get("image_id")), []).append(label)
    for number, image in enumerate(_dicts(value["images"]), 1):
        path = _text(image.get("file_name") or image.get("path") or image.get("coco_url") or image.get("url"))
        if is_url(path) and locate(here := unquote(urlsplit(path).path)):  # as LVIS names the images of COCO
            path = here
        if path:
            yield _of_objects(path, labels.get(_key(image, "image_id"), []), number)


def _key(entry: dict[str, Any], reference: str) -> str:
    """Return what annotations refer to an entry by, which may be called as in them: id, image_id."""
    return _text(entry.get("id", entry.get(reference)))


def _name(category: dict[str, Any]) -> str:
    """Return the name of a category: of fields that may be called so, rather one with the word: scientificName."""
    named = [
        (names.normal(key) != "name", not names.normal(key).endswith("name"), key)
        for key in category
        if names.normal(key) == "name" or any(names.rank(key, role) is not None for role in ("label_name", "label"))
    ]
    return _text(category[min(named)[2]]) if named else ""


def _of_objects(path: str, labels: list[str], line: int = 1, split: str = "") -> ListEntry:
    several = tuple(dict.fromkeys(label for label in labels if label))
    only = several[0] if len(several) == 1 else ""
    return ListEntry(path, only, split, line, several if len(several) > 1 else ())


def _fiftyone(classes: list[Any], labels: dict[str, Any]) -> Iterator[ListEntry]:
    for number, (key, value) in enumerate(labels.items(), 1):
        known = labels_of(value.get("label", value.get("labels", value)) if isinstance(value, dict) else value)
        numbered = [
            _text(classes[int(label)]) if label.isdigit() and int(label) < len(classes) else label for label in known
        ]
        yield _of_objects(key, numbered, number)


def _datumaro(value: dict[str, Any]) -> Iterator[ListEntry]:
    known = value["categories"].get("label")
    labels = [_text(entry.get("name")) for entry in _dicts(known.get("labels") if isinstance(known, dict) else None)]
    for number, item in enumerate(_dicts(value["items"]), 1):
        image = item.get("image") or item.get("media")
        path = _text(image.get("path")) if isinstance(image, dict) else ""
        numbers = [annotation.get("label_id") for annotation in _dicts(item.get("annotations"))]
        given = [labels[one] for one in numbers if isinstance(one, int) and 0 <= one < len(labels)]
        yield _of_objects(path or _text(item.get("id")), given, number, names.split_of(_text(item.get("subset"))))


def _darwin(value: dict[str, Any]) -> ListEntry:
    annotations = _dicts(value["annotations"])
    tags = [_text(annotation.get("name")) for annotation in annotations if "tag" in annotation]
    return _of_objects(
        _text(value["item"].get("name")), tags or [_text(annotation.get("name")) for annotation in annotations]
    )


def _supervisely(value: dict[str, Any], stem: str) -> ListEntry:
    tags = [_text(tag.get("name")) for tag in _dicts(value["tags"])]
    return _of_objects(stem, tags or [_text(found.get("classTitle")) for found in _dicts(value["objects"])])


def _results(value: dict[str, Any]) -> list[str]:
    """Return the labels in the steps of LabelBee: chosen for the image, else attributes of what is in it."""
    results = [
        one
        for step in value.values()
        if isinstance(step, dict) and isinstance(step.get("toolName"), str)
        for one in _dicts(step.get("result"))
    ]
    chosen = [one["result"] for one in results if isinstance(one.get("result"), dict)]
    labels = [label for answers in chosen for answer in answers.values() for label in _text(answer).split(";")]
    return labels or [_text(one.get("attribute")) for one in results]


def _is_choice(entry: Any) -> bool:
    return isinstance(entry, dict) and isinstance(entry.get("image"), str) and isinstance(entry.get("answer"), str) and (
        "accept" in entry or "label" in entry
    )  # fmt: skip


def _choice(entry: dict[str, Any], number: int) -> ListEntry:
    """Return the entry of a task of Prodigy, whose labels count where they were accepted."""
    labels = labels_of(entry.get("accept", entry.get("label"))) if entry["answer"] == "accept" else ()
    return _of_objects(entry["image"] if len(entry["image"]) < 4096 else _text(entry.get("path")), list(labels), number)


def _labelme(value: dict[str, Any]) -> ListEntry:
    flags = value.get("flags")
    chosen = [str(flag) for flag, on in flags.items() if on is True] if isinstance(flags, dict) else []
    objects = [_text(shape.get("label")) for shape in _dicts(value.get("shapes"))]
    return _of_objects(value["imagePath"], chosen or objects)


def _is_via(entry: Any) -> bool:
    return (
        isinstance(entry, dict)
        and isinstance(entry.get("filename"), str)
        and ("regions" in entry or "file_attributes" in entry)
    )


def _via(entry: dict[str, Any], chosen: Collection[str] = ()) -> ListEntry:
    """Return the entry of an image; `chosen` are the attributes that the annotator chose values for."""
    regions = entry.get("regions")
    objects = [
        label
        for region in _dicts(list(regions.values()) if isinstance(regions, dict) else regions)
        for label in _attributes(region.get("region_attributes"), chosen)
    ]
    return _of_objects(entry["filename"], _attributes(entry.get("file_attributes"), chosen) or objects)


def _attributes_of_choice(value: Any) -> list[str]:
    """Return the names of the attributes that have options, rather than free text."""
    kinds = [kind for kind in value.values() if isinstance(kind, dict)] if isinstance(value, dict) else []
    return [
        str(name)
        for kind in kinds
        for name, attribute in kind.items()
        if isinstance(attribute, dict) and attribute.get("options")
    ]


def _via_project(value: dict[str, Any]) -> Iterator[ListEntry]:
    """Yield the entries of a project of VIA 3, whose parts refer to each other by number."""
    options = {key: part["options"] for key, part in value["attribute"].items() if _has_options(part)}
    of_files: dict[str, list[str]] = {}
    of_objects: dict[str, list[str]] = {}
    for one in _dicts(list(value["metadata"].values())):
        given = one.get("av")
        labels = [
            _text(options[key].get(number))
            for key, chosen in (given.items() if isinstance(given, dict) else ())
            if key in options
            for number in _text(chosen).split(",")
        ]
        (of_objects if one.get("xy") else of_files).setdefault(_text(one.get("vid")), []).extend(labels)
    files = value["file"]
    for number, (view, part) in enumerate(value["view"].items(), 1):
        numbers = part.get("fid_list") if isinstance(part, dict) else None
        for one in numbers if isinstance(numbers, list) else ():
            file = files.get(_text(one))
            path = _text(file.get("fname") or file.get("src")) if isinstance(file, dict) else ""
            yield _of_objects(path, of_files.get(view) or of_objects.get(view, []), number)


def _has_options(attribute: Any) -> bool:
    return isinstance(attribute, dict) and isinstance(attribute.get("options"), dict)


def _attributes(value: Any, chosen: Collection[str]) -> list[str]:
    """Return the labels in attributes that the annotator named: by a usual name, else of choice, else the only ones."""
    if not isinstance(value, dict):
        return []
    usual = [
        part
        for key, part in value.items()
        if any(names.rank(str(key), role) is not None for role in ("label", "label_name"))
    ]
    of_choice = [part for key, part in value.items() if key in chosen]
    parts = usual or of_choice or (list(value.values()) if len(value) == 1 else [])
    return [label.strip() for part in parts for label in _chosen(part)]


def _chosen(part: Any) -> list[str]:
    if isinstance(part, dict):  # check boxes: {"cat": true}
        return [str(key) for key, on in part.items() if on]
    return [part] if isinstance(part, str) and part.strip() else []


def _mapped(entry: Any) -> list[tuple[Any, dict[str, Any]]]:
    """Return the parts of a line of SageMaker that name their classes by number, each with number → name."""
    if not isinstance(entry, dict):
        return []
    about = [(part, entry.get(f"{key}-metadata")) for key, part in entry.items()]
    return [
        (part, meta["class-map"])
        for part, meta in about
        if isinstance(meta, dict) and isinstance(meta.get("class-map"), dict)
    ]


def _of_manifest(entry: dict[str, Any], number: int) -> ListEntry:
    path = _path_key(entry)
    labels: list[str] = []
    for part, class_map in _mapped(entry):
        found = part.get("annotations") if isinstance(part, dict) else part
        numbers = [
            one.get("class_id") if isinstance(one, dict) else one
            for one in (found if isinstance(found, list) else [found])
        ]
        labels += [_text(class_map.get(_text(one))) for one in numbers]
        if any(labels):
            break
    return _of_objects(_text(entry.get(path)), labels, number)


def _refers_to_answers(entry: Any) -> bool:
    return isinstance(entry, dict) and all(
        isinstance(entry.get(key), dict) for key in ("data_units", "classification_answers")
    )


def _answered(entry: dict[str, Any]) -> Iterator[ListEntry]:
    """Yield the entries of Encord, where the label of an image is an answer elsewhere."""
    answers = entry["classification_answers"]
    for unit in entry["data_units"].values():
        labels = unit.get("labels") if isinstance(unit, dict) else None
        if not isinstance(labels, dict):
            continue
        given = [answers.get(_text(one.get("classificationHash"))) for one in _dicts(labels.get("classifications"))]
        chosen = [
            label
            for answer in given
            for question in _dicts(answer.get("classifications") if isinstance(answer, dict) else None)
            for label in labels_of(question.get("answers"))
        ]
        objects = [_text(found.get("name")) for found in _dicts(labels.get("objects"))]
        yield _of_objects(_text(unit.get("data_title") or entry.get("data_title")), chosen or objects)


def _path_key(data: dict[str, Any]) -> str:
    return min(
        (key for key, part in data.items() if isinstance(part, str) and names.rank(str(key), "path") is not None),
        key=lambda key: names.rank(str(key), "path") or 0,
        default=next((key for key, part in data.items() if isinstance(part, str)), ""),
    )


def _is_task(entry: Any) -> bool:
    return (
        isinstance(entry, dict)
        and isinstance(entry.get("data"), dict)
        and ("annotations" in entry or "completions" in entry)
    )


def _task(entry: dict[str, Any], number: int) -> ListEntry:
    data = entry["data"]
    path = _path_key(data)
    labels: list[str] = []
    annotations = [
        one for one in _dicts(entry.get("annotations") or entry.get("completions")) if not one.get("was_cancelled")
    ]
    for annotation in [one for one in annotations if one.get("ground_truth") is True] or annotations:
        for result in _dicts(annotation.get("result")):
            value = result.get("value")
            if isinstance(value, dict):
                labels += [
                    str(label)
                    for key, part in value.items()
                    if isinstance(part, list) and (key.endswith("labels") or key in {"choices", "taxonomy"})
                    for label in labels_of(part)
                ]
    return _of_objects(_text(data.get(path)), labels, number)


def entries_of_xml(data: bytes) -> list[ListEntry]:
    """Return the entries of Pascal VOC or CVAT. Raises ValueError with the reason, which ends the caller's sentence."""
    root = _root(data)
    if root.tag == "annotation":
        path = (root.findtext("filename") or root.findtext("path") or "").strip()
        labels = [(found.findtext("name") or "").strip() for found in root.iter("object")]
        return [_of_objects(path, labels)] if path else []
    entries = []
    for number, image in enumerate(root.iter("image"), 1):
        path = image.get("name") or image.get("file") or ""
        tags = [tag.get("label") or "" for tag in image.iter("tag")]
        objects = [shape.get("label") or shape.findtext("label") or "" for shape in image if shape.tag != "tag"]
        if path:
            split = names.split_of(image.get("subset") or "")
            own = image.get("label") or image.get("class") or ""
            entries.append(_of_objects(path, tags or ([own] if own else objects), number, split))
    return join_objects(entries)


def value_of_xml(data: bytes) -> Any:
    """Return XML as a value of JSON: elements with their parts by name, those of one name as a list. Raises ValueError."""
    return _value(_root(data))


def _root(data: bytes) -> ET.Element:
    if b"<!ENTITY" in data:
        raise ValueError("it defines entities of its own")
    try:
        return ET.fromstring(data)  # noqa: S314 - expat bounds what entities expand to, and there are none
    except ET.ParseError as error:
        raise ValueError(str(error)) from None


def _value(element: ET.Element) -> Any:
    parts: dict[str, Any] = dict(element.attrib)
    of_tags: dict[str, list[Any]] = {}
    for child in element:
        of_tags.setdefault(child.tag.rpartition("}")[2], []).append(_value(child))
    parts |= {tag: found[0] if len(found) == 1 else found for tag, found in of_tags.items()}
    return parts or (element.text or "").strip()


_OF_CLASS: Final = re.compile(r"(.+)_(train|val|trainval|test)\.txt", re.IGNORECASE)
_IN_CLASS: Final = re.compile(r"\s*(\S+)\s+(-1|0|1)\s*")


def entries_of_class(text: str, name: str) -> list[ListEntry] | None:
    """Return the entries of a list of Pascal VOC that says which images show the class in its name; None for others."""
    known = _OF_CLASS.fullmatch(name)
    lines = [_IN_CLASS.fullmatch(line) for line in text.splitlines() if line.strip()] if known else []
    if known is None or not lines or not all(lines) or not any(line and line[2] == "-1" for line in lines):
        return None
    split = "" if known[2].lower() == "trainval" else names.split_of(known[2])
    return [
        ListEntry(line[1], known[1] if line[2] == "1" else "", split, number)
        for number, line in enumerate(lines, 1)
        if line
    ]


_NAMED_BOX: Final = re.compile(rf"\s*([^\W\d][\w-]*)((?:\s+{_DECIMAL}){{4,}})\s*", re.IGNORECASE)
_A_NUMBER: Final = re.compile(_DECIMAL, re.IGNORECASE)
_NO_CLASSES: Final = frozenset({"dontcare", "ignore", "ignored", "ignoredregions"})


def box_classes(data: bytes) -> list[str] | None:
    """Return the numbers or names of the classes of boxes, one a line: see `yolo_classes`."""
    if (numbers := yolo_classes(data)) is not None:
        return numbers
    lines = [line for line in data.decode("utf-8-sig", "replace").splitlines() if line.strip()]
    found = [_NAMED_BOX.fullmatch(line) for line in lines]
    if not all(found):
        return None
    return list(dict.fromkeys(match[1] for match in found if match and names.normal(match[1]) not in _NO_CLASSES))


def is_of_numbers(data: bytes) -> bool:
    """Return whether each line of a text has several numbers, and none the name of an image."""
    lines = [
        re.split(r"[\s,;]+", line.strip()) for line in data.decode("utf-8-sig", "replace").splitlines() if line.strip()
    ]
    return bool(lines) and all(
        sum(map(bool, map(_A_NUMBER.fullmatch, words))) > 1 and not any(map(looks_like_path, words)) for words in lines
    )


def yolo_classes(data: bytes) -> list[str] | None:
    """Return the class numbers in the boxes of one image: [] for an empty text, None for one that is no list of boxes."""
    lines = [line for line in data.decode("utf-8-sig", "replace").splitlines() if line.strip()]
    found = [_YOLO_LINE.fullmatch(line) for line in lines]
    if not lines or not all(found):
        return None if lines else []
    return list(dict.fromkeys(match[1] for match in found if match))
