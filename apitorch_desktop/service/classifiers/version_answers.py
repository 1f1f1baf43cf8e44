"""Out-of-fold answers of a version, the differences between two versions, and the test of one against the other.

An out-of-fold answer is that of a head which had not seen the image nor its near-duplicates, so it is what the version
would have said of a new image. A head remembers the images it was trained on, so its own answers to these are no measure.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from apitorch_desktop.api import types

WORSE = 0.05
"""Probability, of the exact two-sided McNemar test, below which a version is clearly worse than another."""
_ID_BYTES = 20
Kind = Literal["better", "worse", "sideways"]
Answer = tuple[str, float]
"""(label, probability)"""


class _AnswersFile(msgspec.Struct, array_like=True):
    """Content of `VersionAnswers.to_bytes`, as MessagePack; arrays are little-endian, `ids` without their hex."""

    labels: list[str]
    ids: bytes
    given: bytes
    answered: bytes
    values: bytes


@dataclass(frozen=True)
class VersionAnswers:
    """For n training images of a version, in the order of `ids` (40 hex digits): the indices in `labels` of the label that
    was `given` and of the one that was `answered` out of fold, (n,), and the probability of the latter, `values` (n,).
    """

    labels: tuple[str, ...]
    ids: tuple[str, ...]
    given: NDArray[Any]
    answered: NDArray[Any]
    values: NDArray[Any]

    @classmethod
    def of_training(
        cls, labels: Sequence[str], ids: Sequence[str], given: Sequence[str], out_of_fold: NDArray[np.float64]
    ) -> Self:
        """Return the answers of a training: `out_of_fold` (n, k) are probabilities in the order of `labels`."""
        index = {label: at for at, label in enumerate(labels)}
        answered = out_of_fold.argmax(axis=1)
        return cls(
            tuple(labels),
            tuple(ids),
            np.array([index[label] for label in given], "<u4"),
            answered.astype("<u4"),
            out_of_fold[np.arange(len(answered)), answered].astype("<f4"),
        )

    def to_bytes(self) -> bytes:
        """Serialize: 32 bytes an image."""
        ids = bytes.fromhex("".join(self.ids))
        arrays = (self.given, self.answered, self.values)
        return msgspec.msgpack.encode(_AnswersFile(list(self.labels), ids, *(array.tobytes() for array in arrays)))

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Raises ValueError."""
        try:
            file = msgspec.msgpack.decode(data, type=_AnswersFile)
            given, answered = np.frombuffer(file.given, "<u4"), np.frombuffer(file.answered, "<u4")
            ids = tuple(file.ids[at : at + _ID_BYTES].hex() for at in range(0, len(file.ids), _ID_BYTES))
            values = np.frombuffer(file.values, "<f4")
            if not len(ids) == len(given) == len(answered) == len(values):
                raise ValueError("lengths")
            if len(ids) and max(given.max(), answered.max()) >= len(file.labels):
                raise ValueError("labels")
        except (msgspec.MsgspecError, ValueError) as error:
            raise ValueError("The stored answers of a version are damaged.") from error
        return cls(tuple(file.labels), ids, given, answered, values)

    def by_image(self) -> dict[str, Answer]:
        """Return the answers by image id."""
        return {
            image: (self.labels[answered], value)
            for image, answered, value in zip(self.ids, self.answered.tolist(), self.values.tolist(), strict=True)
        }

    def renamed(self, names: dict[str, str]) -> "VersionAnswers":
        """Return the same answers under other names of the labels."""
        labels = tuple(names.get(label, label) for label in self.labels)
        return VersionAnswers(labels, self.ids, self.given, self.answered, self.values)


def kind_of(label: str, before: str, after: str) -> Kind:
    """Return what a changed answer is to an image's label."""
    if after == label:
        return "better"
    return "worse" if before == label else "sideways"


def renamed_labels(before: VersionAnswers, given: dict[str, str]) -> dict[str, str]:
    """Return which labels of a version are called otherwise now: all its images of them have one new label now.

    `given`: image id → label now.
    """
    now: dict[str, set[str]] = {}
    for image, label in zip(before.ids, before.given.tolist(), strict=True):
        if image in given:
            now.setdefault(before.labels[label], set()).add(given[image])
    present = set(given.values())
    found = {
        old: next(iter(new))
        for old, new in now.items()
        if len(new) == 1 and old not in present and not new & set(before.labels)
    }
    return found if len(set(found.values())) == len(found) else {}


def difference(before: VersionAnswers, after: VersionAnswers, version: int) -> types.VersionDifference:
    """Return what changed since `before`, the answers of `version`, in the images and in the out-of-fold answers."""
    given = {image: after.labels[label] for image, label in zip(after.ids, after.given.tolist(), strict=True)}
    before = before.renamed(renamed_labels(before, given))
    answers = after.by_image()
    counts: dict[str, int] = dict.fromkeys(("better", "worse", "sideways"), 0)
    known = relabeled = 0
    for image, label, (answer, _) in zip(before.ids, before.given.tolist(), before.by_image().values(), strict=True):
        if image not in given:
            continue
        known += 1
        if before.labels[label] != given[image]:
            relabeled += 1  # in dispute, so that neither version is right or wrong about it
        elif answer != answers[image][0]:
            counts[kind_of(given[image], answer, answers[image][0])] += 1
    return types.VersionDifference(
        version=version,
        added=len(after.ids) - known,
        removed=len(before.ids) - known,
        relabeled=relabeled,
        images=known - relabeled,
        p_value=mcnemar(counts["better"], counts["worse"]),
        **counts,
    )


def mcnemar(better: int, worse: int) -> float:
    """Return the exact two-sided p-value of McNemar's test (1947): that both kinds of changed answers are equally likely."""
    from scipy.special import bdtr

    return min(1.0, 2 * float(bdtr(min(better, worse), better + worse, 0.5)))


def is_clearly_worse(found: types.VersionDifference) -> bool:
    """Return whether a version is worse than the one it was compared with by more than chance."""
    return found.worse > found.better and found.p_value < WORSE


def changed_answers(
    examples: Sequence[tuple[str, str]],
    before: Mapping[str, Answer],
    after: Mapping[str, Answer],
) -> list[types.ClassificationChange]:
    """Return the images that two versions answer differently, highest new confidence first.

    `examples`: (image id, label) of each; `before` and `after`: the answers by image id.
    """
    found: list[tuple[float, types.ClassificationChange]] = []
    for image, label in examples:
        old, new = before.get(image), after.get(image)
        if old is None or new is None or old[0] == new[0]:
            continue
        change = types.ClassificationChange(
            image_id=f"ti_{image}",
            label=label,
            from_label=old[0],
            to_label=new[0],
            from_value=f"{old[1]:.4f}",
            to_value=f"{new[1]:.4f}",
            kind=kind_of(label, old[0], new[0]),
        )
        found.append((new[1], change))
    return [change for _, change in sorted(found, key=lambda pair: -pair[0])]
