"""What a browser gets: pages that need nothing from elsewhere, whose links lead somewhere, also when something is wrong."""

import html
import re
from pathlib import Path

import pytest
import requests

BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "Sec-Fetch-Mode": "navigate"}


def look(url: str) -> requests.Response:
    return requests.get(url, headers=BROWSER, timeout=60)


def links(page: requests.Response, attribute: str) -> list[str]:
    return [html.unescape(found) for found in re.findall(rf'{attribute}="([^"]*)"', page.text)]


@pytest.fixture
def clothes(service, picture):
    """A training set with a name that would be HTML; one label with three images, one with none."""
    made = service.call(
        "POST", "training-sets", json={"name": "<i>Hats</i> & more", "description": "“Two” <b>labels</b>"}
    )
    for seed in range(3):
        service.upload(made.json()["id"], "hat", picture(seed), f"<img src=x>{seed}.jpg")
    service.call("POST", f"training-set/{made.json()['id']}/labels", json={"label": "none_yet"})
    return made.json()


def test_a_training_set_page_shows_its_labels_and_images_and_every_link_on_it_opens(clothes):
    page = look(clothes["url"])
    assert page.status_code == 200
    assert "<h1>&lt;i&gt;Hats&lt;/i&gt; &amp; more</h1>" in page.text
    assert "<img src=x" not in page.text
    assert "<b>labels" not in page.text
    pictures = links(page, "src")
    assert len(pictures) == 3
    for url in {*pictures, *links(page, "href")}:
        assert requests.get(url, timeout=60).status_code == 200, url
    assert "There are no images here yet." in look(f"{clothes['url']}&label=none_yet").text


def test_a_photo_that_browsers_do_not_show_is_on_its_page_as_its_thumbnail(service):
    made = service.call("POST", "training-sets", json={"name": "Phone"}).json()
    heic = (Path(__file__).parents[2] / "data" / "heif" / "scene.heic").read_bytes()
    url = service.upload(made["id"], "hat", heic, "IMG_1.HEIC").json()["url"]
    plain = requests.get(url, timeout=60)
    assert (plain.content, plain.headers["content-type"]) == (heic, "image/heic")
    (shown,) = links(look(url), "src")
    assert requests.get(shown, timeout=60).headers["content-type"] == "image/jpeg"


def test_the_rest_of_a_long_training_set_is_behind_a_link(service, picture):
    made = service.call("POST", "training-sets", json={"name": "Long"}).json()
    for seed in range(201):
        service.upload(made["id"], "many", picture(1000 + seed, (9, 9)))
    page = look(made["url"])
    assert len(links(page, "src")) == 200
    (onward,) = (url for url in links(page, "href") if "after=" in url)
    assert len(links(look(onward), "src")) == 1
    assert "More images" not in look(onward).text


def test_an_image_in_a_browser_has_a_page_with_what_is_known_of_it(service, clothes):
    listed = service.call("GET", f"training-set/{clothes['id']}/images?label=hat").json()["data"][0]["images"][0]
    page = look(listed["url"])
    assert page.headers["content-type"].startswith("text/html")
    assert listed["id"] in page.text
    assert links(page, "src") == [listed["url"]]
    assert requests.get(listed["url"], timeout=60).headers["content-type"] == "image/jpeg"


@pytest.mark.parametrize("spoil", [lambda url: url[:-3], lambda url: url.replace("day=20", "day=19")])
def test_a_link_that_does_not_hold_is_a_page_for_a_browser_and_json_for_a_program(service, clothes, spoil):
    listed = service.call("GET", f"training-set/{clothes['id']}/images?label=hat").json()["data"][0]["images"][0]
    for url in (clothes["url"], listed["url"]):
        page = look(spoil(url))
        assert page.status_code == 403
        assert page.headers["content-type"].startswith("text/html")
        assert "links last for a day" in page.text
        assert "Hats" not in page.text
        program = requests.get(spoil(url), timeout=60)
        assert (program.status_code, program.json()["type"]) == (403, "forbidden")


def test_the_api_answers_json_also_to_a_browser(service):
    assert look(service.url + "nothing").json()["object"] == "error"
    assert look(service.url + "training-sets").json()["object"] == "error"


def test_no_page_takes_anything_from_elsewhere(service, clothes):
    listed = service.call("GET", f"training-set/{clothes['id']}/images?label=hat").json()["data"][0]["images"][0]
    for url in (service.url + "docs", clothes["url"], listed["url"], clothes["url"][:-3]):
        page = look(url)
        assert page.headers["content-security-policy"].startswith(
            "default-src 'none'; img-src 'self'; style-src 'sha256-"
        )
        outside = [
            link for link in links(page, "src") + links(page, "href") if not link.startswith((service.origin, "/", "#"))
        ]
        assert outside == []
        assert "<script" not in page.text
        assert " style=" not in page.text, "the policy would drop it"


def test_the_reference_says_what_every_call_takes_and_its_links_lead_to_objects_that_are_there(service):
    page = look(service.url + "docs")
    described = requests.get(service.url + "openapi.json", timeout=60).json()
    ids = set(links(page, "id"))
    assert {link[1:] for link in links(page, "href") if link.startswith("#")} <= ids
    assert ids >= set(described["components"]["schemas"])
    for path, methods in described["paths"].items():
        assert f"<code>{path}</code>" in page.text
        for operation in methods.values():
            section = page.text.partition(f'<section id="{operation["operationId"]}">')[2].partition("</section>")[0]
            for parameter in operation.get("parameters", []):
                assert f"<code>{parameter['name']}</code>" in section
            if operation.get("requestBody", {}).get("required"):
                form = operation["requestBody"]["content"]["multipart/form-data"]["schema"]
                assert all(f"<code>{name}</code>" in section for name in form["properties"])
