"""Extension of Nautilus (by nautilus-python): photos and folders are classified, or added to a training set."""

import subprocess
from urllib.parse import unquote

from gi.repository import GObject, Nautilus

COMMAND = "apitorch-desktop"
ACTIONS = (("Classify with API Torch", ["--classify"]), ("Add to a training set…", []))


class ApiTorchDesktopActions(GObject.GObject, Nautilus.MenuProvider):
    """Two entries in the menu of photos and folders."""

    def get_file_items(self, *arguments: list[Nautilus.FileInfo]) -> list[Nautilus.MenuItem]:
        """Return the entries; `arguments` end with the selected files (a window comes before them up to Nautilus 42)."""
        files = arguments[-1]
        uris = [file.get_uri() for file in files]
        kinds = all(file.is_directory() or file.get_mime_type().startswith("image/") for file in files)
        if not files or not kinds or not all(uri.startswith("file://") for uri in uris):
            return []
        paths = [unquote(uri.removeprefix("file://"), errors="surrogateescape") for uri in uris]
        items = []
        for number, (label, words) in enumerate(ACTIONS):
            item = Nautilus.MenuItem(name=f"ApiTorchDesktop::{number}", label=label, icon="apitorch-desktop")
            item.connect("activate", lambda _item, command: subprocess.Popen(command), [COMMAND, *words, *paths])
            items.append(item)
        return items
