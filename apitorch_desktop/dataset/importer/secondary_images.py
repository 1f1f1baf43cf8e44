"""Images that belong to other images: masks and other annotations drawn as images, and small copies."""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from apitorch_desktop.dataset.importer.companions import companion_kind
from apitorch_desktop.dataset.importer.folder_labels import is_counter, quoted
from apitorch_desktop.dataset.sources.lists.index import Parts
from apitorch_desktop.dataset.sources.lists.names import is_container, normal, split_words
from apitorch_desktop.utils.text import few, plural

_DRAWN: Final = (
    r"masks?|msk|masken|trimaps?|segs?|segmentations?|gts?|gt[ _-]?(?:fine|coarse)|ground[ _-]?truths?|annots?|annotations?|"
    r"mattes?|semantic|panoptic|label_?(?:train_?)?ids?|instance_?ids?"
)
"""Words for what is drawn over a photo."""
_ANNOTATION_FOLDER: Final = re.compile(rf"\b(?:train|val|test)?(?:{_DRAWN}|labels?)\b")
_WORN: Final = re.compile(
    r"\b(?:with|without|no|non|not|un|mit|ohne|kein|keine|wear|wears|weared|wearing|worn|incorrect|incorrectly|face|medical|"
    r"surgical|cloth)\b"
)
"""Words in the names of classes beside “mask”: what someone has on the face."""
_ANNOTATION_NAME: Final = re.compile(rf"(?P<photo>.+?)[ _.-]+(?:{_DRAWN})(?:[\W_]+[^\W_]{{1,10}}){{0,2}}[\W_]*")
"""Name of an annotation without its suffix, after that of its photo: cat_1_mask, cat_1_mask_2, cat_1_gtFine_labelIds."""
_ANNOTATION_FIRST: Final = re.compile(rf"(?:{_DRAWN}|labels?)[\W_]+(?P<photo>.+)")
_IMAGE_LAST: Final = re.compile(r"(?P<photo>.+)[\W_][^\W_]*(?:img|image|photo|rgb)[^\W_]*")
_IMAGE_FIRST: Final = re.compile(r"(?:img|image|photo|rgb)[\W_]+(?P<photo>.+)")
_PART_LAST: Final = re.compile(r"(?P<photo>.+)[\W_][^\W_]{1,10}")
_EXACT: Final = frozenset({".png", ".gif", ".bmp", ".tif", ".tiff"})
"""Suffixes of formats that keep each pixel as it is, in which masks are saved."""
_COPIES: Final = frozenset({"thumb", "thumbs", "thumbnail", "thumbnails", "thmbnl", "preview", "previews", "resized"})
"""Names of folders of small copies."""
_COPY_NAME: Final = re.compile(
    r"(?:(?P<photo>.+?)[ _.-]+)?(?:\d{2,4}x\d{2,4}(?:[ _-](?:center|crop|fit|fill|left|right|max))?|\d{2,4}-\d{2,4}-(?:crop|max)|"
    r"thumb|thumbnail|tn|preview|scaled)|(?:thumb|thumbnail|tn|preview)[ _.-]+(?P<other>.+)"
)
"""Name of a small copy without its suffix, with that of its photo: cat-150x150, cat_thumb, thumb_cat."""
_EMBEDDED: Final = re.compile(r"t(?P<number>\d{4,})")
"""Name of the thumbnail that PhotoRec found in the photo f of the same number."""
_OLD: Final = frozenset({"files_trashbin", "files_versions"})
"""Folders in which clouds keep what was deleted, and older versions."""
_WEB_PAGE: Final = (".css", ".js")
"""Suffixes of files in the folders of a web page."""
_ANNOTATIONS: Final = "annotations"
"""Kind of a folder's images that are drawn over photos; the other kinds are words of the sentence about small copies."""
_MOST: Final = 0.5
"""Share of the images in a folder of annotations that have the name of a photo, from which all of them are such."""
_MOST_COPIES: Final = 0.8
"""Share of the images in a folder of copies that are smaller than the photo of their name, from which all of them are such."""
_LONGEST_NAME: Final = 255
"""Letters of a name that are compared; those in an archive may be longer than any on a disk."""
_FEWEST: Final = 2
"""Annotations that lie among their photos, from which they are taken to be such by their names alone."""

IsSmaller = Callable[[int, int], bool]
"""Function that returns whether an image, by its number, is a file of fewer bytes than another."""


