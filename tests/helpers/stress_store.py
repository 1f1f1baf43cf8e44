"""A process that changes a store as fast as it can, and reports each change on standard output before and after it.

`python -m tests.helpers.stress_store FOLDER SEED`: one thread a training set, so that at most one change of each is
open at any moment. The tests kill it and compare the store with `after`, the same changes in memory.
"""

import json
import os
import random
import sys
import threading
from copy import deepcopy
from pathlib import Path
from typing import Any

from apitorch_desktop.service.storage.errors import StoreError
from apitorch_desktop.service.storage.records import EmbeddingRow, NewClassification
from apitorch_desktop.service.storage.store import Store
from tests.helpers.stores import ME, Facts

THREADS = 4
LABELS = ("a", "b", "c")
CONTENTS = tuple(f"image {number}" for number in range(10))  # the same for all threads: they share files

State = dict[str, Any]
"""`labels`: {label: contents}; `versions`, `current`; `feedback`: a count. None if the training set does not exist."""

NEW: State = {"labels": {}, "versions": [], "current": None}


def content(name: str) -> bytes:
    """Return the bytes of an image."""
    return name.encode() * 2000


def after(state: State | None, change: list[Any]) -> State | None:
    """Return the state of a training set after a change."""
    kind, *values = change
    if kind == "create":
        return deepcopy(NEW)
    state = deepcopy(state)
    if kind == "delete set" or state is None:
        return None
    labels: dict[str, list[str]] = state["labels"]
    if kind == "add":
        _put(labels, values[0], [values[1]])
    elif kind == "move":
        label, names, new = values
        labels[label] = [each for each in labels[label] if each not in names]
        _put(labels, new, names)
    elif kind == "delete":
        label, names = values
        labels[label] = [each for each in labels[label] if each not in names]
    elif kind == "rename":
        _put(labels, values[1], labels.pop(values[0]))
    elif kind == "delete label":
        del labels[values[0]]
    elif kind == "correct":
        for held in labels.values():
            held[:] = [each for each in held if each != values[1]]
        _put(labels, values[0], [values[1]])
    elif kind == "train":
        number = max(state["versions"], default=0) + 1
        state["versions"] = [each for each in (*state["versions"], number) if each > number - 10]
        state["current"] = number
    elif kind == "current":
        state["current"] = values[0]
    return state


def _put(labels: dict[str, list[str]], label: str, names: list[str]) -> None:
    labels[label] = sorted({*labels.get(label, ()), *names})


def seen(store: Store) -> dict[str, State]:
    """Return the training sets of a store by name."""
    names = {_sha(name): name for name in CONTENTS}
    found: dict[str, State] = {}
    for row in store.training_sets.all(ME):
        labels: dict[str, list[str]] = {label: [] for label in row.labels}
        for image in store.images.page(ME, row.id).images:
            assert store.read(image.sha256) == content(names[image.sha256])
            labels[image.label].append(names[image.sha256])
        versions = store.models.versions(row.id)
        found[row.name] = {
            "labels": {label: sorted(held) for label, held in labels.items()},
            "versions": sorted(version.version for version in versions),
            "current": next((version.version for version in versions if version.current), None),
        }
        assert all(store.models.head(row.id, each.version)[1] == b"head" * 500 for each in versions)
    return found


def _sha(name: str) -> str:
    import hashlib

    return hashlib.sha256(content(name)).hexdigest()


class StressWorker:
    """One thread's changes of one training set."""

    def __init__(self, store: Store, name: str, state: State | None, seed: int) -> None:
        self._store = store
        self._state = state
        self._name = name
        self._random = random.Random(seed)

    def run(self) -> None:
        """Change the set until the process is killed."""
        state = self._state
        while True:
            change = self._choose(state)
            _report({"set": self._name, "change": change})
            self._do(change)
            _report({"set": self._name, "done": True})
            state = after(state, change)

    def _choose(self, state: State | None) -> list[Any]:
        pick = self._random
        if state is None:
            return ["create"]
        labels: dict[str, list[str]] = state["labels"]
        full = [label for label, held in labels.items() if held]
        kind = pick.choices(
            ["add", "move", "delete", "rename", "delete label", "correct", "train", "current", "delete set", "message"],
            [30, 10, 8, 3, 2, 8, 5, 2, 1, 3],
        )[0]
        label, other = pick.choice(LABELS), pick.choice(LABELS)
        if kind in {"move", "delete"} and full:
            label = pick.choice(full)
            names = pick.sample(labels[label], pick.randint(1, len(labels[label])))
            return [kind, label, names, other] if kind == "move" else [kind, label, names]
        if kind in {"rename", "delete label"} and labels:
            label = pick.choice(list(labels))
            return [kind, label, other] if kind == "rename" else [kind, label]
        if kind == "current" and state["versions"]:
            return [kind, pick.choice(state["versions"])]
        if kind in {"correct", "train", "delete set", "message"}:
            return [kind, label, pick.choice(CONTENTS)]
        return ["add", label, pick.choice(CONTENTS)]

    def _do(self, change: list[Any]) -> None:
        store, (kind, *values) = self._store, change
        if kind == "create":
            store.training_sets.create(ME, self._name)
            return
        number = next(row.id for row in store.training_sets.all(ME) if row.name == self._name)
        if kind == "add":
            store.images.add(ME, number, values[0], content(values[1]), Facts())
        elif kind in {"move", "delete"}:
            wanted = {_sha(name) for name in values[1]}
            images = store.images.page(ME, number, label=values[0]).images
            ids = [image.id for image in images if image.sha256 in wanted]
            if kind == "move":
                store.images.move_many(ME, number, ids, values[2])
            else:
                store.images.delete_many(ME, number, ids)
        elif kind == "rename":
            store.labels.rename(ME, number, values[0], values[1], merge=True)
        elif kind == "delete label":
            store.labels.delete(ME, number, values[0])
        elif kind == "correct":
            row = store.classifications.put(ME, content(values[1]), Facts(), [NewClassification(self._name, "x")])[0]
            store.classifications.correct(ME, row.id, number, values[0])
        elif kind == "train":
            missing = store.models.missing(number, "e")
            store.models.put_embeddings("e", [EmbeddingRow(each, b"v" * 6144, 0.5) for each in missing])
            store.models.put_version(
                number, revision=1, encoder="e", head=b"head" * 500, metrics="{}", images=1, labels=1
            )
        elif kind == "current":
            store.models.set_current(number, values[0])
        elif kind == "delete set":
            store.training_sets.delete(ME, number)
        elif kind == "message":
            store.classifications.put_message(ME, self._name)


def _report(line: dict[str, Any]) -> None:
    os.write(sys.stdout.fileno(), json.dumps(line).encode() + b"\n")  # in one piece, past every buffer


def main(folder: str, seed: int) -> None:
    """Change a store until killed."""
    store = Store.open(Path(folder))
    # Answers that are forgotten take their images along, under everything else that goes on
    store.classifications._capacity = 20
    _report({"open": True})

    def work(worker: StressWorker) -> None:
        try:
            worker.run()
        except StoreError as error:
            _report({"error": repr(error)})
        except BaseException as error:
            _report({"error": repr(error)})
            raise

    states = seen(store)
    for thread in range(THREADS):
        name = f"Set {thread}"
        threading.Thread(
            target=work, args=[StressWorker(store, name, states.get(name), seed * THREADS + thread)]
        ).start()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
