"""Files and folders that cameras, programs and clouds lay among photos, known by their names."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import Final

from apitorch_desktop.dataset.importer.folder_labels import quoted
from apitorch_desktop.dataset.sources.lists.index import IMAGE_SUFFIXES, Parts
from apitorch_desktop.utils.text import few, plural, shown

CLUTTER: Final = frozenset({
    "__macosx", "thumbs.db", "desktop.ini", "@eadir", "$recycle.bin", "#recycle", "@recycle", "@recently-snapshot",
    "#snapshot", "~snapshot", "@tmp", "recycler", "recycled", "system volume information", "lost+found", "network trash folder",
    "temporary items", "found.000", "icon\r", "ehthumbs.db", "lost.dir", "picasa.ini", "zbthumbnail.info", "pspbrwse.jbf",
    "__pycache__", ".@__thumb", ".thumbnails", ".thumbs", ".stversions", ".dropbox.cache", ".dtrash", ".trash", ".trashes",
    ".snapshot", ".snapshots", ".sync",
})  # fmt: skip
"""Files and folders made by systems, storages and programs, in lower case."""
_TRASH: Final = re.compile(r"\.Trash-\d+")
"""Folder of what a user, by number, has deleted on a disk."""
_FILM: Final = "mov mp4 m4v avi mpg mpeg mts m2ts 3gp 3g2 mkv webm wmv flv mxf vob lrv insv 360 mp"
_KINDS: Final = {
    f".{suffix}": kind
    for kind, suffixes in {
        "film": _FILM,
        "sidecar": "xmp aae thm pp3 dop on1 nksc cos cot cop lrprev vrd ctg acr exf",
        "catalog": "lrcat lrcat-wal lrcat-shm lrcat-journal cocatalogdb cosessiondb apdb photosdb",
        "shortcut": "lnk url webloc desktop",
        "unfinished download": "part partial filepart crdownload opdownload download aria2 tmp",
    }.items()
    for suffix in suffixes.split()
}
"""Suffix → kind of file. A sidecar (an Exif thumbnail, a cached preview) and a download may begin like a photo."""
_DESCRIBED: Final = "|".join(
    sorted(suffix[1:] for suffix in (*IMAGE_SUFFIXES, *(f".{name}" for name in _FILM.split())))
)
_DESCRIPTION: Final = re.compile(
    rf"\.(?:{_DESCRIBED})(?:\(\d+\))?(?:\.s[a-z-]*)?(?:\(\d+\))?\.json|metad(?:ata|aten|ados|ati)?(?:\(\d+\))?\.json",
    re.IGNORECASE,
)
"""End of the names of Google Takeout: IMG_1.jpg.json, IMG_1.jpg(1).json, IMG_1.jpg.supplemental-metadata.json, cut to 46."""
_BACKUP: Final = re.compile(r"(.+?)(?:_original|~|\.~\d+~|\.(?:bak|backup|old|orig))", re.IGNORECASE)
"""Name of what a program keeps of a photo that it writes anew: IMG_1.jpg_original of exiftool, IMG_1.jpg~ of editors."""
_PLACEHOLDER: Final = re.compile(r"\.(.+)\.icloud", re.IGNORECASE)
_SHOTS: Final = frozenset({".pvt", ".live", ".livp"})
"""Suffixes of folders and archives that hold one Live Photo: its still and its film."""
_CLOSED: Final = frozenset(
    {".lrdata", ".lrcat-data", ".app", ".imovielibrary", ".fcpbundle", ".theater", ".tvlibrary", ".musiclibrary", ".download"}
)  # fmt: skip
"""Suffixes of folders that belong to a program: caches, previews, projects."""
_MARKED: Final = {"thumbs/.immich": frozenset({"thumbs", "encoded-video", "profile", "backups"})}
"""Path of a file that marks the folder around as that of a program → folders there that the program keeps for itself."""
_LIBRARIES: Final = {
    ".photoslibrary": 1, ".photolibrary": 1, ".migratedphotolibrary": 1, ".aplibrary": 1, ".cocatalog": 1, ".lrlibrary": 2,
}  # fmt: skip
"""Suffix of a library of photos → depth of the folder with the photos themselves among those of the program."""
_IPHOTO: Final = re.compile(r"(?=.*\biphoto\b).*(?:librar|librer|thek|th[eè]que|teca|bibliot).*", re.IGNORECASE)
"""Name of the folder of iPhoto's library on a disk that does not show it as a package: iPhoto Library, iPhoto-Mediathek."""
_ORIGINALS: Final = frozenset({"originals", "masters"})


