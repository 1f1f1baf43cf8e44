"""The worker process of Review: computes features, compares images and cross-validates labels.

A process of its own, of low priority and with few threads, because the libraries hold the interpreter's lock for up to
hundreds of milliseconds at a time (tests/benchmarks/bench_review.py measures the effect on the window).
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from apitorch_desktop.dataset.review.analysis import Analysis
from apitorch_desktop.dataset.review.cache import CachedImage, ReviewCache
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
    ReviewStopped,
    SendSizes,
    SendThumbnails,
    StopReview,
    ThumbnailData,
)

if TYPE_CHECKING:
    from apitorch_desktop.vision.encoder import Encoder

_NICENESS = 10


def run(requests: Connection, answers: Connection, cache: Path) -> None:
    """Answer requests until the other side closes the pipe."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in a terminal is for the window
    _lower_priority()
    decoder = msgspec.msgpack.Decoder(Request)

    def send(answer: Answer) -> None:
        answers.send_bytes(msgspec.msgpack.encode(answer))

    worker = ReviewWorker(ReviewCache(cache), send, requests.poll)
    with suppress(EOFError, ConnectionError):
        while True:
            worker.answer(decoder.decode(requests.recv_bytes()))


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
            self._owner, self._seen = owner, {}
            compared = self._cache.compared(*owner)
            self._analysis = Analysis(self.encoder.name, compared)
        keys = {item.key for item in begin.items}
        self._seen = {key: one for key, one in self._seen.items() if key in keys}
        self._seen |= self._cache.seen(begin.connection, self.encoder.name, keys - self._seen.keys())
        self._begin = begin
        self._send(
            MissingThumbnails(
                begin.serial, [key for key in dict.fromkeys(i.key for i in begin.items) if key not in self._seen]
            )
        )

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
        for found, final in analysis.analyze(begin, self._seen, self._interrupted):
            if final or analysis.newly_compared:
                self._cache.keep_compared(*self._owner, analysis.compared)
                analysis.newly_compared = False
            self._send(FindingsUpdate(serial, found, analysis.unmeasured, final))

    def _replace_ids(self, connection: str, ids: dict[str, str]) -> None:
        self._cache.replace_ids(connection, ids)
        if connection == self._owner[0]:
            self._seen = {ids.get(key, key): one for key, one in self._seen.items()}
            if self._analysis is not None:
                self._analysis.replace_ids(ids)

    def _current(self) -> BeginReview:
        if self._begin is None:
            raise ReviewStopped
        return self._begin
