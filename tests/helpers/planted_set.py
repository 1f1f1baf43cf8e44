"""Real photos with faults planted among them: wrong labels, near-duplicates, blurred and black pictures."""

import io
import random
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image, ImageEnhance, ImageFilter


@dataclass
class Planted:
    """What to upload: (label, file name, bytes); and which of them, by file name, are at fault."""

    uploads: list[tuple[str, str, bytes]] = field(default_factory=list)
    wrong: dict[str, str] = field(default_factory=dict)
    """File name → its true label."""
    twins: dict[str, str] = field(default_factory=dict)
    """Copy → original."""
    blurred: set[str] = field(default_factory=set)
    black: set[str] = field(default_factory=set)


def plant(
    photos: Path, *, each: int = 60, wrong: int = 30, twins: int = 40, blurred: int = 20, black: int = 10, seed: int = 1
) -> Planted:
    """`each` photos of every label, and faults by lot."""
    lot = random.Random(seed)
    made = Planted()
    files = [file for label in sorted((photos / "train").iterdir()) for file in sorted(label.iterdir())[:each]]
    labels = sorted({file.parent.name for file in files})
    chosen = lot.sample(range(len(files)), wrong)
    for number, file in enumerate(files):
        label = file.parent.name
        if number in chosen:
            made.wrong[file.name] = label
            label = lot.choice([other for other in labels if other != label])
        made.uploads.append((label, file.name, file.read_bytes()))
    sound = [one for one in made.uploads if one[1] not in made.wrong]
    for number, (label, name, data) in enumerate(lot.sample(sound, twins)):
        copy = f"copy-{number}.jpg"
        made.twins[copy] = name
        made.uploads.append((label, copy, _copy(Image.open(io.BytesIO(data)).convert("RGB"), number % 4)))
    for number, (label, _, data) in enumerate(lot.sample(sound, blurred)):
        name = f"blurred-{number}.jpg"
        made.blurred.add(name)
        photo = Image.open(io.BytesIO(data)).convert("RGB")
        flipped = photo.transpose(Image.Transpose.FLIP_LEFT_RIGHT)  # not a near-duplicate of where it came from
        made.uploads.append((label, name, _saved(flipped.filter(ImageFilter.GaussianBlur(6)))))
    for number in range(black):
        name = f"black-{number}.jpg"
        made.black.add(name)
        noise = Image.frombytes("RGB", (300, 400), bytes(lot.randrange(3 + number) for _ in range(300 * 400 * 3)))
        made.uploads.append((lot.choice(labels), name, _saved(noise)))
    return made


def _copy(photo: Image.Image, kind: int) -> bytes:
    width, height = photo.size
    if kind == 0:
        return _saved(photo.resize((width * 3 // 5, height * 3 // 5)))
    if kind == 1:
        return _saved(photo, quality=55)
    if kind == 2:
        x, y = width // 40, height // 40  # 5 % of width and height in all
        return _saved(photo.crop((x, y, width - x, height - y)))
    return _saved(ImageEnhance.Brightness(photo).enhance(1.2))


def _saved(photo: Image.Image, quality: int = 90) -> bytes:
    file = io.BytesIO()
    photo.save(file, "JPEG", quality=quality)
    return file.getvalue()
