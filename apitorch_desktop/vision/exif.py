"""Facts that a camera wrote into a photo's file (Exif 2.32): when, with what, how, and where it was taken."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from apitorch_desktop.vision.images import UnreadableImage, exif_tags

_MAKE, _MODEL, _LENS = 0x010F, 0x0110, 0xA434
_TAKEN, _EXPOSURE, _APERTURE, _ISO, _FOCAL, _FOCAL_35 = 0x9003, 0x829A, 0x829D, 0x8827, 0x920A, 0xA405
_LATITUDE_REF, _LATITUDE, _LONGITUDE_REF, _LONGITUDE = 1, 2, 3, 4
_LONGEST: Final = 80
"""Characters of a name; longer ones are cut."""


@dataclass(frozen=True, slots=True)
class CameraFacts:
    """Known facts: local time, camera, lens, exposure as words ("f/2.8"), and degrees north and east."""

    taken: datetime | None
    camera: str
    lens: str
    exposure: tuple[str, ...]
    place: tuple[float, float] | None

    def __bool__(self) -> bool:
        return bool(self.taken or self.camera or self.lens or self.exposure or self.place)


def camera_facts(data: bytes) -> CameraFacts:
    """Read the facts from an image file; those that are missing or damaged are left out."""
    try:
        tags, gps = exif_tags(data)
    except UnreadableImage:
        tags, gps = {}, {}
    make, model = _text(tags.get(_MAKE)), _text(tags.get(_MODEL))
    named = model.lower().startswith(make.lower().partition(" ")[0]) if make else True
    return CameraFacts(
        _time(tags.get(_TAKEN)),
        model if named else f"{make} {model}".strip(),
        _text(tags.get(_LENS)),
        tuple(part for part in (_focal(tags), _aperture(tags), _exposure(tags), _iso(tags)) if part),
        _place(gps),
    )


def _text(value: object) -> str:
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else value if isinstance(value, str) else ""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())[:_LONGEST]


def _time(value: object) -> datetime | None:
    try:
        taken = datetime.strptime(_text(value), "%Y:%m:%d %H:%M:%S")  # noqa: DTZ007 - a camera's clock has no zone
    except ValueError:
        return None
    return taken if taken.year >= 1900 else None  # else a clock that was never set


def _number(value: Any) -> float:
    """Return a positive number, 0 for anything else."""
    try:
        number = float(value[0] if isinstance(value, tuple) else value)
    except (TypeError, ValueError, ZeroDivisionError, IndexError, OverflowError):
        return 0.0
    return number if 0 < number < 1e9 else 0.0


def _focal(tags: Mapping[int, Any]) -> str:
    length, small_format = _number(tags.get(_FOCAL)), _number(tags.get(_FOCAL_35))
    if not length:
        return ""
    same = not small_format or round(small_format) == round(length)
    return f"{length:.3g} mm" if same else f"{length:.3g} mm (as {small_format:.0f})"


def _aperture(tags: Mapping[int, Any]) -> str:
    number = _number(tags.get(_APERTURE))
    return f"f/{number:.2g}" if number else ""


def _exposure(tags: Mapping[int, Any]) -> str:
    seconds = _number(tags.get(_EXPOSURE))
    if not seconds:
        return ""
    return f"{seconds:.2g} s" if seconds > 0.3 else f"1/{1 / seconds:.0f} s"


def _iso(tags: Mapping[int, Any]) -> str:
    number = _number(tags.get(_ISO))
    return f"ISO {number:.0f}" if number else ""


def _place(gps: Mapping[int, Any]) -> tuple[float, float] | None:
    try:
        found = [sum(float(part) / 60**power for power, part in enumerate(gps[tag])) for tag in (_LATITUDE, _LONGITUDE)]
    except (KeyError, TypeError, ValueError, ZeroDivisionError, OverflowError):
        return None
    north = -found[0] if _text(gps.get(_LATITUDE_REF)) == "S" else found[0]
    east = -found[1] if _text(gps.get(_LONGITUDE_REF)) == "W" else found[1]
    return (north, east) if abs(north) <= 90 and abs(east) <= 180 and (north or east) else None
