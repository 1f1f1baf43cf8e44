"""Names of numbered classes, from the files that tools keep beside their lists: classes.txt, data.yaml, label maps."""

import json
import re
from typing import Any, Final

from apitorch_desktop.dataset.sources.lists.table import decode

FILE_NAMES: Final = re.compile(
    r"(?:.*[._-])?(?:classes|class_?names|classnames|labels?|label_?names|names|categories|label_?map|class_?map(?:ping)?|"
    r"id2label|class_?indices|class_?index|synsets?|synset_?words|words|synset_mapping)(?:\.txt|\.json|\.csv|\.names|\.ya?ml|\.pbtxt)"
    r"|README\.md|.*(?:label|class|categor|map).*\.json|.*\.names|data\.ya?ml|dataset\.ya?ml|.*\.labels|.*labels?\.txt",
    re.IGNORECASE,
)
"""Names of files that may hold class names."""
_IMAGE: Final = re.compile(r"\.(?:jpe?g|png|bmp|gif|webp|tiff?)\b", re.IGNORECASE)


def class_names(data: bytes, name: str) -> dict[str, str]:
    """Return number (or other id) → class name; empty where the file holds no such names."""
    text = decode(data[: 2**20])
    suffix = name.lower().rpartition(".")[2]
    if suffix == "json":
        try:
            return _from_json(json.loads(text))
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


def _from_json(value: Any) -> dict[str, str]:
    if isinstance(value, dict) and isinstance(value.get("id2label"), dict):
        value = value["id2label"]
    if isinstance(value, list) and all(isinstance(label, str) for label in value):
        return {str(number): label for number, label in enumerate(value)}
    if not isinstance(value, dict):
        return {}
    if value and all(isinstance(key, str) and key.lstrip("-").isdigit() for key in value):
        named = {key: label[-1] if isinstance(label, list) and label else label for key, label in value.items()}
        return {key: label for key, label in named.items() if isinstance(label, str)}
    numbers = [number for number in value.values() if isinstance(number, int) and not isinstance(number, bool)]
    if value and len(set(numbers)) == len(value) and not any(_IMAGE.search(str(label)) for label in value):
        return {str(number): str(label) for label, number in value.items()}
    return {}


def _from_yaml(text: str) -> dict[str, str]:
    """Read `names:` of a YOLO data.yaml, in each of its three forms."""
    found = re.search(r"^[ \t]*names\s*:[ \t]*(.*)((?:\n(?:[ \t]+.*|[ \t]*-.*|[ \t]*))*)", text, re.MULTILINE)
    if not found:
        return {}
    inline, block = found[1].strip(), found[2]
    if inline.startswith("["):
        listed = re.search(r"names\s*:\s*\[(.*?)\]", text, re.DOTALL)
        items = [item.strip().strip("\"'") for item in (listed[1] if listed else "").split(",")]
        return {str(number): item for number, item in enumerate(items) if item}
    names: dict[str, str] = {}
    for line in block.splitlines():
        if numbered := re.match(r"\s*[\"']?(\d+)[\"']?\s*:\s*(.+)", line):
            names[numbered[1]] = numbered[2].strip().strip("\"'")
        elif item := re.match(r"\s*-\s*(.+)", line):
            names[str(len(names))] = item[1].strip().strip("\"'")
    return names


def _from_lines(text: str) -> dict[str, str]:
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    if not lines or any(len(line) > 200 for line in lines):
        return {}
    split = [re.split(r"\s*[,;:\t]\s*|\s+", line, maxsplit=1) for line in lines]
    if all(len(pair) == 2 and re.fullmatch(r"\d+|n\d{8}", pair[0]) for pair in split):
        return {key: label.split(",")[0].strip() for key, label in split}
    backward = [re.split(r"\s*[,;:\t]\s*|\s+(?=\S+$)", line, maxsplit=1) for line in lines]
    if all(len(pair) == 2 and pair[1].isdigit() for pair in backward):
        return {key: label for label, key in backward}
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
