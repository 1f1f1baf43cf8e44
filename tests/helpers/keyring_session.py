"""A program of its own in a session of its own: asks the keyring as the arguments say, and prints a line of JSON each.

store, find, remove: through `ApiKeyStore`, each time one that remembers nothing. lock: as the session does when it is locked.
unlock: as its log-in does. mute: be a Secret Service that never answers, until killed.
hold=SECONDS: the service does not answer for so long. await=SECONDS: find with a wait that is stopped after so long.
"""

import json
import os
import signal
import sys
import threading
import time

from apitorch_desktop.dataset.connections.api_keys import ApiKeyStore, KeyringWait
from apitorch_desktop.dataset.connections.store import Connection

CONNECTION = Connection("c1", "Hosted", "https://www.apitorch.com/api/")


def lock() -> None:
    import secretstorage

    bus = secretstorage.dbus_init()
    collection = secretstorage.get_default_collection(bus)
    collection.lock()
    assert collection.is_locked()
    bus.close()


def unlock() -> None:
    import secretstorage
    from secretstorage.util import DBusAddressWrapper, format_secret, open_session

    bus = secretstorage.dbus_init()
    collection = secretstorage.get_default_collection(bus)
    service = "org.gnome.keyring.InternalUnsupportedGuiltRiddenInterface"  # what the session's log-in calls
    secret = format_secret(open_session(bus), b"pw\n", "text/plain")
    call = DBusAddressWrapper("/org/freedesktop/secrets", service, bus).call
    call("UnlockWithMasterPassword", "o(oayays)", collection.collection_path, secret)
    assert not collection.is_locked()
    bus.close()


def mute() -> None:
    from jeepney.bus_messages import message_bus
    from jeepney.io.blocking import open_dbus_connection

    bus = open_dbus_connection("SESSION")
    bus.send_and_get_reply(message_bus.RequestName("org.freedesktop.secrets"))
    print("mute", flush=True)
    while True:
        bus.receive()


def daemon() -> int:
    """The process of the session's keyring, 0 if there is none yet."""
    from jeepney.bus_messages import message_bus
    from jeepney.io.blocking import open_dbus_connection

    with open_dbus_connection("SESSION") as bus:
        if not bus.send_and_get_reply(message_bus.NameHasOwner("org.freedesktop.secrets")).body[0]:
            return 0
        [pid] = bus.send_and_get_reply(message_bus.GetConnectionUnixProcessID("org.freedesktop.secrets")).body
    return int(pid)


def hold(seconds: float) -> None:
    pid = daemon()
    os.kill(pid, signal.SIGSTOP)
    threading.Timer(seconds, os.kill, (pid, signal.SIGCONT)).start()


def wait(seconds: float) -> KeyringWait:
    end = time.monotonic() + seconds
    return KeyringWait(lambda: time.monotonic() > end, lambda: print(json.dumps({"slow": True}), flush=True))


def main() -> None:
    for word in sys.argv[1:]:
        if word.startswith("hold="):
            hold(float(word[5:]))
            continue
        if word.startswith("await="):
            begun = time.monotonic()
            found = ApiKeyStore().find(CONNECTION, wait(float(word[6:])))
            told = {"key": found.key, "trouble": found.problem, "seconds": time.monotonic() - begun}
            print(json.dumps(told), flush=True)
            continue
        if word in ("lock", "unlock", "mute"):
            globals()[word]()
            continue
        verb, _, key = word.partition("=")
        keys, begun = ApiKeyStore(), time.monotonic()
        found = getattr(keys, verb)(CONNECTION, *([key] if key else []))
        told = {"key": found.key, "kept": found.location, "trouble": found.problem, "message": found.message}
        print(json.dumps(told | {"seconds": time.monotonic() - begun}), flush=True)


if __name__ == "__main__":
    main()
