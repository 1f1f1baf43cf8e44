"""Classification of many images by a few classifiers: answers, disagreement, and the table that is saved."""

from __future__ import annotations

import csv
import errno
import hashlib
import io
import json
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any, Final, TextIO

from apitorch_desktop.api.errors import ApiError, BadRequest, NotApiTorch, NotFound, ServerError, WrongKey
from apitorch_desktop.api.slugs import snake_case
from apitorch_desktop.api.types import NONE_OF_THESE, Classification
from apitorch_desktop.dataset.sources.archives import Archives, read
from apitorch_desktop.dataset.sources.image_source import (
    ImageFile,
    ImageUrl,
    Source,
    SourceMissing,
    UploadItem,
    filename_of,
)
from apitorch_desktop.utils.files import atomic_write, descriptor_of
from apitorch_desktop.utils.text import neutralized

Answers = dict[str, Classification | str]
"""Slug → the answer, or a sentence with the reason why there is none."""

COLUMNS: Final = ("image", "classifier", "label", "confidence", "confidence_value", "sentence", "error")
"""Columns of the saved file, which has a row for each image and classifier."""
NOT_YET: Final = "Not classified yet."
_MAX_SIZE = 2**28
_MAX_LINKS = 40  # as Linux follows


@dataclass(slots=True)
class BatchRow:
    """One image and its answers. `name` and `place` are printable; `problem`: why it was not classified."""

    source: Source
    name: str
    place: str
    problem: str = ""
    answers: Answers = field(default_factory=dict)
    sha256: str = ""
    """Hash of the image's bytes, "" until it is classified, and for one on the web."""

    def confidence(self, slug: str) -> float | None:
        """Return the probability of a classifier's answer, None where it gave none."""
        answer = self.answers.get(slug)
        return None if answer is None or isinstance(answer, str) else probability(answer.confidence_value)

    @property
    def failed(self) -> bool:
        """True without an answer of some classifier, once there are answers."""
        return bool(self.problem) or any(isinstance(answer, str) for answer in self.answers.values())

    @property
    def disagreement(self) -> float | None:
        """Disagreement of classifiers with the same labels, 0 to 1; None where no two share a label.

        The greatest total variation distance between two answers' distributions, ½ Σ |p − q|; where one of the two has
        no alternatives or no values, 1 if the labels differ and 0 if not.
        """
        given = [answer for answer in self.answers.values() if not isinstance(answer, str)]
        found = [_distance(one, other) for one, other in combinations(given, 2)]
        return max((distance for distance in found if distance is not None), default=None)


@dataclass(frozen=True, slots=True)
class AnsweredUploads:
    """Images to add, each under its answer, and how many are left out, by reason."""

    uploads: list[UploadItem]
    unsure: int = 0
    """The answer is less sure than wanted, or does not say how sure it is."""
    none_of_these: int = 0
    unanswered: int = 0
    there: int = 0
    """In the training set already."""


def uploads_under_answers(rows: Iterable[BatchRow], slug: str, least: float, there: Collection[str]) -> AnsweredUploads:
    """Return the images whose answer by a classifier is at least so sure (0 to 1), each with its answer as its label.

    `there`: SHA-256 of the images that the training set has. Images of none of the labels are left out.
    """
    uploads: list[UploadItem] = []
    unsure = none_of_these = unanswered = known = 0
    for row in rows:
        answer, sure = row.answers.get(slug), row.confidence(slug)
        if answer is None or isinstance(answer, str):
            unanswered += 1
        elif is_none_of_these(answer):
            none_of_these += 1
        elif (sure or 0) < least:
            unsure += 1
        elif row.sha256 in there:
            known += 1
        else:
            uploads.append(UploadItem(snake_case(answer.label), row.source, row.name))
    return AnsweredUploads(uploads, unsure, none_of_these, unanswered, known)


def is_none_of_these(answer: Classification) -> bool:
    """Return True for the answer that an image is none of the classifier's labels."""
    return answer.none_of_these is True or answer.label == NONE_OF_THESE


