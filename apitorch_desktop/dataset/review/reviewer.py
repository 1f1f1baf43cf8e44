"""Reviewing: finds what is wrong with a training set on any connection; gathers thumbnails, the heavy work is a child's."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from itertools import count
from pathlib import Path
from queue import Empty, Queue
from typing import Final

from apitorch_desktop.api.errors import NotFound
from apitorch_desktop.api.types import Id, TrainingImage
from apitorch_desktop.dataset.review import findings as records
from apitorch_desktop.dataset.review.findings import Findings
from apitorch_desktop.dataset.workspace.workspace import Workspace
from apitorch_desktop.utils import parallel
from apitorch_desktop.utils.errors import Cancelled, UserError

COMMAND: Final = "review-worker"
"""The word that makes this program the child: `apitorch-desktop review-worker CACHE_FOLDER`."""
_BATCH = 16
_MOST_MEASURED = 2_000
"""Near-duplicates whose originals are fetched for their size, on a service that does not tell it."""
_POLL = 0.1


class ReviewFailed(UserError):  # noqa: N818 - named for what happened
    """The review came to an end; `str()` is a sentence that says why."""


class Reviewer:
    """Keeps the child, and starts it again where it died. Thread-safe; one review at a time.

    `cache` is the folder where what was seen of images is kept, so that only new ones are looked at.
    """

    def __init__(self, cache: Path) -> None:
        self._cache = cache
        self._turn = threading.Lock()
        self._child: _WorkerProcess | None = None
        self._serials = count(1)
        self._followed: list[records.ReplaceIds] = []

    def review(
        self,
        workspace: Workspace,
        training_set_id: Id,
        images: Sequence[TrainingImage],
        labels: Sequence[str],
        *,
        apart: Sequence[tuple[str, str]] = (),
        found: Callable[[Findings], None] | None = None,
        progress: Callable[[int, int], None] | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> Findings:
        """Look at all images of a training set that were not seen before, and judge it; blocking.

        `labels`: all of its labels, also empty ones. `apart`: pairs of ids that are no duplicates. `found` is called
        with what is known so far, `progress` with images looked at and images there are. Raises ApiError (the service
        is away), Cancelled, ReviewFailed.
        """
        stop = cancelled or (lambda: False)
        while not self._turn.acquire(timeout=_POLL):
            if stop():
                raise Cancelled
        try:
            serial = next(self._serials)
            child = self._there()
            for follow in self._followed:
                child.send(follow)
            self._followed.clear()
            run = _ReviewRun(child, serial, workspace, training_set_id, stop, progress)
            try:
                return run.run(images, list(labels), list(apart), found or (lambda _found: None))
            except Cancelled:
                child.send(records.StopReview())
                raise
        except (OSError, EOFError) as fault:
            self._drop()
            raise ReviewFailed("Review’s own process ended. It is started again at the next change.") from fault
        finally:
            self._turn.release()

    def follow(self, connection_id: str, ids: Mapping[str, str]) -> None:
        """A service gave images other ids, old → new: what was seen of them holds. Returns at once."""
        keys = {f"id:{old}": f"id:{new}" for old, new in ids.items()}
        if keys:
            self._followed.append(records.ReplaceIds(connection_id, keys))

    def close(self) -> None:
        """End the child."""
        self._drop()

    @property
    def pid(self) -> int | None:
        """The child's, while there is one."""
        return self._child.pid if self._child is not None else None

    def _there(self) -> _WorkerProcess:
        if self._child is None or not self._child.alive:
            self._drop()
            self._child = _WorkerProcess(self._cache)
        return self._child

    def _drop(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            child.end()


class _ReviewRun:
    """One review."""

    def __init__(
        self,
        child: _WorkerProcess,
        serial: int,
        workspace: Workspace,
        training_set_id: Id,
        stop: Callable[[], bool],
        progress: Callable[[int, int], None] | None,
    ) -> None:
        self._child = child
        self._serial = serial
        self._workspace = workspace
        self._set = training_set_id
        self._stop = stop
        self._progress = progress or (lambda _done, _of: None)

    def run(
        self,
        images: Sequence[TrainingImage],
        labels: list[str],
        apart: list[tuple[str, str]],
        found: Callable[[Findings], None],
    ) -> Findings:
        by_key: dict[str, TrainingImage] = {}
        items = []
        for image in images:
            item = item_of(image)
            items.append(item)
            by_key[item.key] = image
        connection = self._workspace.connection.id
        begin = records.BeginReview(self._serial, connection, str(self._set), items, labels, apart)
        lacking = self._ask(begin, records.MissingThumbnails).keys
        self._send_thumbnails([(key, by_key[key]) for key in lacking], len(by_key))
        findings, unmeasured = self._judge(found)
        if unmeasured:
            by_id = {image.image_id: image for image in images}
            self._send_sizes([by_id[one] for one in unmeasured[:_MOST_MEASURED] if one in by_id])
            findings, _ = self._judge(found)
        return findings

    def _send_thumbnails(self, lacking: list[tuple[str, TrainingImage]], of: int) -> None:
        done = of - len(lacking)
        self._progress(done, of)
        waiting = False
        for start in range(0, len(lacking), _BATCH):
            batch = lacking[start : start + _BATCH]
            pictures = self._thumbnails(batch)  # fetched while the child works on those before
            if waiting:
                self._answer(records.Received)
                self._progress(done, of)
            self._child.send(records.SendThumbnails(self._serial, pictures))
            waiting = True
            done += len(batch)
        if waiting:
            self._answer(records.Received)
        self._progress(of, of)

    def _thumbnails(self, batch: list[tuple[str, TrainingImage]]) -> list[records.ThumbnailData]:
        from apitorch_desktop.vision.images import UnreadableImage

        pictures: list[records.ThumbnailData] = []

        def get(one: tuple[str, TrainingImage]) -> None:
            key, image = one
            try:
                data = self._workspace.thumbnail(self._set, image, cancelled=self._stop)
            except NotFound:  # deleted meanwhile
                return
            except UnreadableImage as fault:
                pictures.append(records.ThumbnailData(key, b"", str(fault)))
                return
            pictures.append(records.ThumbnailData(key, data))

        remote = []
        for one in batch:
            known = self._workspace.cached_thumbnail(one[1].image_id)
            if known is None:
                remote.append(one)
            else:
                pictures.append(records.ThumbnailData(one[0], known))
        if remote:
            parallel.run_parallel(remote, get, self._stop)
        return pictures

    def _send_sizes(self, images: list[TrainingImage]) -> None:
        from apitorch_desktop.vision.images import UnreadableImage, measure

        sizes: dict[str, tuple[int, int, int]] = {}

        def get(image: TrainingImage) -> None:
            with suppress(NotFound, UnreadableImage):
                data = self._workspace.image(self._set, image, cancelled=self._stop)
                info = measure(data)
                sizes[item_of(image).key] = (info.width, info.height, len(data))

        parallel.run_parallel(images, get, self._stop)
        self._ask(records.SendSizes(self._serial, sizes), records.Received)

    def _judge(self, found: Callable[[Findings], None]) -> tuple[Findings, list[str]]:
        self._child.send(records.Analyze(self._serial))
        while True:
            answer = self._answer(records.FindingsUpdate)
            if answer.final:
                return answer.findings, answer.unmeasured
            found(answer.findings)

    def _ask(self, request: records.Request, kind: type[records.T]) -> records.T:
        self._child.send(request)
        return self._answer(kind)

    def _answer(self, kind: type[records.T]) -> records.T:
        while True:
            if self._stop():
                raise Cancelled
            try:
                answer = self._child.answers.get(timeout=_POLL)
            except Empty:
                continue
            if answer is None:
                raise EOFError("the child ended")
            if answer.serial != self._serial:
                continue  # of a review that was stopped
            if isinstance(answer, records.ReviewCrashed):
                raise ReviewFailed(answer.sentence)
            if isinstance(answer, kind):
                return answer


class _WorkerProcess:
    """The process, and a thread that hears it."""

    def __init__(self, cache: Path) -> None:
        self._process = subprocess.Popen(
            [*_command(), COMMAND, str(cache)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=_environment(),
        )
        self.answers: Queue[records.Answer | None] = Queue()
        self._thread = threading.Thread(target=self._listen, name="review", daemon=True)
        self._thread.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def send(self, request: records.Request) -> None:
        assert self._process.stdin is not None  # noqa: S101 - for mypy
        records.write(self._process.stdin, request)

    def end(self) -> None:
        with suppress(OSError):
            if self._process.stdin is not None:
                self._process.stdin.close()
        try:
            self._process.wait(2)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._thread.join()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def _listen(self) -> None:
        assert self._process.stdout is not None  # noqa: S101 - for mypy
        read = records.reader(self._process.stdout, records.Answer)
        with suppress(OSError, ValueError):
            while (answer := read()) is not None:
                self.answers.put(answer)
        self.answers.put(None)


def item_of(image: TrainingImage) -> records.ReviewItem:
    """An image as the child is told of it."""
    image_id = image.image_id
    return records.ReviewItem(
        image_id,
        image.sha256 if isinstance(image.sha256, str) and image.sha256 else f"id:{image_id}",
        str(image.label),
        image.width if isinstance(image.width, int) else 0,
        image.height if isinstance(image.height, int) else 0,
        image.bytes if isinstance(image.bytes, int) else 0,
        image.created_at if isinstance(image.created_at, str) else "",
    )


def _command() -> list[str]:
    if getattr(sys, "frozen", False):
        return [sys.executable]
    return [sys.executable, "-P", "-m", "apitorch_desktop"]  # -P: modules in the folder we stand in are not ours


def _environment() -> dict[str, str]:
    """Few threads for what multiplies matrices; and this package, where it is run from a checkout."""
    threads = str(max(1, (os.cpu_count() or 2) // 2))
    more = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), threads)
    path = [str(Path(__file__).parents[3]), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, **more, "PYTHONPATH": os.pathsep.join(path)}