def is_clutter(name: str) -> bool:
    """Return True for a file or folder made by a system, or for the second half that macOS gives a file elsewhere."""
    return name.lower() in CLUTTER or name.startswith("._") or _TRASH.fullmatch(name) is not None


def is_hidden_photo(name: str) -> bool:
    """Return True for a photo whose name begins with a dot, which no system or storage gave it."""
    return name.startswith(".") and not is_clutter(name) and PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES


def companion_kind(name: str) -> str:
    """Return the kind of a file that lies beside photos and is none, such as "film"; "" for any other file."""
    if _DESCRIPTION.search(name) and name.lower().endswith(".json"):
        return "description"
    return _KINDS.get(PurePosixPath(name).suffix.lower(), "")


def placeholder_of(name: str) -> str:
    """Return the name of the photo that iCloud has in place of this file; "" for any other file."""
    found = _PLACEHOLDER.fullmatch(name)
    return found[1] if found and PurePosixPath(found[1]).suffix.lower() in IMAGE_SUFFIXES else ""


def backups(images: Sequence[Parts]) -> set[int]:
    """Return the numbers of the images that a program kept of others, which lie beside them."""
    names = set(images)
    return {
        number
        for number, (*folders, name) in enumerate(images)
        if (found := _BACKUP.fullmatch(name)) and (*folders, found[1]) in names
    }


def backups_note(names: Sequence[str]) -> str:
    """Return a sentence about such images, by their names."""
    if len(names) == 1:
        return f"{quoted(names)} is what a program kept of the photo beside it, and stays out."
    return f"{len(names):,} files are what a program kept of the photos beside them ({few(names)}), and stay out."


def is_live_photo(name: str) -> bool:
    """Return True for a folder or an archive that holds the still and the film of one photo."""
    return PurePosixPath(name).suffix.lower() in _SHOTS


def is_library(name: str) -> bool:
    """Return True for the folder in which a program keeps a library of photos."""
    return _depth_of_library(name) > 0


def _depth_of_library(name: str) -> int:
    """Return how deep the photos of a library lie in it, 0 for any other folder."""
    return _LIBRARIES.get(PurePosixPath(name).suffix.lower(), 1 if _IPHOTO.fullmatch(name) else 0)


def is_of_program(name: str) -> bool:
    """Return True for a folder that a program keeps for itself, a library of photos included."""
    return is_library(name) or PurePosixPath(name).suffix.lower() in _CLOSED


def marked_folders(folder: Path) -> frozenset[str]:
    """Return the names of those folders in a folder that a program, by a file that it left there, keeps for itself."""
    return frozenset[str]().union(*(names for mark, names in _MARKED.items() if (folder / mark).is_file()))


def folders_of_user(folders: Parts) -> Parts | None:
    """Return the folders around a photo that the user made; None where the photo, or folder, belongs to a program.

    Of a library only the originals are the user's, and its own folders are none: a photo in it lies where the library does.
    """
    for number, name in enumerate(folders):
        suffix = PurePosixPath(name).suffix.lower()
        if suffix in _CLOSED:
            return None
        if depth := _depth_of_library(name):
            inside = folders[number + 1 : number + 1 + depth]
            own = len(inside) < depth or inside[-1].lower() in _ORIGINALS
            return folders_of_user(folders[:number]) if own else None
    return tuple(name for name in folders if not is_live_photo(name))


