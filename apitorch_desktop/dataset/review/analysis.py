"""Judges a training set by what was seen of its images: faults, near-duplicates, doubtful labels, balance, what to check next.

Keeps what it compared and learned, so that a set that changed a little is judged again in little time. Heavy: runs in
`review_worker`'s process.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apitorch_desktop.dataset.review import findings as records
from apitorch_desktop.dataset.review.cache import CachedComparison, CachedImage
from apitorch_desktop.vision import head, issues, near_duplicates

NEXT = 24
"""Images that are proposed to be made sure of next."""


class Analysis:
    """One training set. `compared` is what to remember; `unmeasured` ids of twins whose size is not known."""

    def __init__(self, encoder: str, compared: CachedComparison | None = None) -> None:
        self._encoder = encoder
        self.compared = (
            compared if compared is not None and compared.encoder == encoder else CachedComparison(encoder, [], [])
        )
        self.newly_compared = False
        self.unmeasured: list[str] = []
        self._training: tuple[int, head.TrainingResult] | None = None

    def follow(self, ids: dict[str, str]) -> None:
        """Keys are others, old → new."""
        old = self.compared
        pairs = [(ids.get(a, a), ids.get(b, b), like) for a, b, like in old.pairs]
        self.compared = CachedComparison(old.encoder, [ids.get(key, key) for key in old.keys], pairs)

    def judge(
        self, begin: records.BeginReview, seen: dict[str, CachedImage], wanted: Callable[[], bool]
    ) -> Iterator[tuple[records.Findings, bool]]:
        """What is known, after each part, with whether it is all. Raises `Stopped` when `wanted()`: something else is."""
        items = [item for item in begin.items if item.key in seen and not seen[item.key].problem]
        counts = dict.fromkeys(begin.labels, 0) | Counter(item.label for item in begin.items)
        found = records.Findings(counts=counts, sentences={flag: issues.explain(flag) for flag in issues.FLAGS})
        found.unreadable = {
            item.id: seen[item.key].problem for item in begin.items if item.key in seen and seen[item.key].problem
        }
        found.flagged = _flagged(items, seen)
        found.advice = _advice(counts, None)
        yield found, False
        self._compare(items, seen, wanted)
        found.groups, together = self._groups(begin, items, seen)
        yield found, False
        self._learn(found, items, seen, together, wanted)
        yield found, True

    # --- near-duplicates

    def _compare(
        self, items: list[records.ReviewItem], seen: dict[str, CachedImage], wanted: Callable[[], bool]
    ) -> None:
        """Compare what is new with each other and with what was there; forget what is gone."""
        keys = list(dict.fromkeys(item.key for item in items))
        there = set(keys)
        known = [key for key in self.compared.keys if key in there]
        fresh = list(there.difference(known))
        fresh.sort()
        if not fresh and len(known) == len(self.compared.keys):
            return
        pairs = [pair for pair in self.compared.pairs if pair[0] in there and pair[1] in there]
        new_patterns, new_embeddings = _patterns(fresh, seen), _embeddings(fresh, seen)
        for pair in near_duplicates.find_near_duplicates(new_patterns, new_embeddings, cancelled=wanted):
            pairs.append((fresh[pair.first], fresh[pair.second], pair.likeness))  # noqa: PERF401 - two lists follow
        if known and fresh:
            old_patterns, old_embeddings = _patterns(known, seen), _embeddings(known, seen)
            for pair in near_duplicates.find_matches(
                new_patterns, old_patterns, new_embeddings, old_embeddings, cancelled=wanted
            ):
                pairs.append((fresh[pair.first], known[pair.second], pair.likeness))  # noqa: PERF401
        if wanted():
            raise records.ReviewStopped
        self.compared = CachedComparison(self._encoder, known + fresh, pairs)
        self.newly_compared = True

    def _groups(
        self, begin: records.BeginReview, items: list[records.ReviewItem], seen: dict[str, CachedImage]
    ) -> tuple[list[records.DuplicateGroup], list[int]]:
        """The groups, and for each item a number that near-duplicates share."""
        places: dict[str, list[int]] = {}
        for place, item in enumerate(items):
            places.setdefault(item.key, []).append(place)
        apart = {frozenset(pair) for pair in begin.apart}
        links: list[near_duplicates.DuplicatePair] = []
        for same in places.values():  # the very same bytes under several labels
            links += [near_duplicates.DuplicatePair(same[0], other, 1.0) for other in same[1:]]
        for first, second, likeness in self.compared.pairs:
            links += [
                near_duplicates.DuplicatePair(a, b, likeness)
                for a in places.get(first, ())[:1]
                for b in places.get(second, ())[:1]
            ]
        everyone = near_duplicates.group_pairs(links)
        together = list(range(len(items)))
        for group in everyone:
            for place in group:
                together[place] = group[0]
        kept = [link for link in links if frozenset((items[link.first].id, items[link.second].id)) not in apart]
        found = near_duplicates.group_pairs(kept)
        self.unmeasured = [
            items[place].id
            for group in found
            for place in group
            if not items[place].width and not seen[items[place].key].size
        ]
        groups = [_group([items[place] for place in group], seen) for group in found]
        return sorted(groups, key=lambda group: -len(group.twins)), together

    # --- labels

    def _learn(
        self,
        found: records.Findings,
        items: list[records.ReviewItem],
        seen: dict[str, CachedImage],
        together: list[int],
        wanted: Callable[[], bool],
    ) -> None:
        labels = [item.label for item in items]
        embeddings = _embeddings([item.key for item in items], seen)
        state = hash((tuple(labels), tuple(item.key for item in items), tuple(together)))
        if self._training is None or self._training[0] != state:
            try:
                training = head.train(embeddings, labels, groups=together, cancelled=wanted)
            except head.TooFewImages:
                found.doubts, found.unsure = [], []
                found.why_not = "Labels can be checked once two of them have two photos each."
                return
            except head.TrainingCancelled:
                raise records.ReviewStopped from None
            self._training = state, training
        training = self._training[1]
        chances, metrics = training.out_of_fold, training.metrics
        found.doubts = [
            records.LabelIssue(items[one.image].id, one.given, one.likely, one.given_value, one.likely_value)
            for one in issues.find_suspects(chances, labels, training.head.labels)
        ]
        found.learned = records.OutOfFoldFigures(
            list(metrics.labels),
            [list(row) for row in metrics.confusion],
            list(metrics.label_accuracy),
            metrics.accuracy,
        )
        found.advice = _advice(found.counts, dict(zip(metrics.labels, metrics.label_accuracy, strict=True)))
        asked = _worth_asking(found, items, together)
        chosen = issues.label_next(chances[asked], embeddings[asked], NEXT)
        found.unsure = [items[asked[place]].id for place in chosen]


def _worth_asking(found: records.Findings, items: list[records.ReviewItem], together: list[int]) -> list[int]:
    """Places of images a person may be asked about: sound pictures that are not suspect anyway, one of each kind of copies.

    Faulty pictures are the least sure of all, and teach nothing; suspects are asked about where they are listed.
    """
    out = {one.image for one in found.flagged or ()} | {one.image for one in found.doubts or () if one.suspect}
    first: dict[int, int] = {}
    for place, item in enumerate(items):
        if item.id not in out:
            first.setdefault(together[place], place)
    return sorted(first.values())


def _flagged(items: list[records.ReviewItem], seen: dict[str, CachedImage]) -> list[records.FlaggedImage]:
    found = []
    for item in items:
        one = seen[item.key]
        width, height = (item.width, item.height) if item.width and item.height else (one.width, one.height)
        look = issues.ReviewFeatures(_NO_PATTERN, one.blur, one.dark, one.bright, one.contrast, width, height)
        if flags := issues.quality_flags(look):
            found.append(records.FlaggedImage(item.id, list(flags)))
    return found


def _group(items: list[records.ReviewItem], seen: dict[str, CachedImage]) -> records.DuplicateGroup:
    twins = []
    for item in items:
        one = seen[item.key]
        measured = (one.width, one.height, one.size) if one.size else (0, 0, 0)
        width, height, size = (item.width, item.height, item.bytes) if item.width else measured
        twins.append(records.Duplicate(item.id, item.label, width, height, size, item.created_at, one.blur))
    copies = [issues.KeeperCandidate(twin.width, twin.height, twin.bytes, twin.created_at, twin.blur) for twin in twins]
    keepers: dict[str, str] = {rule: twins[issues.choose_keeper(copies, rule)].image for rule in issues.RULES}
    return records.DuplicateGroup(twins, keepers)


def _advice(counts: dict[str, int], accuracy: dict[str, float] | None) -> list[records.LabelAdvice]:
    return [records.LabelAdvice(one.label, one.sentence, one.urgent) for one in issues.label_balance(counts, accuracy)]


_NO_PATTERN: NDArray[np.uint8] = np.zeros((0, 0), np.uint8)


def _patterns(keys: list[str], seen: dict[str, CachedImage]) -> list[NDArray[np.uint8]]:
    side = near_duplicates.SIDE
    return [np.frombuffer(seen[key].pattern, np.uint8).reshape(side, side) for key in keys]


def _embeddings(keys: list[str], seen: dict[str, CachedImage]) -> NDArray[Any]:
    if not keys:
        return np.zeros((0, 1), np.float32)
    return np.stack([np.frombuffer(seen[key].embedding, "<f2") for key in keys]).astype(np.float32)