def secondary_images(
    images: Sequence[Parts],
    is_smaller: IsSmaller,
    is_labeled: Callable[[int], bool] = lambda _: False,
    others: Sequence[Parts] = (),
) -> tuple[set[int], list[str]]:
    """Return the numbers of the images that belong to other ones, and sentences about them.

    Annotations lie in a folder called so (masks, ground_truth) and have the names of photos in a folder beside it, in the
    same sub-folders; or they lie beside the photo, with a word such as “mask” behind its name, and no list gives them a
    label (`is_labeled`). Small copies lie in a folder called so (thumbs), in that of the photos or beside it, or beside the
    photo with a word or a size behind its name. A class may be called “mask”, and its photos counted as those of other
    classes: see `_PhotoLookup.is_annotation`. `others` are the files that are no images, films and web pages among them.
    """
    plain = _holders_of_containers(images)
    while True:
        groups, photos = _grouped(images, plain)
        drawn = [number for number in photos if _ANNOTATION_NAME.fullmatch(_stem(images[number]))]
        lookup = _PhotoLookup(images, photos, groups, others)
        secondary = {
            group: kind for group, members in groups.items() if (kind := lookup.kind(members, group, is_smaller))
        }
        if len(secondary) == len(groups):
            break
        plain |= groups.keys() - secondary.keys()
    found = {number for group in secondary for number in groups[group]}
    kinds: dict[str, Counter[str]] = {}
    for group, kind in secondary.items():
        kinds.setdefault(kind, Counter())[group[-1]] += len(groups[group])
    beside = [number for number in drawn if lookup.is_drawn_beside(number) and not is_labeled(number)]
    notes = []
    if annotations := kinds.pop(_ANNOTATIONS, None):
        notes.append(_annotations_note(annotations.total(), f"in {_few_quoted(annotations)}"))
    if len(beside) >= _FEWEST:
        notes.append(_annotations_note(len(beside), f"beside photos ({few(images[one][-1] for one in beside)})"))
        found.update(beside)
    notes += [_copies_note(folders.total(), f"in {_few_quoted(folders)}", kind) for kind, folders in kinds.items()]
    small = [number for number in _copies_beside(images, photos, is_smaller) if not is_labeled(number)]
    if len(small) >= _FEWEST:
        notes.append(_copies_note(len(small), f"({few(images[one][-1] for one in small)})", "of photos beside them"))
        found.update(small)
    if old := [number for number, parts in enumerate(images) if not _OLD.isdisjoint(parts)]:
        folders = Counter(next(name for name in images[number] if name in _OLD) for number in old)
        are, stay = ("was", "stays") if len(old) == 1 else ("were", "stay")
        notes.append(f"{plural(len(old), 'file')} in {_few_quoted(folders)} {are} deleted or replaced and {stay} out.")
        found.update(old)
    if icons := _icons(images, others):
        folders = Counter(images[number][-2] for number in icons)
        notes.append(f"{plural(len(icons), 'file')} in {_few_quoted(folders)} belong to a web page and stay out.")
        found.update(icons)
    return found, notes


def _copies_note(count: int, where: str, of_what: str) -> str:
    are, stay = ("is a small copy", "stays") if count == 1 else ("are small copies", "stay")
    return f"{plural(count, 'file')} {where} {are} {of_what} and {stay} out."


def _copies_beside(images: Sequence[Parts], photos: Sequence[int], is_smaller: IsSmaller) -> list[int]:
    """Return the images that lie beside a larger one after which they are called small copies."""
    named = {number: names for number in photos if (names := _names_of_original(_stem(images[number])))}
    wanted = {(images[number][:-1], name) for number, names in named.items() for name in names}
    originals: dict[tuple[Parts, str], list[int]] = {}
    for number in photos if wanted else ():
        if (place := (images[number][:-1], _stem(images[number]))) in wanted:
            originals.setdefault(place, []).append(number)
    return [
        number
        for number, names in named.items()
        for name in names
        if any(is_smaller(number, photo) for photo in originals.get((images[number][:-1], name), ()))
    ]


def _names_of_original(stem: str) -> list[str]:
    """Return the name, without a suffix, of the photo of which one with this name may be a small copy; else none."""
    if embedded := _EMBEDDED.fullmatch(stem):
        return [f"f{embedded['number']}"]
    copy = _COPY_NAME.fullmatch(stem)
    return [name for name in (copy["photo"], copy["other"]) if name] if copy else []


def _icons(images: Sequence[Parts], others: Sequence[Parts]) -> list[int]:
    """Return the images in folders beside those of a web page's styles, some of which are there in double size as well."""
    pages = {parts[:-2] for parts in others if len(parts) > 1 and _suffix(parts) in _WEB_PAGE}
    if not pages:
        return []
    places = {(*parts[:-1], _stem(parts)) for parts in images if len(parts) > 1 and parts[:-2] in pages}
    icons = {place[:-1] for place in places if place[-1].endswith("@2x") and (*place[:-1], place[-1][:-3]) in places}
    return [number for number, parts in enumerate(images) if parts[:-1] in icons]


