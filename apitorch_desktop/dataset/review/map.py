"""Map of a training set: its images on a plane, laid out in a process of its own, from the features that Review cached."""

from __future__ import annotations

import os
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.connection import Connection

import msgspec

from apitorch_desktop.dataset.review.messages import MapRequest, MapUpdate
from apitorch_desktop.utils.errors import Cancelled, UserError

_POLL = 0.1


class MapFailed(UserError):  # noqa: N818 - named for what happened
    """The map could not be made."""


def make_map(
    request: MapRequest, found: Callable[[MapUpdate], None], cancelled: Callable[[], bool] = lambda: False
) -> MapUpdate:
    """Return the positions of a training set's images; blocks. `found` is called with what there is before.

    Positions are kept in the cache folder: only many new images cause a new layout, few are placed among those that are
    there. Raises MapFailed, Cancelled.
    """
    context = get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(sender, msgspec.msgpack.encode(request)), name="map", daemon=True)
    safe_path = os.environ.get("PYTHONSAFEPATH")
    os.environ["PYTHONSAFEPATH"] = "1"  # modules in the current folder must not be imported
    try:
        process.start()
    finally:
        del os.environ["PYTHONSAFEPATH"]
        if safe_path is not None:
            os.environ["PYTHONSAFEPATH"] = safe_path
    sender.close()
    try:
        while True:
            while not receiver.poll(_POLL):
                if cancelled():
                    raise Cancelled
            update = msgspec.msgpack.decode(receiver.recv_bytes(), type=MapUpdate)
            if update.problem:
                raise MapFailed(f"The map could not be made: {update.problem}")
            if update.final:
                return update
            found(update)
    except (EOFError, OSError) as error:
        raise MapFailed("The process that makes the map ended.") from error
    finally:
        process.kill()
        process.join()
        receiver.close()


def _work(sender: Connection, request: bytes) -> None:
    """Body of the process, with few threads for what multiplies matrices: set before numpy is imported."""
    threads = str(max(1, (os.cpu_count() or 2) // 2))
    os.environ.update(dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), threads))
    from apitorch_desktop.dataset.review import map_layout

    def send(update: MapUpdate) -> None:
        sender.send_bytes(msgspec.msgpack.encode(update))

    try:
        map_layout.run(msgspec.msgpack.decode(request, type=MapRequest), send, int(threads))
    except ConnectionError:
        return
    except Exception as error:  # noqa: BLE001 - reported to the user, whatever it is
        send(MapUpdate([], None, 0, final=True, problem=f"{type(error).__name__}: {str(error)[:200]}"))
