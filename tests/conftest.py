"""What every test stands on: a screen of its own, a home of its own, no keyring and no key of the person's."""

import gc
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

_PHOTOS = Path(__file__).parents[2] / "shared" / "data" / "clothing"
_GARBAGE = 20_000
"""Objects made and not yet dropped from which on it is worth to look for cycles: a tenth of a second."""
_screen: subprocess.Popen[bytes] | None = None
_DRIVERS = {f"tests.helpers.{name}" for name in ("app_runner", "grid_driver", "widget_driver", "x11_pointer")}
"""Helpers that send events through an X server."""
collect_ignore_glob = [] if sys.platform == "linux" else ["end_to_end/*", "fault_injection/*"]
"""What drives the real window by an X server, or ends processes as only Unix does."""


def pytest_configure(config: pytest.Config) -> None:
    """Start an X server of the tests' own, so that real pointer events reach real windows and nothing flickers by."""
    global _screen
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # started in the background: what we start would inherit it
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if sys.platform != "win32":
        import resource

        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the same below `nohup`, where commands go on without a terminal
        resource.setrlimit(
            resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1])
        )  # some children crash
    for name in ("APITORCH_API_KEY", "APITORCH_BASE_URL", "WAYLAND_DISPLAY"):
        os.environ.pop(name, None)
    os.environ["PYTHON_KEYRING_BACKEND"] = "keyring.backends.fail.Keyring"
    if not shutil.which("Xvfb") or sys.platform != "linux":
        if os.environ.get("CI") and sys.platform == "linux":
            raise pytest.UsageError("Xvfb is missing: the window's tests need a real X server")
        os.environ["QT_QPA_PLATFORM"] = "offscreen"
        return
    os.environ["QT_QPA_PLATFORM"] = "xcb"
    reader, writer = os.pipe()
    _screen = subprocess.Popen(
        ["Xvfb", "-displayfd", str(writer), "-screen", "0", "1600x1000x24", "-nolisten", "tcp", "-noreset"],
        pass_fds=[writer],
        stderr=subprocess.DEVNULL,
    )
    os.close(writer)
    with os.fdopen(reader) as line:
        os.environ["DISPLAY"] = ":" + line.readline().strip()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave out, where there is no X server, the tests that need one."""
    if _screen is not None:
        return
    skip = pytest.mark.skip(reason="needs an X server: Xvfb and xdotool, on Linux")
    for item in items:
        used = list(vars(item.module).values()) if isinstance(item, pytest.Function) else []
        names = {getattr(value, "__name__", "") for value in used} | {
            getattr(value, "__module__", "") for value in used
        }
        if names & _DRIVERS:
            item.add_marker(skip)


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """From here on garbage is collected between tests, on the main thread: see `pytest_runtest_teardown`."""
    gc.collect()
    gc.freeze()
    gc.disable()


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown() -> None:
    """Collect what a test left.

    Python would do it wherever an allocation happens to be one too many, on a thread of a server or of the test runner
    as well; a widget or timer in a cycle, destroyed there, takes the process with it at the next turn of the event loop.
    """
    if gc.get_count()[0] >= _GARBAGE:
        gc.collect()
        gc.freeze()


def pytest_unconfigure(config: pytest.Config) -> None:
    """End the X server."""
    if _screen:
        _screen.terminate()
        _screen.wait()


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder of the test's own."""
    folder = tmp_path / "home"
    monkeypatch.setenv("APITORCH_DESKTOP_HOME", str(folder))
    return folder


def _has_real_photos() -> bool:
    return _PHOTOS.is_dir() and "MADE_PHOTOS" not in os.environ


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photos: `train/<label>/*.jpg` and `test/<label>/*.jpg`; real ones where they are at hand, else made ones."""
    if _has_real_photos():
        return _PHOTOS
    from tests.helpers.photos import make

    return make(tmp_path_factory.mktemp("made_photos"))


@pytest.fixture(scope="session")
def real_photos() -> Path:
    """The real ones, for figures that hold for them only; skips where they are not beside this checkout."""
    if not _has_real_photos():
        pytest.skip("the clothing photos are not beside this checkout")
    return _PHOTOS