def left_out_note(files: Iterable[str]) -> str:
    """Return a sentence that counts files by their kind; "" where none is of a known kind."""
    kinds: Counter[str] = Counter()
    suffixes: dict[str, set[str]] = {}
    for name in files:
        if kind := companion_kind(name):
            kinds[kind] += 1
            suffixes.setdefault(kind, set()).add(PurePosixPath(name).suffix[1:].upper())
    if not kinds:
        return ""
    counts = [
        f"{plural(count, kind)} ({', '.join(sorted(suffixes[kind])[:8])})" for kind, count in sorted(kinds.items())
    ]
    are = "is no photo and stays" if kinds.total() == 1 else "are no photos and stay"
    keywords = " The keywords in XMP files are not read." if "XMP" in suffixes.get("sidecar", ()) else ""
    return f"{' and '.join(filter(None, [', '.join(counts[:-1]), counts[-1]]))} {are} out.{keywords}"


def closed_note(folders: Iterable[str]) -> str:
    """Return a sentence about folders of programs that were not searched; "" where there is none."""
    names = sorted(set(folders))
    more = ", …" if len(names) > 5 else ""
    belong = (
        "belongs to a program: what is in it stays" if len(names) == 1 else "belong to programs: what is in them stays"
    )
    return f"{quoted(names[:5])}{more} {belong} out." if names else ""


def hidden_notes(folders: Iterable[str], photos: Iterable[str]) -> list[str]:
    """Return sentences about folders with photos, and photos, that are passed over for the dot before their names."""
    notes = []
    for name, count in Counter(folders).items():
        if count == 1:
            notes.append(f"“{shown(name)}” is hidden, as its name begins with a dot: its photos stay out.")
        else:
            notes.append(
                f"{count:,} folders “{shown(name)}” are hidden, as their name begins with a dot: their photos stay out."
            )
    if names := list(photos):
        are = "is hidden, as its name begins" if len(names) == 1 else "are hidden, as their names begin"
        stay = "it stays" if len(names) == 1 else "they stay"
        notes.append(f"{plural(len(names), 'photo')} {are} with a dot ({few(names)}): {stay} out.")
    return notes


def unread_note(kind: str, names: Sequence[str]) -> str:
    """Return a sentence about images of one kind, with its article, that cannot be read."""
    if len(names) == 1:
        return f"{quoted(names)} is {kind}, which cannot be read here: save it as a JPEG or PNG."
    of = kind.partition(" ")[2]
    return (
        f"{len(names):,} files, such as {quoted(names[:1])}, are of the kind “{of}”, which cannot be read here: save them as "
        "JPEG or PNG."
    )


def alike_note(sentences: Sequence[str]) -> str:
    """Return the first of several sentences that say the same of a file each, and the number of the others."""
    are = "is" if len(sentences) == 2 else "are"
    more = f" So {are} {plural(len(sentences) - 1, 'more file')}." if len(sentences) > 1 else ""
    return f"{sentences[0]}{more}"


def array_note(kind: str, names: Sequence[str]) -> str:
    """Return a sentence about files of numbers of one kind, with its article, which may be photos."""
    return alike_note(
        [f"{quoted([name])} is {kind}, which is not read: export the images in it as files." for name in names]
    )


def away_note(photos: Iterable[str]) -> str:
    """Return a sentence about photos that a cloud has in place of the disk; "" where there is none."""
    names = list(photos)
    more = ", …" if len(names) > 3 else ""
    are, them = ("is", "it") if len(names) == 1 else ("are", "them")
    return (
        f"{plural(len(names), 'photo')} {are} in iCloud and not on this disk: {quoted(names[:3])}{more}. Download {them} first."
        if names
        else ""
    )
