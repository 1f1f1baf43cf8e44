"""A real Secret Service, each time in a session of its own: its bus, its HOME, its keyring."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
KEY = "a-key-for-the-real-keyring-in-a-test-01234"
ASK = [sys.executable, "-m", "tests.helpers.keyring_session"]
START = "printf 'pw\\n' | gnome-keyring-daemon --unlock --components=secrets --daemonize >/dev/null 2>&1; "

pytestmark = pytest.mark.skipif(
    not (shutil.which("dbus-run-session") and shutil.which("gnome-keyring-daemon")),
    reason="needs dbus-run-session and gnome-keyring-daemon",
)


@pytest.fixture
def session() -> Iterator[dict[str, str]]:
    """The environment of a session without a screen."""
    folder = Path(tempfile.mkdtemp(prefix="ring"))  # short: sockets lie in it
    for name in ("home", "run"):
        (folder / name).mkdir(mode=0o700)
    path = os.environ["PATH"]
    yield {"PATH": path, "HOME": str(folder / "home"), "XDG_RUNTIME_DIR": str(folder / "run"), "LANG": "C.UTF-8"}
    shutil.rmtree(folder, ignore_errors=True)


def run(session: dict[str, str], script: str) -> list[dict]:
    """What a session's programs printed."""
    command = ["dbus-run-session", "--", "bash", "-c", script]
    done = subprocess.run(command, env=session, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def ask(*words: str) -> str:
    return " ".join([*ASK, *words])


def test_a_key_is_stored_found_by_another_program_changed_and_removed(session):
    script = START + "; ".join([ask(f"store={KEY}"), ask("find"), ask("store=another", "find"), ask("remove", "find")])
    stored, found, _, changed, removed, gone = run(session, script)
    assert (stored["kept"], stored["message"]) == ("keyring", "")
    assert (found["key"], found["kept"]) == (KEY, "keyring")
    assert changed["key"] == "another"
    assert (removed["trouble"], gone["key"], gone["trouble"]) == ("", "", "")
    held = [path.read_bytes() for path in Path(session["HOME"]).rglob("*.keyring")]
    assert held
    assert not any(KEY.encode() in content for content in held)


def test_a_locked_keyring_says_so_and_works_again_when_it_is_unlocked(session):
    script = START + "; ".join([ask(f"store={KEY}", "lock", "find", "store=another"), ask("unlock", "find")])
    _, locked, kept, found = run(session, script)
    assert (locked["key"], locked["trouble"]) == ("", "locked")
    assert locked["message"] == "The keyring is locked. Unlock it, then try again."
    assert (kept["key"], kept["kept"]) == ("another", "this run")
    assert kept["message"].endswith("The key is kept until the program ends.")
    assert found["key"] == KEY
    assert max(locked["seconds"], kept["seconds"]) < 6


def test_without_a_keyring_the_key_is_kept_for_this_run(session):
    done = subprocess.run(
        [*ASK, f"store={KEY}", "find", "remove"], env=session, cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    stored, gone, removed = [json.loads(line) for line in done.stdout.splitlines()]
    assert (stored["kept"], stored["trouble"]) == ("this run", "missing")
    assert stored["message"] == "This machine has no keyring. The key is kept until the program ends."
    assert (gone["key"], gone["trouble"]) == ("", "missing")
    assert removed["message"] == ""
    assert "Traceback" not in done.stderr


def test_a_keyring_that_never_answers_holds_nobody_up_and_lets_the_program_end(session):
    wait = "until grep -q mute $HOME/said; do sleep 0.05; done; "
    script = f"{ask('mute')} >$HOME/said & {wait} time -p {ask('find')}; kill $!"
    [found] = run(session, script)
    assert (found["key"], found["trouble"]) == ("", "slow")
    assert found["message"].startswith("The keyring does not answer")
    assert 4.5 < found["seconds"] < 6


def test_a_keyring_is_waited_for_while_its_password_is_typed(session):
    _, slow, found = run(session, START + ask(f"store={KEY}", "hold=7", "await=30"))
    assert slow == {"slow": True}
    assert (found["key"], found["trouble"]) == (KEY, "")
    assert 6.5 < found["seconds"] < 10


def test_a_wait_for_the_keyring_ends_when_it_is_stopped(session):
    wait = "until grep -q mute $HOME/said; do sleep 0.05; done; "
    slow, found = run(session, f"{ask('mute')} >$HOME/said & {wait} {ask('await=6')}; kill $!")
    assert slow == {"slow": True}
    assert (found["key"], found["trouble"]) == ("", "slow")
    assert 5.9 < found["seconds"] < 7
