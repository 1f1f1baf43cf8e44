"""Where things are on this machine: the program's resources, and the person's data.

`APITORCH_DESKTOP_HOME` puts data, cache and settings under one folder of choice (a USB stick, a test).
"""

import os
from functools import cache
from pathlib import Path

HOME_VARIABLE = "APITORCH_DESKTOP_HOME"
_APP = "apitorch-desktop"


@cache
def resources() -> Path:
    """The folder `resources`: inside the installed package, or at the top of a checkout."""
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
    """The embedded service's data folder: rows and images. Not created here."""
    return _root("service")


def desktop_folder() -> Path:
    """The window's own state: connections, journals, trash. Not created here."""
    return _root("desktop")


def cache_folder() -> Path:
    """What can be fetched or computed again: thumbnails. Not created here."""
    return _root("cache")