def digest(source: Source, archives: Archives) -> str:
    """Return the SHA-256 of an image's bytes in hex, "" for one on the web or one that cannot be read."""
    if isinstance(source, ImageUrl):
        return ""
    try:
        return hashlib.sha256(read(source, archives, _MAX_SIZE)).hexdigest()
    except SourceMissing:
        return ""


def fetch_answers(
    call: Callable[[Sequence[str]], Sequence[Classification]], slugs: Sequence[str]
) -> dict[str, Classification | ApiError]:
    """Return answers by slug, from one `call(slugs)` for all. Raises WrongKey, which no other image would avoid.

    If a call for several classifiers is refused, each is called alone, so that each has an answer or an error of its own.
    """
    try:
        answers = call(slugs)
    except WrongKey:
        raise
    except ApiError as error:
        if len(slugs) > 1 and isinstance(error, (BadRequest, NotFound, ServerError)):
            return {slug: fetch_answers(call, [slug])[slug] for slug in slugs}
        return dict.fromkeys(slugs, error)
    missing = NotApiTorch("The service gave no answer for this classifier.", advice="Try again.")
    found: dict[str, Classification | ApiError] = dict.fromkeys(slugs, missing)
    if len(answers) == len(slugs):
        found.update(zip(slugs, answers, strict=True))
        return found
    found.update({answer.classifier: answer for answer in answers if answer.classifier in found})
    for slug in [slug for slug, answer in found.items() if answer is missing] if len(slugs) > 1 else []:
        found[slug] = fetch_answers(call, [slug])[slug]  # which says why
    return found


def classify(
    service: Callable[..., Sequence[Classification]],
    slugs: Sequence[str],
    source: Source,
    archives: Archives,
    again: Callable[[ApiError, int], bool] = lambda _error, _attempt: False,
) -> Answers:
    """Classify one image. `service` is `ApiClient.classify` or `Workspace.classify`. Raises WrongKey.

    `again(error, attempt)` returns whether to make a failed call again, after a pause.
    """

    try:
        given = classify_arguments(source, archives)
    except SourceMissing as error:
        return dict.fromkeys(slugs, str(error))
    answers: dict[str, Classification | ApiError] = {}
    called, attempt = list(slugs), 0
    while called:
        attempt += 1
        answers |= fetch_answers(lambda some: service(list(some), **given), called)
        called = [slug for slug in called if isinstance(answer := answers[slug], ApiError) and again(answer, attempt)]
    return {
        slug: f"{answer} {answer.advice}".strip() if isinstance(answer, ApiError) else answer
        for slug, answer in answers.items()
    }


def classify_arguments(source: Source, archives: Archives) -> dict[str, Any]:
    """Return the arguments of `ApiClient.classify` that stand for an image. Raises SourceMissing."""
    if isinstance(source, ImageUrl):
        return {"image_url": source.url}
    if isinstance(source, ImageFile):
        from apitorch_desktop.vision.images import large_raw_as_jpeg

        smaller = large_raw_as_jpeg(source.path)
        return {"path": source.path} if smaller is None else {"data": smaller, "filename": f"{source.path.stem}.jpg"}
    return {"data": read(source, archives, _MAX_SIZE), "filename": filename_of(source)}


def cells(place: str, slug: str, answer: Classification | str) -> tuple[str, ...]:
    """Return a row of the table, in the order of `COLUMNS`."""
    if isinstance(answer, str):
        return (place, slug, "", "", "", "", answer)
    return (place, slug, answer.label, _text(answer.confidence), _text(answer.confidence_value), answer.sentence, "")