def _annotations_note(count: int, where: str) -> str:
    if count == 1:
        return f"1 file {where} has the name of a photo, as masks and other annotations have: it stays out."
    return f"{count:,} files {where} have the names of photos, as masks and other annotations have: they stay out."


def _few_quoted(names: Collection[str]) -> str:
    return quoted(sorted(names)[:5]) + (", …" if len(names) > 5 else "")


def _holders_of_containers(images: Sequence[Parts]) -> set[Parts]:
    """Return the folders around containers, whose names are those of sets: face segmentation/images."""
    holders: set[Parts] = set()
    for folder in {parts[:-1] for parts in images}:
        depth = max((depth for depth, name in enumerate(folder) if is_container(name)), default=0)
        holders.update(folder[:end] for end in range(1, depth + 1))
    return holders


def _grouped(images: Sequence[Parts], plain: Set[Parts]) -> tuple[dict[Parts, list[int]], list[int]]:
    """Return images by the outermost folder that is called after annotations or copies, and those in none, the photos.

    `plain` are folders that are so called and hold photos themselves.
    """
    outermost: dict[Parts, Parts] = {}
    groups: dict[Parts, list[int]] = {}
    photos: list[int] = []
    for number, parts in enumerate(images):
        folder = parts[:-1]
        if folder not in outermost:
            above = (folder[:end] for end in range(1, len(folder) + 1) if _is_secondary_folder(folder[end - 1]))
            outermost[folder] = next((one for one in above if one not in plain), ())
        if group := outermost[folder]:
            groups.setdefault(group, []).append(number)
        else:
            photos.append(number)
    return groups, photos


@dataclass(frozen=True, slots=True)
class _Match:
    """Photo whose name an annotation has.

    `direct`: it lies in the folder around that of the annotations. `in_class`: it lies in a folder that says something, and
    the annotation in none of that name. `named`: the annotation's name says what it is, and more than a number where the
    photo may have it by chance. `whole`: the names are equal.
    """

    suffix: str
    direct: bool
    in_class: bool
    named: bool
    whole: bool


