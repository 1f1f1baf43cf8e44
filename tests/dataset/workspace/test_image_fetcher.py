"""Images whose URLs expire or lead nowhere: renewed by a listing, also where both happen in turn."""

from types import SimpleNamespace

import pytest

from apitorch_desktop.api.errors import ConnectionFailed, NotFound
from apitorch_desktop.api.types import Id, TrainingImage
from apitorch_desktop.dataset.workspace.image_fetcher import ImageFetcher

CLIENT = SimpleNamespace(is_own=lambda _url: False)


def image(url: str) -> TrainingImage:
    return TrainingImage(filename=f"{1:040x}.jpg", url=url, label="cat")


def fetched(urls: list[str], failures: list[Exception]) -> tuple[str, int]:
    """Return what was read at last, and the number of listings: they give `urls`, one after the other."""
    listed: list[str] = []

    def relist(_set_id: Id) -> list[TrainingImage]:
        listed.append(urls[len(listed)])
        return [image(listed[-1])]

    def get(found: TrainingImage) -> str:
        if failures:
            raise failures.pop(0)
        return str(found.url)

    fetcher = ImageFetcher(relist, attempts=3)
    return fetcher.use(CLIENT, Id(1), image("https://there/a"), get), len(listed)


def test_an_address_that_expires_after_a_lost_connection_is_renewed_once_more():
    failures = [ConnectionFailed("It broke off."), NotFound("It has expired.")]
    assert fetched(["https://there/a", "https://there/b"], failures) == ("https://there/b", 2)


@pytest.mark.parametrize("error", [ConnectionFailed, NotFound])
def test_an_address_that_stays_the_same_and_fails_again_is_given_up(error):
    with pytest.raises(error):
        fetched(["https://there/a"], [error("No.") for _ in range(3)])
