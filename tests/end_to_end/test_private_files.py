"""Nobody else on the machine reads what the program keeps; what it writes for the user is as the user's own files are."""

from PySide6.QtWidgets import QPushButton

from apitorch_desktop.utils.paths import cache_folder, desktop_folder, service_folder
from tests.helpers import app_runner


def button(made, text):
    return next((one for one in made.central_widget.empty.findChildren(QPushButton) if one.text() == text), None)


def open_to_others(folder):
    paths = [folder, *folder.rglob("*")]
    return [path for path in paths if path.exists() and path.lstat().st_mode & 0o077 and not path.is_socket()]


def test_every_file_of_the_program_is_its_owners_alone(home, monkeypatch):
    left = desktop_folder() / "trash" / "left by an earlier version"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"a photo")
    for path in (home, desktop_folder(), left.parent):
        path.chmod(0o755)
    left.chmod(0o644)

    def steps(made):
        app_runner.wait(lambda: made.session.connected, "the service")
        app_runner.wait(made.central_widget.empty.isVisible, "the welcome")
        app_runner.press(lambda: button(made, "Open the sample"))
        app_runner.wait(lambda: made.model.total > 20, "the sample")
        for folder in (desktop_folder(), cache_folder(), service_folder()):
            assert not open_to_others(folder)

    assert app_runner.run(monkeypatch, steps) == 0
    assert home.stat().st_mode & 0o777 == 0o700
    for folder in (desktop_folder(), cache_folder(), service_folder()):
        assert not open_to_others(folder)