class _PhotoLookup:
    """Finds the photos that the images in `groups`, by their folder, may belong to."""

    def __init__(
        self,
        images: Sequence[Parts],
        photos: Sequence[int],
        groups: Mapping[Parts, Sequence[int]],
        others: Sequence[Parts],
    ) -> None:
        self._images = images
        self._has_photos = bool(photos)
        self._films = [parts for parts in others if companion_kind(parts[-1]) == "film"] if groups else []
        self._told: dict[Parts, Parts] = {}
        self._below: dict[tuple[Parts, str, str], list[int]] = {}
        """Photos by folder above, name of the innermost folder that says something (or ""), and key."""
        self._beside: set[tuple[Parts, str]] = set()
        tops = {group[:-1] for group in groups}
        self._keys = {
            number: list(_annotation_keys(_stem(images[number]))) for members in groups.values() for number in members
        }
        wanted = {key for keys in self._keys.values() for key, *_ in keys}
        for number in photos:
            parts = images[number]
            stem = _stem(parts)
            self._beside.add((parts[:-1], stem))
            if keys := wanted.intersection(_photo_keys(stem)):
                for depth in [depth for depth in range(len(parts)) if parts[:depth] in tops]:
                    for inner in {"", *self._telling(parts[depth:-1])[-1:]}:
                        for key in keys:
                            self._below.setdefault((parts[:depth], inner, key), []).append(number)

    def _telling(self, folders: Parts) -> Parts:
        """Return the folders whose names say something: no parts of a set, containers, or what is called after annotations."""
        if (found := self._told.get(folders)) is None:
            found = tuple(name for name in folders if not _says_nothing(name) and not _is_secondary_folder(name))
            self._told[folders] = found
        return found

    def kind(self, members: Sequence[int], folder: Parts, is_smaller: IsSmaller) -> str:
        """Return what the images in a folder that is called after annotations or copies are; "" for photos."""
        if not _is_copy_folder(folder[-1]):
            annotations = [number for number in members if self.is_annotation(number, folder)]
            return _ANNOTATIONS if len(annotations) >= _MOST * len(members) else ""
        least = _MOST_COPIES * len(members)
        if sum(self.is_copy(number, folder, is_smaller) for number in members) >= least:
            return "of photos of the same names"
        if sum(_COPY_NAME.fullmatch(_stem(self._images[number])) is not None for number in members) >= least:
            return "by their names" if self._has_photos else ""
        of_films = [number for number in members if self._is_of_film(number, folder)]
        return "of films" if len(of_films) >= _MOST * len(members) else ""

    def _is_of_film(self, number: int, folder: Parts) -> bool:
        """Return whether an image has the name of a film around its folder, or one that begins with it."""
        stem = _stem(self._images[number])
        return any(stem.startswith(_stem(film)) for film in self._films if film[: len(folder) - 1] == folder[:-1])

    def is_annotation(self, number: int, folder: Parts) -> bool:
        """Return whether an image in a folder of annotations has the name of a photo.

        That is enough where the photo lies in a container or a part of a set, with the same sub-folders. Where it lies in a
        folder that may be a class, the name has to say more than a number, or that it is an annotation, and the format has to
        be one for masks.
        """
        matches = list(self._matches(number, folder))
        if not matches:
            return False
        if not any(match.in_class for match in matches) and not all(match.direct for match in matches):
            return True
        parts = self._images[number]
        if _suffix(parts) not in _EXACT:
            return False
        if any(match.named for match in matches):
            return True
        if not all(match.whole and match.suffix != _suffix(parts) for match in matches):
            return False
        mirrored = bool(self._telling(parts[len(folder) : -1])) or all(match.direct for match in matches)
        return mirrored or not is_counter(_stem(parts))

    def is_copy(self, number: int, folder: Parts, is_smaller: IsSmaller) -> bool:
        """Return whether an image in a folder of copies is smaller than the photo of its name around that, or in a container.

        Where copies lie in one folder, that photo may lie in any, if it is the only one of a name that is no number.
        """
        depth = len(folder) - 1
        own = self._images[number]
        telling = self._telling(own[depth + 1 : -1])
        called = [
            photo
            for photo in self._below.get((folder[:-1], "".join(telling[-1:]), _stem(own)), ())
            if _stem(self._images[photo]) == _stem(own)
        ]
        originals = [photo for photo in called if self._telling(self._images[photo][depth:-1]) == telling]
        if not (originals or telling or is_counter(_stem(own))) and len(called) == 1:
            originals = called
        return any(is_smaller(number, photo) for photo in originals)

    def is_drawn_beside(self, number: int) -> bool:
        """Return whether an image lies beside the photo after which it is called an annotation."""
        parts = self._images[number]
        named = _ANNOTATION_NAME.fullmatch(_stem(parts))
        return named is not None and _suffix(parts) in _EXACT and (parts[:-1], named["photo"]) in self._beside

    def _matches(self, number: int, folder: Parts) -> Iterator[_Match]:
        """Yield the photos of the first key that leads to some."""
        depth = len(folder) - 1
        parts = self._images[number]
        own = self._telling(parts[depth + 1 : -1])
        for key, named, whole in self._keys[number]:
            matches = []
            for photo in map(self._images.__getitem__, self._below.get((folder[:-1], "".join(own[-1:]), key), ())):
                place = self._telling(photo[depth:-1])
                if place[len(place) - len(own) :] == own:
                    direct, in_class = len(photo) == len(folder), len(place) > len(own)
                    says = named and (direct or not is_counter(key))
                    matches.append(_Match(_suffix(photo), direct, in_class, says, whole))
            if matches:
                yield from matches
                return


def _annotation_keys(stem: str) -> Iterator[tuple[str, bool, bool]]:
    """Yield the keys of the photos that an annotation may belong to, and whether its name says what it is, or is the whole."""
    yield stem, False, True
    for pattern in (_ANNOTATION_NAME, _ANNOTATION_FIRST):
        if named := pattern.fullmatch(stem):
            yield named["photo"], True, False
    if part := _PART_LAST.fullmatch(stem):
        yield part["photo"], False, False


def _photo_keys(stem: str) -> set[str]:
    """Return the names by which an annotation may call a photo: with and without the word for an image in its own."""
    return {stem, *(named["photo"] for one in (_IMAGE_LAST, _IMAGE_FIRST) if (named := one.fullmatch(stem)))}


def _stem(parts: Parts) -> str:
    stem = (parts[-1].rpartition(".")[0] or parts[-1])[:_LONGEST_NAME]
    return stem.lower() if stem.isascii() else unicodedata.normalize("NFC", stem).casefold()


def _suffix(parts: Parts) -> str:
    name, dot, suffix = parts[-1].rpartition(".")
    return dot + suffix.lower() if name else ""


@lru_cache(2**16)
def _says_nothing(name: str) -> bool:
    part, others = split_words(name)
    return is_container(name) or (not others and (bool(part) or any(map(str.isalpha, name))))


@lru_cache(2**16)
def _is_secondary_folder(name: str) -> bool:
    if _is_copy_folder(name):
        return True
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", unicodedata.normalize("NFC", name))
    words = " ".join(re.split(r"[\W\d_]+", spaced.casefold()))
    return _ANNOTATION_FOLDER.search(words) is not None and _WORN.search(words) is None


def _is_copy_folder(name: str) -> bool:
    return normal(name) in _COPIES
