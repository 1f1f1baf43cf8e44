"""Midnight (UTC) passes at a real service while the window is open, and in the middle of a download."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
import requests

from apitorch_desktop.api.client import ApiClient
from apitorch_desktop.dataset.transfers.downloads import Downloader
from tests.helpers import app_runner as program
from tests.helpers.documented_program import digests, listed, run, use
from tests.helpers.widget_driver import export, photos_in

KEY = "k" * 42
DAY = 24 * 3600
_CLOCKED = Path(__file__).parents[1] / "helpers" / "clock_shift.py"


class Service(SimpleNamespace):
    """A real one. Its clock can be put forward."""

    def put_forward(self, days):
        new = self.clock.with_suffix(".new")
        new.write_text(str(days * DAY))
        new.replace(self.clock)


@pytest.fixture
def service(tmp_path, photos):
    clock = tmp_path / "clock"
    clock.write_text("0")
    command = [sys.executable, str(_CLOCKED), str(clock), "serve", "--port", "0", "--data", str(tmp_path / "data")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | {"APITORCH_API_KEY": KEY})
    try:
        url = json.loads(process.stdout.readline())["url"]
        client = ApiClient(url, KEY)
        coats = client.create_training_set("Coats")
        paths = sorted(photos.glob("train/*/*.jpg"))[:200]
        for path in paths:
            client.upload_image(coats.id, path.parent.name, path=path)
        yield Service(url=url, key=KEY, clock=clock, client=client, number=coats.id, paths=paths)
        client.close()
    finally:
        process.terminate()
        process.wait(program.PATIENCE)
        process.stdout.close()


def test_the_window_stays_open_over_midnight_and_a_download_goes_on(monkeypatch, service, tmp_path):
    use(monkeypatch, service)
    out = tmp_path / "out"

    def steps(made, said):
        listed(made, len(service.paths))
        image = made.model.image(0)
        yesterday = image.url
        assert requests.get(yesterday, timeout=60).status_code == 200
        service.put_forward(1)
        assert requests.get(yesterday, timeout=60).status_code in {403, 404, 410}

        stores, connection = made.session.stores, made.session.connection
        stores.cache.forget_connection(connection.id)  # no thumbnail from before midnight is of help
        made.photos.loader.clear()
        visible = [made.model.image(row) for row in range(12)]
        program.wait(lambda: all(made.photos.loader.pixmap(one.image_id) is not None for one in visible), "thumbnails")
        made.photos.show_big(image)
        program.wait(lambda: made.photos.big.canvas._photo and made.photos.big.canvas._photo.fitted, "the photo")
        made.photos.close_big()

        moved, perform = [], Downloader.perform

        def at_midnight(self, *given):
            with lock:
                if not moved and len(there := photos_in(out)) >= 10:
                    service.put_forward(2)
                    moved.append(len(there))
            return perform(self, *given)

        lock = threading.Lock()
        monkeypatch.setattr(Downloader, "perform", at_midnight)
        export(made, "imagefolder", out)
        program.wait(
            lambda: made.transfers.statuses and made.transfers.statuses[0].state in ("done", "failed"),
            "the download",
        )
        assert made.transfers.statuses[0].state == "done"
        assert moved[0] < len(service.paths), "midnight came too late"
        assert not [one for one in said if "run out" in one or "403" in one]

    run(monkeypatch, steps)
    assert digests(out.rglob("*.jpg")) == digests(service.paths)


def test_thumbnails_still_come_in_their_hundreds_after_midnight(monkeypatch, service):
    """All addresses run out at once: they are fetched anew a few times, not once a photo."""
    use(monkeypatch, service)

    def steps(made, _said):
        listed(made, len(service.paths))
        service.put_forward(1)
        made.session.stores.cache.forget_connection(made.session.connection.id)
        made.photos.loader.clear()
        workspace, calls = made.session.workspace, []
        page = workspace.client.image_page
        monkeypatch.setattr(workspace.client, "image_page", lambda *a, **k: (calls.append(1), page(*a, **k))[1])
        made.photos.grid.set_cell_size(64)
        pictures_shown_by_scrolling(made)
        labels = [label for label, count in made.model.counts.items() if count]
        assert len(calls) <= 2 * len(labels)  # a page brings a label's from a photo on: two threads may begin with two

    def pictures_shown_by_scrolling(made):
        for row in range(0, made.model.shown, 20):
            made.photos.grid.scrollTo(made.model.index(row, 0))
            image_id = made.model.image(row).image_id
            program.wait(lambda image_id=image_id: made.photos.loader.pixmap(image_id) is not None, f"photo {row}")

    run(monkeypatch, steps)
