"""Seeded, stratified split into train, validation and test that keeps groups of similar images together."""

import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

PARTS: Final = ("train", "validation", "test")


@dataclass(frozen=True, slots=True)
class Split:
    """Shares of train, validation and test (they are scaled to sum to 1), and the seed that makes it repeatable."""

    train: float = 0.8
    validation: float = 0.1
    test: float = 0.1
    seed: int = 0

    def shares(self) -> dict[str, float]:
        """Return the parts with a share above 0. Raises ValueError with a sentence."""
        shares = dict(zip(PARTS, (self.train, self.validation, self.test), strict=True))
        total = sum(shares.values())
        if min(shares.values()) < 0 or total <= 0:
            raise ValueError("The shares of a split are numbers above 0.")
        return {part: share / total for part, share in shares.items() if share}


def parts_of(labels: Mapping[str, str], split: Split, groups: Iterable[Sequence[str]]) -> dict[str, str]:
    """Assign each image a part. `labels` maps image ids to labels; the ids of a group get the same part.

    Groups are assigned one by one, the largest first and otherwise in an order drawn with the seed, each to the part
    that lacks most of its labels: every label comes as close to its shares as whole groups allow.
    """
    shares = split.shares()
    clusters = _merged(labels, groups)
    draw = random.Random(split.seed)  # noqa: S311 - repeatable on purpose
    draw.shuffle(clusters)
    clusters.sort(key=len, reverse=True)
    totals = Counter(labels.values())
    lacking = {part: {label: share * count for label, count in totals.items()} for part, share in shares.items()}
    found: dict[str, str] = {}
    for cluster in clusters:
        inside = Counter(labels[image] for image in cluster)
        part = max(shares, key=lambda name: sum(lacking[name][label] * count for label, count in inside.items()))
        for label, count in inside.items():
            lacking[part][label] -= count
        found |= dict.fromkeys(cluster, part)
    return found


def _merged(labels: Mapping[str, str], groups: Iterable[Sequence[str]]) -> list[list[str]]:
    """Merge groups that share an image; every other image is a group of its own. The order depends on the ids alone."""
    leader = {image: image for image in labels}

    def find(image: str) -> str:
        while leader[image] != image:
            leader[image] = leader[leader[image]]
            image = leader[image]
        return image

    for group in groups:
        known = [image for image in group if image in leader]
        for image in known[1:]:
            leader[find(image)] = find(known[0])
    clusters: dict[str, list[str]] = {}
    for image in sorted(labels):
        clusters.setdefault(find(image), []).append(image)
    return list(clusters.values())