@contextmanager
def open_table(path: Path) -> Iterator[TextIO]:
    """Open a text file that takes the place of `path` once it is complete. Raises OSError.

    Links are followed and the permissions of an older file kept. What a new file cannot stand in for is written directly:
    a pipe, a device, a file with another name (a hard link) or another owner, one in a folder that takes no new files.
    What is open already, such as standard output, is written on from where it stands.
    """
    if (number := descriptor_of(path)) is not None:
        with open(os.dup(number), "w", encoding="utf-8", newline="") as file:  # noqa: PTH123 - it has no path
            yield file
        return
    target = _target_of(path)
    if target is None:
        with path.open("w", encoding="utf-8", newline="") as file:
            yield file
        return
    mode = target.stat().st_mode & 0o7777 if target.exists() else None
    with atomic_write(target, mode=mode) as part, part.open("w", encoding="utf-8", newline="") as file:
        yield file


def _target_of(path: Path) -> Path | None:
    """Return the file at the end of a chain of links; None for one that has to be written directly."""
    path = path.absolute()
    for _ in range(_MAX_LINKS):
        if path.parts[1:2] in (("dev",), ("proc",)):
            return None
        if not path.is_symlink():
            break
        path = path.parent / path.readlink()
    else:
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
    if not path.exists():
        return path
    found = path.stat()
    alone = found.st_nlink == 1 and found.st_uid == (os.geteuid() if os.name == "posix" else found.st_uid)
    replaceable = path.is_file() and alone and os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)
    return path if replaceable else None


def save_table(path: Path, rows: Iterable[BatchRow], slugs: Sequence[str]) -> None:
    """Write the table, as JSON lines where the name ends in `.jsonl`, else as CSV; whole or not at all. Raises OSError.

    A row without answers has the reason in the column `error`, so that a partial table shows what is missing.
    """
    lines = [cells(row.place, slug, row.answers.get(slug) or row.problem or NOT_YET) for row in rows for slug in slugs]
    with open_table(path) as file:
        if path.suffix.lower() == ".jsonl":
            file.writelines(json.dumps(record(line), ensure_ascii=False) + "\n" for line in lines)
        else:
            write_rows(file, [COLUMNS, *lines])


def write_rows(file: TextIO, rows: Iterable[Sequence[str]]) -> None:
    """Write rows of the table as CSV, no cell of which is a formula to a spreadsheet. Raises OSError."""
    csv.writer(file).writerows(map(neutralized, row) for row in rows)


def append_rows(file: TextIO, rows: Iterable[Sequence[str]]) -> None:
    """Write rows as CSV past the buffer of a file, all of them or, where its disk is full, none. Raises OSError."""
    text = io.StringIO(newline="")
    write_rows(text, rows)
    data, number, written = text.getvalue().encode("utf-8", "replace"), file.fileno(), 0
    try:
        while written < len(data):
            written += os.write(number, data[written:])
    except OSError:
        with suppress(OSError):  # a pipe or a device
            end = os.lseek(number, 0, os.SEEK_CUR)
            if written and end == os.fstat(number).st_size:
                os.ftruncate(number, end - written)
                os.lseek(number, end - written, os.SEEK_SET)
        raise


def record(line: tuple[str, ...]) -> dict[str, str]:
    """Return a row of the table by the names of its columns, without empty ones other than image and label."""
    return {name: value for name, value in zip(COLUMNS, line, strict=True) if value or name in ("image", "label")}


def _distance(one: Classification, other: Classification) -> float | None:
    first, second = _distribution(one), _distribution(other)
    if not first.keys() & second.keys():
        return None
    if any(len(values) == 1 or not any(values.values()) for values in (first, second)):
        return float(one.label != other.label)
    return sum(abs(first.get(name, 0) - second.get(name, 0)) for name in first.keys() | second.keys()) / 2


def _distribution(answer: Classification) -> dict[str, float]:
    pairs = [(answer.label, answer.confidence_value)]
    pairs += [(other.label, other.confidence_value) for other in (answer.alternatives or ())]
    return {label: probability(value) or 0.0 for label, value in pairs}


def probability(value: object) -> float | None:
    """Return a confidence value as a number, None for one that is missing."""
    try:
        return float(str(value))
    except ValueError:
        return None


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
