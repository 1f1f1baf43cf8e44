"""`serve`, killed by SIGKILL at any moment under changes over HTTP: what was acknowledged is there, the rest whole or absent.

Uploads, moves, renames, deletes, messages, classifications with corrections, and training are under way at each kill. KILLS=200
in the environment makes it the long one; a kill takes some two seconds. SEED is the moments' and the changes'.
"""

import hashlib
import os
import random
import signal
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.helpers.on_disk import on_disk, orphans
from tests.helpers.service_process import KEY, Service, serving
from tests.helpers.stress_clients import CONTENTS, Corrector, Editor, Learner, StressClient
from tests.helpers.stress_store import NEW, after
from tests.helpers.waiting import until

KILLS = int(os.environ.get("KILLS", "20"))
SEED = int(os.environ.get("SEED", "1"))
_NAMES = {hashlib.sha256(data).hexdigest(): name for name, data in CONTENTS.items()}


class Killed:
    """A service on one folder that is killed over and over, and what it must hold at each start."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.callers: list[StressClient] = [Editor(SEED * 4), Editor(SEED * 4 + 1), Corrector(SEED * 4 + 2)]
        self.learner = Learner(SEED * 4 + 3)
        self.callers.append(self.learner)
        self.unheard: Counter[str] = Counter()
        """Feedback that may be there, though it was never acknowledged."""

    def run(self, delay: float, *, learned: bool = False) -> None:
        """Start, check, change, and kill after `delay` seconds of change, or of what follows a training."""
        with serving(self.folder, key=KEY) as served:
            self.check(served)
            known = self.learner.versions
            threads = [caller.start(served.url, KEY) for caller in self.callers]
            deadline = time.monotonic() + 30  # on a busy machine training, of low priority, may take longer
            while learned and self.learner.versions == known and time.monotonic() < deadline:
                time.sleep(0.02)
            time.sleep(delay)
            served.process.send_signal(signal.SIGKILL)
            for thread in threads:
                thread.join(60)
                assert not thread.is_alive()
        for caller in self.callers:
            if caller.error is not None:
                raise caller.error

    def check(self, served: Service) -> None:
        """Hold the started service against what it acknowledged; the callers go on from what is there."""
        until(lambda: not orphans(self.folder), "the quarantine")
        contents = {image: _NAMES[sha256] for image, sha256 in on_disk(self.folder).items()}
        sets = {row["name"]: row["id"] for row in served.call("GET", "training-sets").json()["data"]}
        assert set(sets) <= {caller.name for caller in self.callers}
        for caller in self.callers:
            allowed = [caller.state, after(caller.state, caller.open) if caller.open else caller.state]
            found = dict(NEW) if isinstance(caller, Corrector) else None
            if caller.name in sets:
                found = {**NEW, "labels": self._labels(served, sets[caller.name], contents)}
            assert found in allowed, f"{caller.name}: {found} is none of {allowed} ({caller.open})"
            caller.state = found
        self._check_feedback(served)
        self._check_versions(served)

    def _labels(self, served: Service, number: int, contents: dict[str, str]) -> dict[str, list[str]]:
        labels = {row["label"]: [] for row in served.call("GET", f"training-set/{number}/labels").json()["data"]}
        listed = served.call("GET", f"training-set/{number}/images").json()["data"]
        for group in listed:
            for image in group["images"]:
                labels[group["label"]].append(contents[image["id"]])
        for image in [image for group in listed for image in group["images"]][:1]:
            path = image["url"].partition("/images/")[2]
            data = served.call("GET", f"../images/{path}").content
            assert _NAMES[hashlib.sha256(data).hexdigest()] == contents[image["id"]]
        return {label: sorted(held) for label, held in labels.items()}

    def _check_feedback(self, served: Service) -> None:
        kinds = [row["kind"] for row in served.call("GET", "feedback").json()["data"]]
        for kind, change in (("freeform", "message"), ("classification", "correct")):
            acknowledged = sum(caller.acknowledged[change] for caller in self.callers)
            self.unheard[change] += sum(caller.open is not None and caller.open[0] == change for caller in self.callers)
            assert acknowledged <= kinds.count(kind) <= acknowledged + self.unheard[change]

    def _check_versions(self, served: Service) -> None:
        if self.learner.state is None:
            return
        kept = served.call("GET", "classifier/learned/versions").json()["data"]
        numbers = [row["version"] for row in kept]
        assert len(numbers) <= 10
        assert max(numbers, default=0) >= self.learner.versions
        assert [row["current"] for row in kept].count(True) == (1 if kept else 0)
        if self.learner.chosen in numbers and max(numbers) == self.learner.versions:
            assert next(row["version"] for row in kept if row["current"]) == self.learner.chosen


@pytest.mark.timeout(120 + 10 * KILLS)
def test_nothing_acknowledged_is_lost_when_the_service_is_killed(tmp_path: Path):
    chance, killed = random.Random(SEED), Killed(tmp_path / "data")
    for kill in range(KILLS):
        if kill % 20 == 0:
            print(f"{kill} of {KILLS} kills")
        killed.run(chance.uniform(0, 0.6), learned=kill % 40 == 19)
    with serving(killed.folder, key=KEY) as served:
        killed.check(served)
        assert served.end()[0] == 0
    made = sum((caller.acknowledged for caller in killed.callers), Counter[str]())
    print(f"{KILLS} kills; acknowledged {dict(made)}, {killed.learner.versions} versions of a classifier")
    assert made.total() > 2 * KILLS  # they did change
    assert made["correct"] > 0
    if KILLS >= 20 and not killed.learner.versions:
        pytest.skip("nothing was lost, but the machine was too busy for a classifier to be trained meanwhile")


def test_a_lost_change_an_orphan_and_a_missing_file_would_be_seen(tmp_path: Path):
    """The checks can fail."""
    killed = Killed(tmp_path / "data")
    killed.run(0.5)
    killed.callers[0].state, killed.callers[0].open = {**NEW, "labels": {"a": ["image 77"]}}, None
    with serving(killed.folder, key=KEY) as served:
        with pytest.raises(AssertionError, match="Edited"):
            killed.check(served)
        number = served.call("POST", "training-sets", json={"name": "Here"}).json()["id"]
        for name in ("image 1", "image 2"):
            served.call("POST", f"training-set/{number}/a/image", files={"image": ("a.jpg", CONTENTS[name])})
        path = next(path for path in (killed.folder / "images").glob("?/*"))
        away = path.rename(tmp_path / "away")
        with pytest.raises(AssertionError, match="have no file"):
            on_disk(killed.folder)
        away.rename(path)
        (path.parent / ("0" * 64)).write_bytes(b"")
        with pytest.raises(AssertionError, match="have no row"):
            on_disk(killed.folder)
