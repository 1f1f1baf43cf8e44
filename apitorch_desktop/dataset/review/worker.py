"""The process that does Review's heavy work, beside the window: embeds, compares, learns. Talks `review_records` on pipes.

A process of its own, of low priority and with few threads, because what it calls holds the interpreter's lock for up to
hundreds of milliseconds at a time (tests/benchmarks/bench_review.py measures what that would do to the window).
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from apitorch_desktop.dataset.review import findings as records
from apitorch_desktop.dataset.review.analysis import Analysis
from apitorch_desktop.dataset.review.cache import CachedImage, ReviewCache

if TYPE_CHECKING:
    from apitorch_desktop.vision.encoder import Encoder

_LEAST = 10  # nice


def run(cache: Path) -> int:
    """Answer requests on standard input until it ends; answers the exit status."""
    pipe = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what a library prints must not get into the pipe
    _give_way()
    waiting: SimpleQueue[records.Request] = SimpleQueue()
    threading.Thread(target=_listen, args=(waiting,), daemon=True).start()
    worker = ReviewWorker(ReviewCache(cache), lambda answer: records.write(pipe, answer), lambda: not waiting.empty())
    with suppress(BrokenPipeError):
        while True:
            worker.answer(waiting.get())
    return 0


def _listen(waiting: SimpleQueue[records.Request]) -> None:
    read = records.reader(sys.stdin.buffer, records.Request)
    while (request := read()) is not None:
        waiting.put(request)
    os._exit(0)  # whoever asked is gone, and nothing here is worth finishing


def _give_way() -> None:
    if sys.platform == "win32":
        import ctypes

        below_normal = 0x4000
        ctypes.windll.kernel32.SetPriorityClass(ctypes.windll.kernel32.GetCurrentProcess(), below_normal)
    else:
        os.nice(_LEAST)


class ReviewWorker:
    """Answers requests one after the other; `send` an answer, `wanted()` tells that another request waits."""

    def __init__(
        self, memory: ReviewCache, send: Callable[[records.Answer], None], wanted: Callable[[], bool], threads: int = 0
    ) -> None:
        self._memory = memory
        self._send = send
        self._wanted = wanted
        self._threads = threads or max(1, (os.cpu_count() or 2) // 2)
        self._encoder: Encoder | None = None
        self._begin: records.BeginReview | None = None
        self._reviewed: Analysis | None = None
        self._owner = ("", "")
        self._seen: dict[str, CachedImage] = {}

    def answer(self, request: records.Request) -> None:
        """Do what is asked for, and answer."""
        serial = getattr(request, "serial", 0)
        try:
            self._do(request)
        except records.ReviewStopped:
            return
        except BrokenPipeError:
            raise
        except Exception as fault:  # noqa: BLE001 - told to the person, whatever it is; the next review may go well
            self._send(records.ReviewCrashed(serial, f"Review could not go on: {fault}"))

    def _do(self, request: records.Request) -> None:
        match request:
            case records.BeginReview():
                self._start(request)
            case records.SendThumbnails(serial, pictures):
                self._take(pictures)
                self._send(records.Received(serial))
            case records.SendSizes(serial, sizes):
                self._measured(sizes)
                self._send(records.Received(serial))
            case records.Analyze(serial):
                self._judge(serial)
            case records.ReplaceIds(connection, ids):
                self._follow(connection, ids)
            case records.StopReview():
                pass

    @property
    def encoder(self) -> Encoder:
        """The encoder, loaded when it is first needed."""
        if self._encoder is None:
            from apitorch_desktop.vision.encoder import Encoder

            self._encoder = Encoder(threads=self._threads)
        return self._encoder

    def _start(self, begin: records.BeginReview) -> None:
        from apitorch_desktop.dataset.review.analysis import Analysis

        owner = begin.connection, begin.training_set
        if owner != self._owner:
            self._owner, self._seen = owner, {}
            compared = self._memory.compared(*owner)
            self._reviewed = Analysis(self.encoder.name, compared)
        keys = {item.key for item in begin.items}
        self._seen = {key: one for key, one in self._seen.items() if key in keys}
        self._seen |= self._memory.seen(begin.connection, self.encoder.name, keys - self._seen.keys())
        self._begin = begin
        self._send(
            records.MissingThumbnails(
                begin.serial, [key for key in dict.fromkeys(i.key for i in begin.items) if key not in self._seen]
            )
        )

    def _take(self, pictures: list[records.ThumbnailData]) -> None:
        from apitorch_desktop.vision import images, issues

        begin = self._now()
        fresh: dict[str, CachedImage] = {}
        opened: list[tuple[str, Any]] = []
        for picture in pictures:
            if picture.problem:
                fresh[picture.key] = CachedImage(problem=picture.problem)
                continue
            try:
                opened.append((picture.key, images.open_upright(picture.data)))
            except images.UnreadableImage as fault:
                fresh[picture.key] = CachedImage(problem=str(fault))
        encoded = self.encoder.encode([image for _, image in opened])
        for (key, image), embedding in zip(opened, encoded.embeddings, strict=True):
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
        # A problem is asked about again at the next start: the service may have been put right
        kept = {key: one for key, one in fresh.items() if not one.problem}
        self._memory.remember(begin.connection, self.encoder.name, kept)

    def _measured(self, sizes: dict[str, tuple[int, int, int]]) -> None:
        begin = self._now()
        for key, (width, height, size) in sizes.items():
            if (one := self._seen.get(key)) is not None:
                one.width, one.height, one.size = width, height, size
        known = {key: self._seen[key] for key in sizes if key in self._seen}
        self._memory.remember(begin.connection, self.encoder.name, known)

    def _judge(self, serial: int) -> None:
        begin, reviewed = self._now(), self._reviewed
        if reviewed is None:
            raise records.ReviewStopped
        for found, final in reviewed.judge(begin, self._seen, self._check):
            if final or reviewed.newly_compared:
                self._memory.keep_compared(*self._owner, reviewed.compared)
                reviewed.newly_compared = False
            self._send(records.FindingsUpdate(serial, found, reviewed.unmeasured, final))

    def _follow(self, connection: str, ids: dict[str, str]) -> None:
        self._memory.follow(connection, ids)
        if connection == self._owner[0]:
            self._seen = {ids.get(key, key): one for key, one in self._seen.items()}
            if self._reviewed is not None:
                self._reviewed.follow(ids)

    def _check(self) -> bool:
        """Whether something else is wanted by now."""
        return self._wanted()

    def _now(self) -> records.BeginReview:
        if self._begin is None:
            raise records.ReviewStopped
        return self._begin
