"""Stands where a desktop's file manager would: `dbus-run-session -- python file_manager.py` owns its name on a bus.

Prints the bus's address once it is there, then for each call of `ShowItems` the addresses it was given, as JSON.
"""

import json
import os
import sys

from PySide6.QtCore import ClassInfo, QCoreApplication, QObject, Slot
from PySide6.QtDBus import QDBusConnection

NAME = "org.freedesktop.FileManager1"


@ClassInfo({"D-Bus Interface": NAME})
class FileManager(QObject):
    @Slot("QStringList", str)
    def ShowItems(self, uris, startup_id):  # noqa: N802 - D-Bus's name
        print(json.dumps(list(uris)), flush=True)


app = QCoreApplication(sys.argv)
bus = QDBusConnection.sessionBus()
manager = FileManager()
assert bus.registerObject("/org/freedesktop/FileManager1", manager, QDBusConnection.RegisterOption.ExportAllSlots)
assert bus.registerService(NAME)
print(os.environ["DBUS_SESSION_BUS_ADDRESS"], flush=True)
sys.exit(app.exec())
