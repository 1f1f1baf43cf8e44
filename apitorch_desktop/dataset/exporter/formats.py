"""Index files of an exported tree for other programs: CSV, JSONL, Create ML, Croissant; and the zip archive."""

import csv
import json
import re
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Final

from apitorch_desktop.api.types import TrainingImage
from apitorch_desktop.dataset.workspace.listing import Listing
from apitorch_desktop.utils.files import safe_filename
from apitorch_desktop.utils.paths import resources
from apitorch_desktop.utils.text import neutralized

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

CSV_NAME: Final = "labels.csv"
JSONL_NAME: Final = "metadata.jsonl"
"""Name that Hugging Face's image folder expects beside the images."""
CREATEML_NAME: Final = "_annotations.createml.json"
"""Name that programs which exchange Create ML's JSON expect beside the images."""
CROISSANT_NAME: Final = "croissant.json"


@dataclass(slots=True)
class ExportedImage:
    """An image of an export. `pixels` are width and height as shown; `part` is empty without a split, `label` without one.

    `ending` replaces that of its name, where it was converted. `pattern` is for finding near-duplicates, where that is wanted.
    """

    record: TrainingImage
    label: str
    staged: Path
    size: int
    sha256: str
    pixels: tuple[int, int] | None = None
    part: str = ""
    ending: str = ""
    pattern: "NDArray[np.uint8] | None" = None

    @property
    def path(self) -> PurePosixPath:
        """Path in the tree."""
        folder = safe_filename(self.label) if self.label else ""
        path = PurePosixPath(self.part, folder, safe_filename(self.record.filename))
        return path.with_suffix(self.ending) if self.ending else path

    @property
    def split(self) -> str:
        """The part that it is in, else its own split."""
        return self.part or self.record.known_split

    def fields(self) -> dict[str, Any]:
        """Return the values of an index beside path and label; None for those that are unknown."""
        width, height = self.pixels or (None, None)
        return {
            "image_id": self.record.image_id,
            "original_filename": _known(self.record.original_filename),
            "width": width,
            "height": height,
            "bytes": self.size,
            "sha256": self.sha256,
            "created_at": _known(self.record.created_at),
        }


def write_csv(images: Sequence[ExportedImage], tree: Path) -> None:
    """Write one `labels.csv` (RFC 4180, UTF-8) at the top of the tree; no text in it is a formula to a spreadsheet."""
    with (tree / CSV_NAME).open("x", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file_name", "label", "split", *(images[0].fields() if images else ())])
        for image in images:
            path = str(image.path)
            safe_path = path if neutralized(path) == path else f"./{path}"  # still the same path to every reader
            texts = (neutralized(value) if isinstance(value, str) else value for value in image.fields().values())
            writer.writerow([safe_path, neutralized(image.label), image.split, *texts])


def write_jsonl(images: Sequence[ExportedImage], tree: Path) -> None:
    """Write a `metadata.jsonl` at the top of the tree or of each part, which `file_name` is relative to."""
    with_splits = any(image.split for image in images)
    for part, members in _by_part(images).items():
        with (tree / part / JSONL_NAME).open("x", encoding="utf-8") as file:
            for image in members:
                line = {"file_name": str(image.path.relative_to(part)), "label": image.label or None, **image.fields()}
                if with_splits:
                    line["split"] = image.split or None
                file.write(json.dumps(line, ensure_ascii=False) + "\n")


def write_createml(images: Sequence[ExportedImage], tree: Path) -> None:
    """Write Create ML's JSON at the top of the tree or of each part; its image classifier reads the tree itself.

    A box is given by its center, in pixels: here it is the whole image.
    """
    for part, members in _by_part(images).items():
        entries = []
        for image in members:
            width, height = image.pixels or (0, 0)
            box = {"x": width / 2, "y": height / 2, "width": width, "height": height}
            entries.append(
                {
                    "image": str(image.path.relative_to(part)),
                    "annotations": [{"label": image.label, "coordinates": box}],
                }
            )
        (tree / part / CREATEML_NAME).write_text(json.dumps(entries, ensure_ascii=False, indent=1), encoding="utf-8")


def write_croissant(listing: Listing, images: Sequence[ExportedImage], tree: Path) -> None:
    """Write Croissant 1.0 (mlcommons.org/croissant) at the top of the tree; label and part are derived from the paths."""
    parts = sorted({image.part for image in images} - {""})
    prefix = f"(?:{'|'.join(parts)})/" if parts else ""
    endings = sorted({image.path.suffix for image in images})
    fields = [
        _field("image", "sc:ImageObject", "The picture.", {"fileProperty": "content"}),
        _field("file_name", "sc:Text", "Its path in the data set.", {"fileProperty": "fullpath"}),
        _field("label", "sc:Text", "Its label.", {"fileProperty": "fullpath"}, f"^{prefix}([^/]+)/"),
    ]
    if parts:
        fields.append(_field("split", "sc:Text", "Its part.", {"fileProperty": "fullpath"}, "^([^/]+)/"))
    name = listing.slug or listing.training_set_id
    labels = sorted({image.label for image in images})
    content = {
        "@context": json.loads((resources() / "croissant-context.json").read_text(encoding="utf-8")),
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": re.sub(r"[^A-Za-z0-9_.-]+", "-", name).strip("-") or "training-set",
        "description": f"{len(images):,} images under {len(labels)} labels: {', '.join(labels)}.",
        "version": "1.0.0",
        "datePublished": datetime.now(UTC).date().isoformat(),
        **({"url": listing.url} if listing.url else {}),
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
    (tree / CROISSANT_NAME).write_text(json.dumps(content, ensure_ascii=False, indent=1), encoding="utf-8")


def write_zip(tree: Path, target: Path) -> None:
    """Write the tree as a zip with its own folder at the top; images are not compressed again."""
    with zipfile.ZipFile(target, "x", zipfile.ZIP_STORED) as archive:
        for path in sorted(tree.rglob("*")):
            if path.is_file():
                archive.write(path, Path(tree.name) / path.relative_to(tree))


def _by_part(images: Iterable[ExportedImage]) -> dict[str, list[ExportedImage]]:
    parts: dict[str, list[ExportedImage]] = {}
    for image in images:
        parts.setdefault(image.part, []).append(image)
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
