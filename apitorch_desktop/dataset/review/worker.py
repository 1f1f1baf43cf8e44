"""The worker process of Review: computes features, compares images and cross-validates labels.

A process of its own, of low priority and with few threads, because the libraries hold the interpreter's lock for up to
hundreds of milliseconds at a time (tests/benchmarks/bench_review.py measures the effect on the window).
"""

from __future__ import annotations

import os
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from apitorch_desktop.api.types import INBOX
from apitorch_desktop.dataset.review.cache import CachedComparison, CachedImage, ReviewCache, is_encoded
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
from apitorch_desktop.dataset.review.messages import (
    Analyze,
    Answer,
    BeginReview,
    FindingsUpdate,
    MissingThumbnails,
    Received,
    ReplaceIds,
    Request,
    ReviewCrashed,
    ReviewItem,
    ReviewStopped,
    SendEmbeddings,
    SendSizes,
    SendThumbnails,
    StopReview,
    ThumbnailData,
)
from apitorch_desktop.utils.decoding import prepared
from apitorch_desktop.utils.memory import return_free_memory
from apitorch_desktop.vision import head, issues, near_duplicates
from apitorch_desktop.vision.linear import stratified_sample

if TYPE_CHECKING:
    from apitorch_desktop.vision.encoder import Encoder

_NICENESS = 10


