"""Texts beside photos that look as if they held labels, and are not read."""

import re
from collections.abc import Callable, Container, Iterable, Iterator
from pathlib import PurePosixPath
from typing import Final

from apitorch_desktop.dataset.importer.companions import companion_kind
from apitorch_desktop.dataset.sources.lists import reader
from apitorch_desktop.dataset.sources.lists.index import IMAGE_SUFFIXES, ImageIndex, Parts
from apitorch_desktop.dataset.sources.lists.table import decode
from apitorch_desktop.utils.text import few

ListFile = tuple[Parts, Callable[[], bytes]]
"""Parts of a file that may be a list, and a function that reads it, which raises InvalidList."""
TEXT_BYTES: Final = 2**16
"""Bytes of a text that say whether it names photos."""
_MANY: Final = 10
"""Photos in a text from which it is about them, however many there are."""
_SUFFIXES: Final = "|".join(sorted(suffix[1:] for suffix in IMAGE_SUFFIXES))
_MENTIONED: Final = re.compile(rf"[^\s\"'`<>|,;:=()\[\]{{}}]{{1,250}}\.(?:{_SUFFIXES})\b", re.IGNORECASE)
_ADVICE: Final = "labels are read from a CSV with the columns “file_name” and “label”."


def unread_notes(files: Iterable[ListFile], index: ImageIndex, images: int, labels: Container[Parts]) -> Iterator[str]:
    """Yield sentences about files that are called as photos without a label, or name photos.

    One that is called as a photo may be by chance, and so may the name of a photo in a text: there are several, or as many
    as half of the photos. `images`: how many there are; `labels`: those that have one by a list.
    """
    of_suffixes: dict[str, list[str]] = {}
    naming = []
    for parts, load in files:
        if companion_kind(parts[-1]):
            continue
        name = PurePosixPath(parts[-1])
        if found := index.candidates(name.stem, parts[:-1]):
            if any(image not in labels for image in found):
                of_suffixes.setdefault(name.suffix, []).append(parts[-1])
        elif _named_images(load, index, parts[:-1]) >= max(2, min(images / 2, _MANY)):
            naming.append(parts[-1])
    called = [name for alike in of_suffixes.values() if 2 * len(alike) >= min(images, 4) for name in alike]
    for unread, one, several in (
        (called, "is called as a photo, and is", "are called as photos, and are"),
        (naming, "names photos, and is", "name photos, and are"),
    ):
        if len(unread) == 1:
            yield f"{few(unread)} {one} not read: {_ADVICE}"
        elif unread:
            yield f"{len(unread):,} files {several} not read ({few(unread)}): {_ADVICE}"


def _named_images(load: Callable[[], bytes], index: ImageIndex, base: Parts) -> int:
    try:
        text = decode(load()[:TEXT_BYTES])
    except reader.InvalidList:
        return 0
    named = dict.fromkeys(_MENTIONED.findall(text))
    return len({image for path in named if (image := index.find(path, base)) is not None})
