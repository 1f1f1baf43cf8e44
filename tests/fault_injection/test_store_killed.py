"""The service's store survives SIGKILL at any moment: what was acknowledged is there, the rest is whole or absent.

`KILLS=200` in the environment (or any number) kills more often; each kill takes about a second.
"""

import json
import os
import random
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from apitorch_desktop.service.storage.store import Store
from tests.helpers.stores import ME, consistent
from tests.helpers.stress_store import THREADS, State, after, seen

KILLS = int(os.environ.get("KILLS", "24"))


def killed(folder: Path, seed: int, delay: float, *, from_open: bool = True) -> list[dict[str, Any]]:
    """Run a hammer, kill it `delay` seconds after its start or after it has opened the store; what it said."""
    command = [sys.executable, "-m", "tests.helpers.stress_store", str(folder), str(seed)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, bufsize=0, cwd=Path(__file__).parents[2])
    assert process.stdout is not None
    said = b""
    try:
        if from_open:
            said = process.stdout.readline()
            assert json.loads(said) == {"open": True}
        end = time.monotonic() + delay
        while (left := end - time.monotonic()) > 0:
            if select.select([process.stdout], [], [], left)[0]:
                said += os.read(process.stdout.fileno(), 2**16)
    finally:
        process.send_signal(signal.SIGKILL)
        said += process.stdout.read()
        process.stdout.close()
        process.wait()
    # the last line may be cut short
    lines = [json.loads(line) for line in said.splitlines() if line.endswith(b"}")]
    assert not [line for line in lines if "error" in line]
    return lines


class Expected:
    """What the store must hold: each set's acknowledged state, and the change that was open when the process died."""

    def __init__(self) -> None:
        self.states: dict[str, State | None] = {f"Set {thread}": None for thread in range(THREADS)}
        self.acknowledged = 0
        self._messages = 0
        self._corrections = 0

    def check(self, folder: Path, lines: list[dict[str, Any]]) -> None:
        """Hold an opened store against what was said, and take over what it has."""
        open_: dict[str, list[Any]] = {}
        least = {"freeform": self._messages, "classification": self._corrections}
        for line in lines:
            if "change" in line:
                open_[line["set"]] = line["change"]
            elif "done" in line:
                change = open_.pop(line["set"])
                self.states[line["set"]] = after(self.states[line["set"]], change)
                self.acknowledged += 1
                least["freeform"] += change[0] == "message"
                least["classification"] += change[0] == "correct"
        with Store.open(folder) as store:
            assert store.startup_sweep.missing == ()
            found = seen(store)
            for name, state in self.states.items():
                allowed = [state]
                if name in open_:
                    allowed.append(after(state, open_[name]))
                assert found.get(name) in allowed, f"{name}: {found.get(name)} is none of {allowed} ({open_.get(name)})"
                self.states[name] = found.get(name)
            kinds = [row.kind for row in store.classifications.feedback(ME)]
            for kind, change in (("freeform", "message"), ("classification", "correct")):
                most = least[kind] + sum(each[0] == change for each in open_.values())
                assert least[kind] <= kinds.count(kind) <= most
            self._messages, self._corrections = kinds.count("freeform"), kinds.count("classification")
            consistent(store)
            assert not list((folder / "images" / "incoming").iterdir())


@pytest.mark.timeout(120 + 10 * KILLS)
def test_nothing_acknowledged_is_lost_when_the_process_is_killed(tmp_path: Path):
    chance, expected = random.Random(1), Expected()
    folder = tmp_path / "data"
    for kill in range(KILLS):
        lines = killed(folder, kill, chance.uniform(0, 0.5))
        expected.check(folder, lines)
    assert expected.acknowledged > 5 * KILLS  # the hammer did hammer


@pytest.mark.timeout(120 + KILLS)
def test_a_kill_while_the_store_is_made_or_opened_leaves_one_that_opens(tmp_path: Path):
    chance = random.Random(2)
    for kill in range(max(3, KILLS // 8)):
        expected = Expected()
        folder = tmp_path / str(kill)
        for again in range(2):
            expected.check(folder, killed(folder, again, chance.uniform(0.2, 1.2), from_open=False))


def test_a_lost_change_would_be_seen(tmp_path: Path):
    """The check can fail: a row that is removed behind the store's back is found out."""
    expected = Expected()
    lines: list[dict[str, Any]] = [
        {"set": "Set 0", "change": ["create"]},
        {"set": "Set 0", "done": True},
        {"set": "Set 0", "change": ["message", "a", ""]},
    ]
    with pytest.raises(AssertionError, match="Set 0: None is none of"):
        expected.check(tmp_path, lines)