def run(requests: Connection, answers: Connection, cache: Path) -> None:
    """Answer requests until the other side closes the pipe."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in a terminal is for the window
    _lower_priority()
    decoder = msgspec.msgpack.Decoder(prepared(Request))

    def send(answer: Answer) -> None:
        answers.send_bytes(msgspec.msgpack.encode(answer))

    worker = ReviewWorker(ReviewCache(cache), send, requests.poll)
    while True:
        try:
            request = requests.recv_bytes()
        except (EOFError, OSError):  # the latter where the other side ends within a request
            return
        with suppress(ConnectionError):  # nobody reads the answer: the next request says so
            worker.answer(decoder.decode(request))


def _lower_priority() -> None:
    if sys.platform == "win32":
        import ctypes

        below_normal = 0x4000
        ctypes.windll.kernel32.SetPriorityClass(ctypes.windll.kernel32.GetCurrentProcess(), below_normal)
    else:
        os.nice(_NICENESS)


class ReviewWorker:
    """Handler of requests, one after the other; `send` sends an answer, `interrupted()` is True when another request waits."""

    def __init__(
        self, cache: ReviewCache, send: Callable[[Answer], None], interrupted: Callable[[], bool], threads: int = 0
    ) -> None:
        self._cache = cache
        self._send = send
        self._interrupted = interrupted
        self._threads = threads or max(1, (os.cpu_count() or 2) // 2)
        self._encoder: Encoder | None = None
        self._begin: BeginReview | None = None
        self._analysis: Analysis | None = None
        self._owner = ("", "")
        self._seen: dict[str, CachedImage] = {}
        self._own: Features | None = None  # by the encoder of the training set's own

    def answer(self, request: Request) -> None:
        """Handle one request."""
        serial = getattr(request, "serial", 0)
        try:
            self._do(request)
        except ReviewStopped:
            return
        except ConnectionError:
            raise
        except Exception as error:  # noqa: BLE001 - reported to the user, whatever it is; the next review may succeed
            self._send(ReviewCrashed(serial, f"Review could not go on: {error}"))

    def _do(self, request: Request) -> None:
        match request:
            case BeginReview():
                self._begin_review(request)
            case SendThumbnails(serial, thumbnails):
                self._add_thumbnails(thumbnails)
                self._send(Received(serial))
            case SendEmbeddings(serial, encoder, vectors):
                self._add_embeddings(encoder, vectors)
                self._send(Received(serial))
            case SendSizes(serial, sizes):
                self._add_sizes(sizes)
                self._send(Received(serial))
            case Analyze(serial):
                self._analyze(serial)
            case ReplaceIds(connection, ids):
                self._replace_ids(connection, ids)
            case StopReview():
                pass

    @property
    def encoder(self) -> Encoder:
        """The encoder, loaded when it is first needed."""
        if self._encoder is None:
            from apitorch_desktop.vision.encoder import Encoder

            self._encoder = Encoder(threads=self._threads)
        return self._encoder

    def _begin_review(self, begin: BeginReview) -> None:
        owner = begin.connection, begin.training_set
        if owner != self._owner:
            self._owner, self._seen, self._own = owner, {}, None
            compared = self._cache.compared(*owner)
            self._analysis = Analysis(self.encoder.name, compared, Features(self._cache, self.encoder.name, self._seen))
        if begin.encoder != (self._own.encoder if self._own is not None else ""):
            self._own = Features(self._cache, begin.encoder, {}) if begin.encoder else None
        self._begin = begin
        missing = self._recall(begin, self.encoder.name, self._seen)
        own = self._recall(begin, self._own.encoder, self._own.seen) if self._own is not None else []
        self._send(MissingThumbnails(begin.serial, missing, own))

    def _recall(self, begin: BeginReview, encoder: str, seen: dict[str, CachedImage]) -> list[str]:
        """Bring `seen` up to date for a review, as far as the cache has it; return the keys of the other images."""
        keys = dict.fromkeys(item.key for item in begin.items)
        for key in seen.keys() - keys.keys():
            del seen[key]
        seen |= self._cache.seen(begin.connection, encoder, keys.keys() - seen.keys())
        return [key for key in keys if key not in seen]

    def _add_embeddings(self, encoder: str, vectors: dict[str, bytes]) -> None:
        begin, own = self._current(), self._own
        fresh = {key: CachedImage(embedding=vector) for key, vector in vectors.items()}
        self._cache.remember(begin.connection, encoder, fresh)
        if own is not None and own.encoder == encoder:
            own.seen |= fresh

    def _add_thumbnails(self, thumbnails: list[ThumbnailData]) -> None:
        from apitorch_desktop.vision import images, issues

        begin = self._current()
        fresh: dict[str, CachedImage] = {}
        opened: list[tuple[str, Any]] = []
        for thumbnail in thumbnails:
            if thumbnail.problem:
                fresh[thumbnail.key] = CachedImage(problem=thumbnail.problem)
                continue
            try:
                opened.append((thumbnail.key, images.open_upright(thumbnail.data)))
            except images.UnreadableImage as error:
                fresh[thumbnail.key] = CachedImage(problem=str(error))
        embeddings = self.encoder.encode([image for _, image in opened])
        for (key, image), embedding in zip(opened, embeddings, strict=True):
            look = issues.review_features(image, image.width, image.height)
            fresh[key] = CachedImage(
                look.blur,
                look.dark,
                look.bright,
                look.contrast,
                look.width,
                look.height,
                0,
                look.pattern.tobytes(),
                embedding.astype("<f2").tobytes(),
            )
        self._seen |= fresh
        # A problem is not kept: at the next start the service may have been mended
        kept = {key: one for key, one in fresh.items() if not one.problem}
        self._cache.remember(begin.connection, self.encoder.name, kept)
        if self._analysis is not None:
            self._analysis.add(list(kept))

    def _add_sizes(self, sizes: dict[str, tuple[int, int, int]]) -> None:
        begin = self._current()
        for key, (width, height, size) in sizes.items():
            if (one := self._seen.get(key)) is not None:
                one.width, one.height, one.size = width, height, size
        known = {key: self._seen[key] for key in sizes if key in self._seen}
        self._cache.remember(begin.connection, self.encoder.name, known)

    def _analyze(self, serial: int) -> None:
        begin, analysis = self._current(), self._analysis
        if analysis is None:
            raise ReviewStopped
        try:
            for found, final in analysis.analyze(begin, self._seen, self._interrupted, self._own):
                self._send(FindingsUpdate(serial, found, analysis.unmeasured, final))
        finally:
            if analysis.newly_compared:
                self._cache.keep_compared(*self._owner, analysis.compared)
                analysis.newly_compared = False
            self._cache.release()

    def _replace_ids(self, connection: str, ids: dict[str, str]) -> None:
        self._cache.replace_ids(connection, ids)
        if connection == self._owner[0]:
            for seen in (self._seen, self._own.seen if self._own is not None else {}):
                for old, new in ids.items():
                    if old in seen:
                        seen[new] = seen.pop(old)
            if self._analysis is not None:
                self._analysis.replace_ids(ids)

    def _current(self) -> BeginReview:
        if self._begin is None:
            raise ReviewStopped
        return self._begin


NEXT = 24
"""Number of images whose labels are proposed to be confirmed next."""


_MOST_LEARNED = 20_000
"""Images that the labels are learned from; the others of a larger set are judged by a head that has not seen them."""
_MOST_KNOWN = 4_000
"""Labeled images that stand for all where images are chosen to be labeled next."""
_BLOCK = 4_096
_COMPARED_AT_ONCE = 512
_MOST_REMOVED = 0.5
"""Share of removed images from which the index of near-duplicates is made anew."""


class Features:
    """Patterns and embeddings of images by key; of `seen`, in the cache's files or in memory.

    Of an encoder of a training set's own there are embeddings alone.
    """

    def __init__(self, cache: ReviewCache, encoder: str, seen: dict[str, CachedImage]) -> None:
        self._cache = cache
        self.encoder = encoder
        self.seen = seen

    def patterns(self, keys: Sequence[str]) -> NDArray[np.uint8]:
        """Return (n, SIDE, SIDE)."""
        return self._cache.patterns(self.encoder, [self.seen[key] for key in keys])

    def embeddings(self, keys: Sequence[str]) -> NDArray[np.float16]:
        """Return (n, d)."""
        return self._cache.embeddings(self.encoder, [self.seen[key] for key in keys])

    def release(self) -> None:
        """Let the system take back the memory of what was read."""
        self._cache.release()


class Analysis:
    """Analysis of one training set. `compared` is what to cache; `unmeasured`: ids of duplicates whose size is not known.

    Near-duplicates are found by the built-in encoder always: the thresholds of `near_duplicates` are distances of its
    embeddings. Labels are judged, and images chosen to be labeled next, by the training set's own encoder where it has one
    and the service has encoded enough of the images by it (`is_encoded`), since that is what its classifier learns from.
    """

    def __init__(
        self, encoder: str, compared: CachedComparison | None = None, features: Features | None = None
    ) -> None:
        self._method = f"{encoder}, near-duplicates {near_duplicates.VERSION}"
        reusable = compared is not None and compared.method == self._method
        self.compared = compared if compared is not None and reusable else CachedComparison(self._method, [], [])
        self.newly_compared = False
        self.unmeasured: list[str] = []
        self._features = features
        self._index: near_duplicates.NearDuplicateIndex | None = None
        self._order: list[str] = []  # key of each image of the index
        self._gone: set[str] = set()  # keys that were removed from the index
        self._added: list[str] = []  # not compared yet
        self._training: tuple[int, _Judgement] | None = None

    @property
    def features(self) -> Features:
        """Source of patterns and embeddings."""
        assert self._features is not None  # noqa: S101 - for mypy
        return self._features

    def replace_ids(self, ids: dict[str, str]) -> None:
        """Replace keys, old → new."""
        old = self.compared
        pairs = [(ids.get(a, a), ids.get(b, b), like) for a, b, like in old.pairs]
        self.compared = CachedComparison(old.method, [ids.get(key, key) for key in old.keys], pairs)
        self._order = [ids.get(key, key) for key in self._order]
        self._gone = {ids.get(key, key) for key in self._gone}
        self._added = [ids.get(key, key) for key in self._added]

    def add(self, keys: list[str]) -> None:
        """Note images whose features are there; they are compared as soon as it is worth it, before the analysis."""
        self._added += keys
        if len(self._added) >= _COMPARED_AT_ONCE:
            known = set(self.compared.keys)
            fresh = [key for key in dict.fromkeys(self._added) if key not in known]
            self._added = []
            self._take_in(fresh, lambda: False)

    def analyze(
        self,
        begin: BeginReview,
        seen: dict[str, CachedImage],
        interrupted: Callable[[], bool],
        own: Features | None = None,
    ) -> Iterator[tuple[Findings, bool]]:
        """Yield the findings after each part, with True for the last. Raises ReviewStopped when `interrupted()`.

        `own` has the embeddings by the training set's own encoder, as far as there are any.
        """
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
        self._compare(items, interrupted)
        found.groups, together = self._groups(begin, items, seen)
        yield found, False
        features = self.features
        if own is not None:
            encoded = [place for place, item in enumerate(items) if item.key in own.seen]
            if is_encoded(len(encoded), len(items)):
                features, found.encoder = own, own.encoder
                items, together = [items[place] for place in encoded], [together[place] for place in encoded]
        self._learn(found, items, together, features, interrupted)
        return_free_memory()
        yield found, True

    # --- near-duplicates

    def _compare(self, items: list[ReviewItem], interrupted: Callable[[], bool]) -> None:
        """Compare new images with each other and with the known ones; forget removed ones."""
        self._added = []
        keys = list(dict.fromkeys(item.key for item in items))
        current = set(keys)
        known = [key for key in self.compared.keys if key in current]
        if len(known) < len(self.compared.keys):
            pairs = [pair for pair in self.compared.pairs if pair[0] in current and pair[1] in current]
            self.compared = CachedComparison(self._method, known, pairs)
            self.newly_compared = True
            gone = [at for at, key in enumerate(self._order) if key not in current and key not in self._gone]
            if self._index is not None:
                self._index.remove(gone)
                self._gone.update(self._order[at] for at in gone)
                if len(self._gone) > _MOST_REMOVED * len(self._order):
                    self._index = None
        self._take_in(sorted(current.difference(known)), interrupted)

    def _take_in(self, fresh: list[str], interrupted: Callable[[], bool]) -> None:
        """Compare images with all that are compared and with each other. Raises ReviewStopped; what is done is kept."""
        if not fresh:
            return
        index = self._index
        if index is None or self._gone.intersection(fresh):
            self._order, self._gone = list(self.compared.keys), set()

            def read(of: Callable[[Sequence[str]], NDArray[Any]]) -> near_duplicates.RowReader:
                return lambda rows: of([self._order[row] for row in rows.tolist()])

            index = near_duplicates.NearDuplicateIndex(read(self.features.patterns), read(self.features.embeddings))
            index.extend(len(self._order))
            self.features.release()
        self._index = None  # until the images are compared, should something fail
        for start in range(0, len(fresh), _COMPARED_AT_ONCE):
            some = fresh[start : start + _COMPARED_AT_ONCE]
            first = len(self._order)
            self._order += some
            index.extend(len(some))
            found = index.compare(first, len(self._order), cancelled=interrupted)
            if interrupted():
                raise ReviewStopped
            self.compared.keys += some
            self.compared.pairs += [(self._order[a], self._order[b], like) for a, b, like in found]
            self.newly_compared = True
        self._index = index

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
        together: list[int],
        features: Features,
        interrupted: Callable[[], bool],
    ) -> None:
        waiting = [item for item in items if item.label == INBOX]
        waiting_groups = [group for group, item in zip(together, items, strict=True) if item.label == INBOX]
        together = [group for group, item in zip(together, items, strict=True) if item.label != INBOX]
        items = [item for item in items if item.label != INBOX]
        labels = [item.label for item in items]
        state = hash((features.encoder, tuple(labels), tuple(item.key for item in items), tuple(together)))
        if self._training is None or self._training[0] != state:
            try:
                self._training = (
                    state,
                    _judge([item.key for item in items], labels, together, features, interrupted),
                )
            except head.TooFewImages:
                found.label_issues, found.unsure, found.answers = [], [], {}
                found.why_not = "Labels can be checked once two of them have two photos each."
                return
            except head.TrainingCancelled:
                raise ReviewStopped from None
        learned, chances = self._training[1]
        found.label_issues = [
            LabelIssue(items[one.image].id, one.given, one.likely, one.given_value, one.likely_value)
            for one in issues.find_suspects(chances, labels, learned.labels)
        ]
        best = chances.argmax(axis=1)
        found.answers = {
            item.id: OutOfFoldAnswer(learned.labels[at], round(float(values[at]), 4))
            for item, at, values in zip(items, best.tolist(), chances, strict=True)
        }
        found.answers |= _proposals(learned, waiting, features)
        found.learned = _figures(learned.labels, labels, best)
        accuracy = dict(zip(learned.labels, found.learned.label_accuracy, strict=True))
        found.advice = _advice(found.counts, accuracy)
        known, labeled = None, set(together)
        kept = [place for place, group in enumerate(waiting_groups) if group not in labeled]  # else a copy has a label
        if kept:  # an image without a label teaches more than the confirmation of one
            some = [items[at].key for at in np.linspace(0, len(items) - 1, min(len(items), _MOST_KNOWN)).astype(int)]
            known = features.embeddings(some).astype(np.float32)
            items, together = [waiting[place] for place in kept], [waiting_groups[place] for place in kept]
            chances = _predicted(learned, [item.key for item in items], features)
        asked = _candidates(found, items, together)
        read: near_duplicates.RowReader = lambda rows: features.embeddings([items[asked[row]].key for row in rows])  # noqa: E731
        chosen = issues.label_next(chances[asked], read, NEXT, known)
        found.unsure = [items[asked[place]].id for place in chosen]


class _Judgement(NamedTuple):
    """A head, and the probabilities (n, k) of images by heads that had not seen them."""

    learned: head.Head
    chances: NDArray[Any]


def _judge(
    keys: list[str], labels: list[str], together: list[int], features: Features, interrupted: Callable[[], bool]
) -> _Judgement:
    """Learn labels, of at most _MOST_LEARNED images. Raises TooFewImages, TrainingCancelled."""
    names, answers = np.unique(np.asarray(labels, str), return_inverse=True)
    learned = np.arange(len(keys))
    if len(keys) > _MOST_LEARNED:
        learned = stratified_sample(answers, _MOST_LEARNED, 0)
    training = head.train(
        features.embeddings([keys[at] for at in learned]),
        [labels[at] for at in learned],
        groups=[together[at] for at in learned],
        cancelled=interrupted,
    )
    if len(learned) == len(keys):
        return _Judgement(training.head, training.out_of_fold)
    chances = np.empty((len(keys), len(names)), np.float32)
    others = np.setdiff1d(np.arange(len(keys)), learned)
    for start in range(0, len(others), _BLOCK):
        if interrupted():
            raise head.TrainingCancelled
        part = others[start : start + _BLOCK]
        chances[part] = training.head.smooth(features.embeddings([keys[at] for at in part]).astype(np.float32))
        features.release()
    chances[learned] = training.out_of_fold
    seen = dict(zip((together[at] for at in learned), learned.tolist(), strict=True))
    for at in others.tolist():  # a near-duplicate of an image that was learned is judged as that one is
        if (copy := seen.get(together[at])) is not None:
            chances[at] = chances[copy]
    return _Judgement(training.head, chances)


def _figures(names: Sequence[str], labels: list[str], best: NDArray[np.intp]) -> OutOfFoldFigures:
    place = {name: at for at, name in enumerate(names)}
    given = np.array([place[label] for label in labels])
    confusion = np.zeros((len(names), len(names)), int)
    np.add.at(confusion, (given, best), 1)
    right = np.diag(confusion)
    shares = (right / confusion.sum(axis=1)).tolist()
    return OutOfFoldFigures(list(names), confusion.tolist(), shares, float(right.sum() / len(labels)))


def _predicted(learned: head.Head, keys: list[str], features: Features) -> NDArray[Any]:
    """Return the probabilities (n, k) of images by a head."""
    chances = np.empty((len(keys), len(learned.labels)), np.float32)
    for start in range(0, len(keys), _BLOCK):
        chances[start : start + _BLOCK] = learned.predict(features.embeddings(keys[start : start + _BLOCK]))
    return chances


def _proposals(learned: head.Head, waiting: list[ReviewItem], features: Features) -> dict[str, OutOfFoldAnswer]:
    """Return the answers of a head about images without a label, without those that are probably none of its labels."""
    found: dict[str, OutOfFoldAnswer] = {}
    for start in range(0, len(waiting), _BLOCK):
        some = waiting[start : start + _BLOCK]
        embeddings = features.embeddings([item.key for item in some])
        for item, row, is_none in zip(some, learned.predict(embeddings), learned.is_none(embeddings), strict=True):
            if not is_none:
                found[item.id] = OutOfFoldAnswer(learned.labels[row.argmax()], round(float(row.max()), 4))
    return found


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
