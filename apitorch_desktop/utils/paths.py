"""Folders of the program's resources and of the user's data.

`APITORCH_DESKTOP_HOME` puts data, cache and settings under one folder of choice (a USB stick, a test).
"""

import os
from functools import cache
from pathlib import Path

HOME_VARIABLE = "APITORCH_DESKTOP_HOME"
_APP = "apitorch-desktop"


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
