"""A real keyring, locked and slow to answer: the window waits, lets the user stop that, and forgets what has passed."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import keyring
import pytest
import secretstorage
from keyring.backends.SecretService import Keyring

from apitorch_desktop.dataset.connections.api_keys import ApiKeyStore
from apitorch_desktop.ui.session.session import ConnectionState
from tests.helpers import app_runner as program
from tests.helpers.documented_program import listed, run
from tests.helpers.keyring_session import daemon
from tests.helpers.waiting import PATIENCE, until
from tests.helpers.widget_driver import answer, choose_in_connection_menu

pytestmark = pytest.mark.skipif(
    not (shutil.which("dbus-daemon") and shutil.which("gnome-keyring-daemon")),
    reason="needs dbus-daemon and gnome-keyring-daemon",
)


@pytest.fixture
def ring(monkeypatch):
    """The process of a keyring on a bus of its own, which this process asks in place of none."""
    folder = Path(tempfile.mkdtemp(prefix="ring"))  # short: sockets lie in it
    for name in ("home", "run"):
        (folder / name).mkdir(mode=0o700)
    session = {"PATH": os.environ["PATH"], "HOME": str(folder / "home"), "XDG_RUNTIME_DIR": str(folder / "run")}
    bus = subprocess.Popen(
        ["dbus-daemon", "--session", "--nofork", "--print-address=1"],
        env=session, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    session["DBUS_SESSION_BUS_ADDRESS"] = bus.stdout.readline().strip()
    subprocess.run(
        ["gnome-keyring-daemon", "--unlock", "--components=secrets", "--daemonize"],
        env=session, input="pw\n", text=True, check=True, capture_output=True, timeout=PATIENCE,
    )  # fmt: skip
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", session["DBUS_SESSION_BUS_ADDRESS"])
    connections, connect = [], secretstorage.dbus_init

    def noted():
        connections.append(connect())  # the back end leaves it open where the keyring is locked
        return connections[-1]

    monkeypatch.setattr(secretstorage, "dbus_init", noted)
    before = keyring.get_keyring()
    keyring.set_keyring(Keyring())
    pid = until(daemon, "the keyring on the bus")
    yield pid
    keyring.set_keyring(before)
    os.kill(pid, signal.SIGCONT)
    os.kill(pid, signal.SIGTERM)
    bus.terminate()
    bus.wait()
    bus.stdout.close()
    for connection in connections:
        with suppress(OSError):
            connection.close()
    shutil.rmtree(folder, ignore_errors=True)


def ask(word):
    subprocess.run([sys.executable, "-m", "tests.helpers.keyring_session", word], check=True, timeout=PATIENCE)


def test_a_locked_keyring_is_said_a_slow_one_waited_for_and_neither_comes_back(monkeypatch, ring, elsewhere):
    def steps(made, said):
        program.wait(lambda: made.session.state is ConnectionState.READY, "the embedded service")
        other = made.session.stores.connections.add("Elsewhere", elsewhere.url)
        assert ApiKeyStore().store(other, elsewhere.key).location == "keyring"
        session, message = made.session, made.central_widget.status.message

        ask("lock")
        choose_in_connection_menu(made, "Elsewhere")
        program.wait(lambda: session.state is ConnectionState.REFUSED, "that there is no key")
        assert "The keyring is locked. Unlock it, then try again." in session.state_text
        ask("unlock")

        os.kill(ring, signal.SIGSTOP)  # as while its window asks for the password
        choose_in_connection_menu(made, "Elsewhere")
        program.wait(lambda: message.current() and message.current().topic == "keyring wait", "the wait")
        assert session.state is ConnectionState.STARTING
        answer(made, "Stop waiting")
        program.wait(lambda: session.state is ConnectionState.REFUSED, "the end of the wait")
        assert "The keyring does not answer" in session.state_text
        assert message.current() is None or message.current().topic != "keyring wait"

        choose_in_connection_menu(made, "Elsewhere")
        program.wait(lambda: message.current() and message.current().topic == "keyring wait", "the wait again")
        program.press(message._close)
        program.wait(lambda: not message.current() or message.current().topic != "keyring wait", "its sentence gone")
        choose_in_connection_menu(made, "Elsewhere")  # what says how to stop it comes back
        program.wait(lambda: message.current() and message.current().topic == "keyring wait", "the wait once more")
        os.kill(ring, signal.SIGCONT)
        listed(made, 3)
        assert session.state is ConnectionState.READY
        assert made.central_widget.toolbar.connection.mark == ""
        heard = len(said)
        session.refresh()
        program.wait(lambda: not session.open_set.loading, "the listing")
        for _ in range(50):
            program.turn()
        assert message.current() is None or "keyring" not in message.current().text
        assert not [one for one in said[heard:] if "keyring" in one]

    run(monkeypatch, steps)
