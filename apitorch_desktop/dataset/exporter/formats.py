"""The files that tell other programs what an exported tree holds: CSV, JSONL, Create ML, Croissant; and the zip."""

import csv
import json
import re
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Final

from apitorch_desktop.api.types import TrainingImage, TrainingImages
from apitorch_desktop.utils.files import safe_filename

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

CSV_NAME: Final = "labels.csv"
JSONL_NAME: Final = "metadata.jsonl"
"""What Hugging Face's image folder looks for beside the pictures."""
CREATEML_NAME: Final = "_annotations.createml.json"
"""What the programs that exchange Create ML's JSON look for beside the pictures."""
CROISSANT_NAME: Final = "croissant.json"


@dataclass(slots=True)
class ExportedImage:
    """An image on its way out. `pixels` are width and height as shown; `part` is empty without a split.

    `pattern` is what near-duplicates are found by, where they are looked for.
    """

    image: TrainingImage
    label: str
    staged: Path
    size: int
    sha256: str
    pixels: tuple[int, int] | None = None
    part: str = ""
    pattern: "NDArray[np.uint8] | None" = None

    @property
    def path(self) -> PurePosixPath:
        """Where it lies in the tree."""
        return PurePosixPath(self.part, safe_filename(self.label), safe_filename(self.image.filename))

    def fields(self) -> dict[str, Any]:
        """What an index says about it, beside its path and label; None for what is not known."""
        width, height = self.pixels or (None, None)
        return {
            "image_id": self.image.image_id,
            "original_filename": _known(self.image.original_filename),
            "width": width,
            "height": height,
            "bytes": self.size,
            "sha256": self.sha256,
            "created_at": _known(self.image.created_at),
        }


def write_csv(shots: Sequence[ExportedImage], tree: Path) -> None:
    """One `labels.csv` (RFC 4180, UTF-8) at the top of the tree."""
    with (tree / CSV_NAME).open("x", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file_name", "label", "split", *(shots[0].fields() if shots else ())])
        writer.writerows([shot.path, shot.label, shot.part, *shot.fields().values()] for shot in shots)


def write_jsonl(shots: Sequence[ExportedImage], tree: Path) -> None:
    """A `metadata.jsonl` at the top of the tree, or of each part: `file_name` counts from there."""
    for part, members in _by_part(shots).items():
        with (tree / part / JSONL_NAME).open("x", encoding="utf-8") as file:
            for shot in members:
                line = {"file_name": str(shot.path.relative_to(part)), "label": shot.label, **shot.fields()}
                file.write(json.dumps(line, ensure_ascii=False) + "\n")


def write_createml(shots: Sequence[ExportedImage], tree: Path) -> None:
    """Create ML's JSON at the top of the tree, or of each part; the tree itself is what its image classifier takes.

    A box is given by its centre, in pixels: here it is the whole picture.
    """
    for part, members in _by_part(shots).items():
        entries = []
        for shot in members:
            width, height = shot.pixels or (0, 0)
            box = {"x": width / 2, "y": height / 2, "width": width, "height": height}
            entries.append(
                {
                    "image": str(shot.path.relative_to(part)),
                    "annotations": [{"label": shot.label, "coordinates": box}],
                }
            )
        (tree / part / CREATEML_NAME).write_text(json.dumps(entries, ensure_ascii=False, indent=1), encoding="utf-8")


def write_croissant(listing: TrainingImages, shots: Sequence[ExportedImage], tree: Path) -> None:
    """Croissant 1.0 (mlcommons.org/croissant) at the top of the tree; label and part are read off the paths."""
    parts = sorted({shot.part for shot in shots} - {""})
    above = f"(?:{'|'.join(parts)})/" if parts else ""
    endings = sorted({PurePosixPath(shot.image.filename).suffix for shot in shots})
    fields = [
        _field("image", "sc:ImageObject", "The picture.", {"fileProperty": "content"}),
        _field("file_name", "sc:Text", "Its path in the data set.", {"fileProperty": "fullpath"}),
        _field("label", "sc:Text", "Its label.", {"fileProperty": "fullpath"}, f"^{above}([^/]+)/"),
    ]
    if parts:
        fields.append(_field("split", "sc:Text", "Its part.", {"fileProperty": "fullpath"}, "^([^/]+)/"))
    name = listing.training_set_slug or str(listing.training_set_id)
    labels = sorted({shot.label for shot in shots})
    said = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": re.sub(r"[^A-Za-z0-9_.-]+", "-", name).strip("-") or "training-set",
        "description": f"{len(shots):,} images under {len(labels)} labels: {', '.join(labels)}.",
        "version": "1.0.0",
        "datePublished": datetime.now(UTC).date().isoformat(),
        **({"url": listing.training_set_url} if listing.training_set_url else {}),
        "distribution": [
            {
                "@type": "cr:FileSet",
                "@id": "image-files",
                "name": "image-files",
                "description": "The pictures, one folder a label.",
                "encodingFormat": "image/jpeg",
                "includes": [f"*/*{ending}" for ending in endings] or ["*/*"],
            }
        ],
        "recordSet": [{"@type": "cr:RecordSet", "@id": "images", "name": "images", "field": fields}],
    }
    (tree / CROISSANT_NAME).write_text(json.dumps(said, ensure_ascii=False, indent=1), encoding="utf-8")


def write_zip(tree: Path, target: Path) -> None:
    """The tree as a zip, its own folder at the top; pictures are not packed once more."""
    with zipfile.ZipFile(target, "x", zipfile.ZIP_STORED) as archive:
        for path in sorted(tree.rglob("*")):
            if path.is_file():
                archive.write(path, Path(tree.name) / path.relative_to(tree))


def _by_part(shots: Iterable[ExportedImage]) -> dict[str, list[ExportedImage]]:
    parts: dict[str, list[ExportedImage]] = {}
    for shot in shots:
        parts.setdefault(shot.part, []).append(shot)
    return parts


def _known(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _field(name: str, kind: str, about: str, extract: dict[str, str], regex: str = "") -> dict[str, Any]:
    source: dict[str, Any] = {"fileSet": {"@id": "image-files"}, "extract": extract}
    if regex:
        source["transform"] = {"regex": regex}
    return {
        "@type": "cr:Field",
        "@id": f"images/{name}",
        "name": name,
        "description": about,
        "dataType": kind,
        "source": source,
    }


_CONTEXT: Final = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
"""The context that the specification of Croissant 1.0 has every file begin with."""
