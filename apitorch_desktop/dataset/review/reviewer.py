"""Review of a training set on any connection: gathers thumbnails and sends them to a worker process."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from itertools import count
from multiprocessing.connection import Connection
from pathlib import Path
from queue import Empty, Queue
from typing import TypeVar

import msgspec

from apitorch_desktop.api.errors import NotFound
from apitorch_desktop.api.types import MAX_EMBEDDINGS, Id, TrainingImage
from apitorch_desktop.dataset.review import child_process
from apitorch_desktop.dataset.review.findings import Findings
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
    SendEmbeddings,
    SendSizes,
    SendThumbnails,
    StopReview,
    ThumbnailData,
)
from apitorch_desktop.dataset.workspace.workspace import Workspace
from apitorch_desktop.utils import parallel
from apitorch_desktop.utils.decoding import prepared
from apitorch_desktop.utils.errors import Cancelled, UserError

_T = TypeVar("_T")
_BATCH = 16
_EARLY = 500
"""Images from which a set is analyzed before all of its thumbnails are there, and again whenever twice as many are."""
_MOST_MEASURED = 2_000
"""Near-duplicates whose originals are fetched for their size, on a service whose listing does not contain it."""
_POLL = 0.1


class ReviewFailed(UserError):  # noqa: N818 - named for what happened
    """The review could not be finished."""


class Reviewer:
    """Owner of the worker process, which is restarted when it died. Thread-safe; one review at a time.

    `cache` is the folder of the image features, so that only new images are analyzed.
    """

    def __init__(self, cache: Path) -> None:
        self._cache = cache
        self._lock = threading.Lock()
        self._child: _WorkerProcess | None = None
        self._serials = count(1)
        self._replaced: list[ReplaceIds] = []

    def review(
        self,
        workspace: Workspace,
        training_set_id: Id,
        images: Sequence[TrainingImage],
        labels: Sequence[str],
        *,
        apart: Sequence[tuple[str, str]] = (),
        encoder: str = "",
        early: bool = False,
        found: Callable[[Findings], None] | None = None,
        progress: Callable[[int, int], None] | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> Findings:
        """Analyze all images of a training set and return the findings; blocking.

        `labels`: all of its labels, also empty ones. `apart`: pairs of ids that are no duplicates. `encoder`: name of its own
        encoder, whose embeddings are asked of a service that gives them (`embeddings`). `early`: analyze what is there before
        all is, for a set without findings so far. `found` is called with partial findings, `progress` with the numbers of
        analyzed and of all images. Raises ApiError (the service cannot be reached), Cancelled, ReviewFailed.
        """
        stop = cancelled or (lambda: False)
        while not self._lock.acquire(timeout=_POLL):
            if stop():
                raise Cancelled
        try:
            serial = next(self._serials)
            child = self._running_child()
            for replaced in self._replaced:
                child.send(replaced)
            self._replaced.clear()
            own = encoder if workspace.has("embeddings") else ""
            run = _ReviewRun(child, serial, workspace, training_set_id, own, stop, progress)
            try:
                return run.run(images, list(labels), list(apart), found or (lambda _found: None), early=early)
            except Cancelled:
                child.send(StopReview())
                raise
        except (OSError, EOFError) as error:
            self._drop()
            raise ReviewFailed("Review’s own process ended. It is started again at the next change.") from error
        finally:
            self._lock.release()

    def replace_ids(self, connection_id: str, ids: Mapping[str, str]) -> None:
        """Note that a service gave images other ids, old → new: their features remain valid. Returns at once."""
        keys = {f"id:{old}": f"id:{new}" for old, new in ids.items()}
        if keys:
            self._replaced.append(ReplaceIds(connection_id, keys))

    def close(self) -> None:
        """End the worker process."""
        self._drop()

    @property
    def pid(self) -> int | None:
        """Process id of the worker, None while there is none."""
        return self._child.pid if self._child is not None else None

    def _running_child(self) -> _WorkerProcess:
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
        encoder: str,
        stop: Callable[[], bool],
        progress: Callable[[int, int], None] | None,
    ) -> None:
        self._child = child
        self._serial = serial
        self._workspace = workspace
        self._set = training_set_id
        self._encoder = encoder
        self._stop = stop
        self._progress = progress or (lambda _done, _of: None)

    def run(
        self,
        images: Sequence[TrainingImage],
        labels: list[str],
        apart: list[tuple[str, str]],
        found: Callable[[Findings], None],
        *,
        early: bool,
    ) -> Findings:
        by_key: dict[str, TrainingImage] = {}
        items = []
        for image in images:
            item = item_of(image)
            items.append(item)
            by_key[item.key] = image
        connection = self._workspace.connection.id
        begin = BeginReview(self._serial, connection, str(self._set), items, labels, apart, self._encoder)
        missing = self._ask(begin, MissingThumbnails)
        self._send_thumbnails([(key, by_key[key]) for key in missing.keys], len(by_key), found if early else None)
        self._send_embeddings({by_key[key].image_id: key for key in missing.embeddings})
        findings, unmeasured = self._analyze(found)
        if unmeasured:
            by_id = {image.image_id: image for image in images}
            self._send_sizes([by_id[one] for one in unmeasured[:_MOST_MEASURED] if one in by_id])
            findings, _ = self._analyze(found)
        return findings

    def _send_thumbnails(
        self, missing: list[tuple[str, TrainingImage]], of: int, early: Callable[[Findings], None] | None
    ) -> None:
        """Send the thumbnails that the worker lacks of `of`; call `early` with what is found in those it has by then."""
        done = of - len(missing)
        due = _EARLY
        self._progress(done, of)
        waiting = False
        for start in range(0, len(missing), _BATCH):
            if early is not None and done >= due:
                if waiting:
                    self._answer(Received)
                    self._progress(done, of)
                    waiting = False
                early(self._analyze(early)[0])
                due = 2 * done
            batch = missing[start : start + _BATCH]
            thumbnails = self._thumbnails(batch)  # fetched while the child works on those before
            if waiting:
                self._answer(Received)
                self._progress(done, of)
            self._child.send(SendThumbnails(self._serial, thumbnails))
            waiting = True
            done += len(batch)
        if waiting:
            self._answer(Received)
        self._progress(of, of)

    def _thumbnails(self, batch: list[tuple[str, TrainingImage]]) -> list[ThumbnailData]:
        from apitorch_desktop.vision.images import UnreadableImage

        thumbnails: list[ThumbnailData] = []

        def get(wanted: tuple[str, TrainingImage]) -> None:
            key, image = wanted
            try:
                data = self._workspace.thumbnail(self._set, image, cancelled=self._stop)
            except NotFound:  # deleted meanwhile
                return
            except UnreadableImage as error:
                thumbnails.append(ThumbnailData(key, b"", str(error)))
                return
            thumbnails.append(ThumbnailData(key, data))

        remote = []
        for one in batch:
            known = self._workspace.cached_thumbnail(one[1].image_id)
            if known is None:
                remote.append(one)
            else:
                thumbnails.append(ThumbnailData(one[0], known))
        if remote:
            parallel.run_parallel(remote, get, self._stop)
        return thumbnails

    def _send_embeddings(self, missing: dict[str, str]) -> None:
        """Send what the service has of the embeddings by the training set's own encoder; `missing`: image id → key."""
        ids = list(missing)
        for start in range(0, len(ids), MAX_EMBEDDINGS):
            some = ids[start : start + MAX_EMBEDDINGS]
            client = self._workspace.client
            try:
                found = self._workspace.run(partial(client.embeddings, self._set, some, cancelled=self._stop))
            except NotFound:  # deleted meanwhile
                continue
            if found.encoder != self._encoder:  # another was chosen meanwhile
                return
            vectors = {missing[one.image_id]: one.vector for one in found.data if one.image_id in missing}
            if vectors:
                self._ask(SendEmbeddings(self._serial, self._encoder, vectors), Received)

    def _send_sizes(self, images: list[TrainingImage]) -> None:
        from apitorch_desktop.vision.images import UnreadableImage, measure

        sizes: dict[str, tuple[int, int, int]] = {}

        def get(image: TrainingImage) -> None:
            with suppress(NotFound, UnreadableImage):
                data = self._workspace.image(self._set, image, cancelled=self._stop)
                info = measure(data)
                sizes[item_of(image).key] = (info.width, info.height, len(data))

        parallel.run_parallel(images, get, self._stop)
        self._ask(SendSizes(self._serial, sizes), Received)

    def _analyze(self, found: Callable[[Findings], None]) -> tuple[Findings, list[str]]:
        self._child.send(Analyze(self._serial))
        while True:
            answer = self._answer(FindingsUpdate)
            if answer.final:
                return answer.findings, answer.unmeasured
            found(answer.findings)

    def _ask(self, request: Request, kind: type[_T]) -> _T:
        self._child.send(request)
        return self._answer(kind)

    def _answer(self, kind: type[_T]) -> _T:
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
            if isinstance(answer, ReviewCrashed):
                raise ReviewFailed(answer.sentence)
            if isinstance(answer, kind):
                return answer


