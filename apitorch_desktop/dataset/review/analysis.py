"""Analysis of a training set by its image features: quality, near-duplicates, label issues, balance, labels to confirm next.

Comparisons and training results are kept, so that a set that changed a little is analyzed again in little time. Heavy:
runs in the worker process.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apitorch_desktop.api.types import INBOX
from apitorch_desktop.dataset.review.cache import CachedComparison, CachedImage
from apitorch_desktop.dataset.review.findings import (
    Duplicate,
    DuplicateGroup,
    Findings,
    FlaggedImage,
    LabelAdvice,
    LabelIssue,
    OutOfFoldAnswer,
    OutOfFoldFigures,
)
from apitorch_desktop.dataset.review.messages import BeginReview, ReviewItem, ReviewStopped
from apitorch_desktop.vision import head, issues, near_duplicates

NEXT = 24
"""Number of images whose labels are proposed to be confirmed next."""


class Analysis:
    """Analysis of one training set. `compared` is what to cache; `unmeasured`: ids of duplicates whose size is not known."""

    def __init__(self, encoder: str, compared: CachedComparison | None = None) -> None:
        self._method = f"{encoder}, near-duplicates {near_duplicates.VERSION}"
        reusable = compared is not None and compared.method == self._method
        self.compared = compared if compared is not None and reusable else CachedComparison(self._method, [], [])
        self.newly_compared = False
        self.unmeasured: list[str] = []
        self._training: tuple[int, head.TrainingResult] | None = None

    def replace_ids(self, ids: dict[str, str]) -> None:
        """Replace keys, old → new."""
        old = self.compared
        pairs = [(ids.get(a, a), ids.get(b, b), like) for a, b, like in old.pairs]
        self.compared = CachedComparison(old.method, [ids.get(key, key) for key in old.keys], pairs)

    def analyze(
        self, begin: BeginReview, seen: dict[str, CachedImage], interrupted: Callable[[], bool]
    ) -> Iterator[tuple[Findings, bool]]:
        """Yield the findings after each part, with True for the last. Raises ReviewStopped when `interrupted()`."""
        items = [item for item in begin.items if item.key in seen and not seen[item.key].problem]
        counts = dict.fromkeys(begin.labels, 0) | Counter(item.label for item in begin.items)
        counts.pop(INBOX, None)
        found = Findings(counts=counts, sentences={flag: issues.explain(flag) for flag in issues.FLAGS})
        found.unreadable = {
            item.id: seen[item.key].problem for item in begin.items if item.key in seen and seen[item.key].problem
        }
        found.flagged = _flagged(items, seen)
        found.advice = _advice(counts, None)
        yield found, False
        self._compare(items, seen, interrupted)
        found.groups, together = self._groups(begin, items, seen)
        yield found, False
        self._learn(found, items, seen, together, interrupted)
        yield found, True

    # --- near-duplicates

    def _compare(self, items: list[ReviewItem], seen: dict[str, CachedImage], interrupted: Callable[[], bool]) -> None:
        """Compare new images with each other and with the known ones; forget removed ones."""
        keys = list(dict.fromkeys(item.key for item in items))
        current = set(keys)
        known = [key for key in self.compared.keys if key in current]
        fresh = list(current.difference(known))
        fresh.sort()
        if not fresh and len(known) == len(self.compared.keys):
            return
        pairs = [pair for pair in self.compared.pairs if pair[0] in current and pair[1] in current]
        new_patterns, new_embeddings = _patterns(fresh, seen), _embeddings(fresh, seen)
        for pair in near_duplicates.find_near_duplicates(new_patterns, new_embeddings, cancelled=interrupted):
            pairs.append((fresh[pair.first], fresh[pair.second], pair.likeness))  # noqa: PERF401 - two lists follow
        if known and fresh:
            old_patterns, old_embeddings = _patterns(known, seen), _embeddings(known, seen)
            for pair in near_duplicates.find_matches(
                new_patterns, old_patterns, new_embeddings, old_embeddings, cancelled=interrupted
            ):
                pairs.append((fresh[pair.first], known[pair.second], pair.likeness))  # noqa: PERF401
        if interrupted():
            raise ReviewStopped
        self.compared = CachedComparison(self._method, known + fresh, pairs)
        self.newly_compared = True

    def _groups(
        self, begin: BeginReview, items: list[ReviewItem], seen: dict[str, CachedImage]
    ) -> tuple[list[DuplicateGroup], list[int]]:
        """Return the groups, and for each item a number that near-duplicates share."""
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
        all_groups = near_duplicates.group_pairs(links)
        together = list(range(len(items)))
        for group in all_groups:
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
        return sorted(groups, key=lambda group: -len(group.duplicates)), together

    # --- labels

    def _learn(
        self,
        found: Findings,
        items: list[ReviewItem],
        seen: dict[str, CachedImage],
        together: list[int],
        interrupted: Callable[[], bool],
    ) -> None:
        waiting = [item for item in items if item.label == INBOX]
        waiting_groups = [group for group, item in zip(together, items, strict=True) if item.label == INBOX]
        together = [group for group, item in zip(together, items, strict=True) if item.label != INBOX]
        items = [item for item in items if item.label != INBOX]
        labels = [item.label for item in items]
        embeddings = _embeddings([item.key for item in items], seen)
        state = hash((tuple(labels), tuple(item.key for item in items), tuple(together)))
        if self._training is None or self._training[0] != state:
            try:
                training = head.train(embeddings, labels, groups=together, cancelled=interrupted)
            except head.TooFewImages:
                found.label_issues, found.unsure, found.answers = [], [], {}
                found.why_not = "Labels can be checked once two of them have two photos each."
                return
            except head.TrainingCancelled:
                raise ReviewStopped from None
            self._training = state, training
        training = self._training[1]
        chances, metrics = training.out_of_fold, training.metrics
        found.label_issues = [
            LabelIssue(items[one.image].id, one.given, one.likely, one.given_value, one.likely_value)
            for one in issues.find_suspects(chances, labels, training.head.labels)
        ]
        best = chances.argmax(axis=1)
        found.answers = {
            item.id: OutOfFoldAnswer(training.head.labels[at], round(float(values[at]), 4))
            for item, at, values in zip(items, best.tolist(), chances, strict=True)
        }
        found.answers |= _proposals(training.head, waiting, seen)
        found.learned = OutOfFoldFigures(
            list(metrics.labels),
            [list(row) for row in metrics.confusion],
            list(metrics.label_accuracy),
            metrics.accuracy,
        )
        found.advice = _advice(found.counts, dict(zip(metrics.labels, metrics.label_accuracy, strict=True)))
        known, labeled = None, set(together)
        kept = [place for place, group in enumerate(waiting_groups) if group not in labeled]  # else a copy has a label
        if kept:  # an image without a label teaches more than the confirmation of one
            items, together = [waiting[place] for place in kept], [waiting_groups[place] for place in kept]
            known, embeddings = embeddings, _embeddings([item.key for item in items], seen)
            chances = training.head.predict(embeddings)
        asked = _candidates(found, items, together)
        chosen = issues.label_next(chances[asked], embeddings[asked], NEXT, known)
        found.unsure = [items[asked[place]].id for place in chosen]


def _proposals(
    learned: head.Head, waiting: list[ReviewItem], seen: dict[str, CachedImage]
) -> dict[str, OutOfFoldAnswer]:
    """Return the answers of a head about images without a label, without those that are probably none of its labels."""
    if not waiting:
        return {}
    embeddings = _embeddings([item.key for item in waiting], seen)
    values, none = learned.predict(embeddings), learned.is_none(embeddings)
    return {
        item.id: OutOfFoldAnswer(learned.labels[row.argmax()], round(float(row.max()), 4))
        for item, row, is_none in zip(waiting, values, none, strict=True)
        if not is_none
    }


def _candidates(found: Findings, items: list[ReviewItem], together: list[int]) -> list[int]:
    """Return indices of images whose labels may be proposed for confirmation: one of each group of duplicates.

    Images with quality problems are left out, since they teach nothing; suspects are listed elsewhere.
    """
    out = {one.image for one in found.flagged or ()} | {one.image for one in found.label_issues or () if one.suspect}
    first: dict[int, int] = {}
    for place, item in enumerate(items):
        if item.id not in out:
            first.setdefault(together[place], place)
    return sorted(first.values())


def _flagged(items: list[ReviewItem], seen: dict[str, CachedImage]) -> list[FlaggedImage]:
    found = []
    for item in items:
        one = seen[item.key]
        width, height = (item.width, item.height) if item.width and item.height else (one.width, one.height)
        look = issues.ReviewFeatures(_NO_PATTERN, one.blur, one.dark, one.bright, one.contrast, width, height)
        if flags := issues.quality_flags(look):
            found.append(FlaggedImage(item.id, list(flags)))
    return found


def _group(items: list[ReviewItem], seen: dict[str, CachedImage]) -> DuplicateGroup:
    duplicates = []
    for item in items:
        one = seen[item.key]
        measured = (one.width, one.height, one.size) if one.size else (0, 0, 0)
        width, height, size = (item.width, item.height, item.bytes) if item.width else measured
        duplicates.append(Duplicate(item.id, item.label, width, height, size, item.created_at, one.blur))
    copies = [issues.KeeperCandidate(one.width, one.height, one.bytes, one.created_at, one.blur) for one in duplicates]
    keepers: dict[str, str] = {rule: duplicates[issues.choose_keeper(copies, rule)].image for rule in issues.RULES}
    return DuplicateGroup(duplicates, keepers)


def _advice(counts: dict[str, int], accuracy: dict[str, float] | None) -> list[LabelAdvice]:
    return [LabelAdvice(one.label, one.sentence, one.urgent) for one in issues.label_balance(counts, accuracy)]


_NO_PATTERN: NDArray[np.uint8] = np.zeros((0, 0), np.uint8)


def _patterns(keys: list[str], seen: dict[str, CachedImage]) -> list[NDArray[np.uint8]]:
    side = near_duplicates.SIDE
    return [np.frombuffer(seen[key].pattern, np.uint8).reshape(side, side) for key in keys]


def _embeddings(keys: list[str], seen: dict[str, CachedImage]) -> NDArray[Any]:
    if not keys:
        return np.zeros((0, 1), np.float32)
    return np.stack([np.frombuffer(seen[key].embedding, "<f2") for key in keys]).astype(np.float32)
