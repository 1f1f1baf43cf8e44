"""Texts that lie beside photos and are called as these: captions, or the label of each."""

import re
from collections.abc import Mapping
from typing import Final

from apitorch_desktop.api.types import LONGEST_LABEL
from apitorch_desktop.dataset.sources.lists.index import Parts
from apitorch_desktop.dataset.sources.lists.table import decode, looks_like_path

PhotoTexts = Mapping[Parts, tuple[Parts, bytes]]
"""Photo → parts of the text called as it, and the text."""

_HEAD: Final = 4096
_WORD: Final = re.compile(r"(?=\S*[^\W\d])[^\s,;|]+")
_MOST_DISTINCT: Final = 0.7
"""Share of the words that are distinct, up to which they are labels."""


def speaks_of_others(data: bytes) -> bool:
    """Return whether a text that is called as a photo is a list all the same: JSON, or lines that name files of images."""
    start = decode(data[:_HEAD]).strip()
    return start[:1] in {"{", "["} or any(map(looks_like_path, re.split(r"[\s,;|\"]", start)))


def labels_in_texts(texts: PhotoTexts) -> dict[Parts, str]:
    """Return the labels of photos whose texts hold one word each, some of them the same; else nothing."""
    words = {image: decode(data).strip() for image, (_, data) in texts.items()}
    distinct = set(words.values())
    recur = 1 < len(distinct) <= _MOST_DISTINCT * len(words)
    return words if recur and all(_WORD.fullmatch(word) and len(word) <= LONGEST_LABEL for word in distinct) else {}