class _WorkerProcess:
    """The worker process, and a thread that receives its answers, so that it never waits for this side."""

    def __init__(self, cache: Path) -> None:
        receiver, self._requests = child_process.pipe()
        answers, sender = child_process.pipe()
        self._process = child_process.start("review", _work, receiver, sender, cache)
        receiver.close()
        sender.close()
        self.answers: Queue[Answer | None] = Queue()
        self._thread = threading.Thread(target=self._receive, args=(answers,), name="review", daemon=True)
        self._thread.start()

    @property
    def pid(self) -> int | None:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.is_alive()

    def send(self, request: Request) -> None:
        self._requests.send_bytes(msgspec.msgpack.encode(request))

    def end(self) -> None:
        self._requests.close()
        self._process.join(2)
        self._process.kill()
        self._process.join()
        self._thread.join()

    def _receive(self, answers: Connection) -> None:
        decoder = msgspec.msgpack.Decoder(prepared(Answer))
        with answers, suppress(EOFError, OSError):
            while True:
                self.answers.put(decoder.decode(answers.recv_bytes()))
        self.answers.put(None)


def _work(requests: Connection, answers: Connection, cache: Path) -> None:
    """Run the worker, which is not loaded in the window: it imports numpy."""
    from apitorch_desktop.dataset.review import worker

    worker.run(requests, answers, cache)


def item_of(image: TrainingImage) -> ReviewItem:
    """Return an image as it is sent to the worker."""
    image_id = image.image_id
    return ReviewItem(
        image_id,
        image.sha256 if isinstance(image.sha256, str) and image.sha256 else f"id:{image_id}",
        str(image.label),
        image.width if isinstance(image.width, int) else 0,
        image.height if isinstance(image.height, int) else 0,
        image.bytes if isinstance(image.bytes, int) else 0,
        image.created_at if isinstance(image.created_at, str) else "",
    )
