"""A service that has just come up: what it had learned answers the first question, whatever ended the run before."""

import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from apitorch_desktop.api.client import ApiClient
from apitorch_desktop.api.errors import ApiError
from tests.helpers.service_process import serving
from tests.helpers.waiting import until

STARTS = 4
AT_ONCE = 6


@pytest.fixture(scope="module")
def paths(photos):
    return [path for label in ("dress", "hat") for path in sorted((photos / "train" / label).iterdir())[:6]]


@pytest.fixture(scope="module")
def trained(paths, tmp_path_factory):
    """A data folder with the training set “Clothes”, learned, and with another that is filled."""
    folder = tmp_path_factory.mktemp("trained")
    with serving(folder) as served:
        client = ApiClient(served.url, served.key)
        clothes = client.create_training_set("Clothes")
        client.create_training_set("Others")
        for path in paths:
            client.upload_image(clothes.id, path.parent.name, path=path)
        until(lambda: client.classifier("clothes").status == "ready")
        client.close()
    return folder


def fill(client, paths, stop):
    """Upload to the other training set and delete again, until told to stop or the service is gone."""
    [others] = [one for one in client.training_sets() if one.name == "Others"]
    with suppress(ApiError):
        while not stop.is_set():
            for path in paths:
                client.delete_image(client.upload_image(others.id, path.parent.name, path=path).id)


@pytest.mark.parametrize("end", [signal.SIGTERM, getattr(signal, "SIGKILL", signal.SIGTERM)])
def test_many_ask_at_once_as_soon_as_it_takes_connections(trained, paths, end):
    for _ in range(STARTS):
        with serving(trained) as served:
            client, stop = ApiClient(served.url, served.key, attempts=1), threading.Event()
            with ThreadPoolExecutor(AT_ONCE + 1) as pool:
                asked = [pool.submit(client.classify, ["clothes"], path=paths[0]) for _ in range(AT_ONCE)]
                filling = pool.submit(fill, client, paths, stop)
                try:
                    assert {one.result()[0].label for one in asked} == {"dress"}
                    assert "clothes" in {one.slug for one in client.classifiers()}
                    assert client.classifier("clothes").version == 1
                    served.end(end)
                finally:
                    stop.set()
                filling.result()
            client.close()
