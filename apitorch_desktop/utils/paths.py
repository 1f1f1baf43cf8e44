"""Folders of the program's resources and of the user's data.

`APITORCH_DESKTOP_HOME` puts data, cache and settings under one folder of choice (a USB stick, a test).
"""

import os
import stat
from contextlib import suppress
from functools import cache
from pathlib import Path

HOME_VARIABLE = "APITORCH_DESKTOP_HOME"
_APP = "apitorch-desktop"
_KINDS = frozenset({"cache", "desktop", "service"})


@cache
def resources() -> Path:
    """Return the folder `resources`: inside the installed package, or at the top of a checkout."""
    package = Path(__file__).parents[1]
    installed = package / "resources"
    return installed if installed.is_dir() else package.parent / "resources"


def _root(kind: str) -> Path:
    home = os.environ.get(HOME_VARIABLE)
    if home:
        return Path(home) / kind
    import platformdirs  # 10 ms, and only needed where no home is named

    if kind == "cache":
        return platformdirs.user_cache_path(_APP, appauthor=False)
    return platformdirs.user_data_path(_APP, appauthor=False) / kind


def service_folder() -> Path:
    """Return the data folder of the embedded service; it is not created here."""
    return _root("service")


def desktop_folder() -> Path:
    """Return the folder of connections, journals and trash; it is not created here."""
    return _root("desktop")


def cache_folder() -> Path:
    """Return the folder of thumbnails and other data that can be restored; it is not created here."""
    return _root("cache")


def private(folder: Path) -> Path:
    """Create the desktop's or the service's folder for its owner alone, and the program's own around it; return it.

    Existing ones are closed to others, the one around it only where the program alone keeps something there. What cannot
    be done is left to those that use the folder.
    """
    with suppress(OSError):
        folder.parent.parent.mkdir(parents=True, exist_ok=True)
        for place in (folder.parent, folder):
            place.mkdir(exist_ok=True, mode=0o700)
            found = place.stat()
            own = place == folder or {path.name for path in place.iterdir()} <= _KINDS
            if own and found.st_mode & 0o077 and os.name == "posix" and found.st_uid == os.geteuid():
                place.chmod(stat.S_IMODE(found.st_mode) & 0o700)
    return folder
