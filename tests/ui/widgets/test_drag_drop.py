import socket
from pathlib import Path
from urllib.parse import quote

import pytest
from PySide6.QtCore import QMimeData, QUrl
from PySide6.QtGui import QImage

from apitorch_desktop.ui.widgets import drag_drop
from apitorch_desktop.ui.widgets.drag_drop import DroppedContent, DroppedImage

PNG = b"\x89PNG\r\n\x1a\n not decoded here"
JPEG = b"\xff\xd8\xff not decoded here"
PAGE, PHOTO = "https://shop.example/list?page=2", "https://cdn.example/photos/red%20dress.jpg?w=800"


def mime(*, urls=(), html="", text="", image=None, **data):
    made = QMimeData()
    if urls:
        made.setUrls([QUrl(url) for url in urls])
    if html:
        made.setHtml(html)
    if text:
        made.setText(text)
    if image is not None:
        made.setImageData(image)
    for kind, content in data.get("formats", {}).items():
        made.setData(kind, content)
    return made


def utf16(text):
    return text.encode("utf-16-le")


def test_files_and_folders_of_a_file_manager(tmp_path):
    odd = tmp_path / "naïve “name”\nwith #, % and 🦓.jpg"
    content = drag_drop.read(mime(urls=[QUrl.fromLocalFile(str(tmp_path)), QUrl.fromLocalFile(str(odd))]))
    assert content == DroppedContent(paths=(tmp_path, odd))


def test_nothing_is_looked_at_on_disk():
    content = drag_drop.read(mime(urls=["file:///nonexistent/far/away.jpg"]))
    assert content.paths == (Path("/nonexistent/far/away.jpg"),)


def test_training_images_of_this_program():
    content = drag_drop.read(mime(formats={drag_drop.IDS_TYPE: b'["ti_1", "ti_2"]'}, urls=["file:///tmp/a.jpg"]))
    assert content == DroppedContent(image_ids=("ti_1", "ti_2"))


@pytest.mark.parametrize("broken", [b"", b"{", b"[1, 2]", b'{"a": 1}', b"\xff\xfe"])
def test_broken_ids_are_nothing(broken):
    assert not drag_drop.read(mime(formats={drag_drop.IDS_TYPE: broken}))


def test_firefox_dragging_a_picture_that_is_a_link_means_the_picture():
    content = drag_drop.read(
        mime(
            urls=[PAGE],
            html=f'<a href="{PAGE}"><img alt="dress" src="{PHOTO}"></a>',
            text=PAGE,
            formats={
                "text/x-moz-url": utf16(f"{PAGE}\nshop"),
                "application/x-moz-file-promise-url": utf16(PHOTO),
                "application/x-moz-file-promise-dest-filename": utf16("red dress.jpg"),
            },
        )
    )
    assert content == DroppedContent(urls=(PHOTO,))


def test_chromium_dragging_a_picture_that_is_a_link_means_the_picture():
    content = drag_drop.read(
        mime(urls=[PAGE], html=f'<meta charset="utf-8"><a href="{PAGE}"><img src="{PHOTO}"/></a>', text=PAGE)
    )
    assert content == DroppedContent(urls=(PHOTO,))


def test_the_pictures_own_bytes_are_better_than_its_address_and_keep_its_name():
    content = drag_drop.read(
        mime(
            html=f'<img src="{PHOTO}">',
            formats={"image/png": PNG, "image/jpeg": JPEG, "application/x-moz-file-promise-url": utf16(PHOTO)},
        )
    )
    assert content == DroppedContent(images=(DroppedImage(JPEG, "red dress.jpg"),))


def test_a_picture_in_the_address_itself():
    data = "data:image/gif;base64,R0lGODlhAQABAAAAACw="
    content = drag_drop.read(mime(html=f'<img src="{data}">', text=data))
    assert content.images[0].data.startswith(b"GIF89a")
    assert drag_drop.read(mime(html='<img src="data:image/svg+xml,%3Csvg%3E">')).images[0].data == b"<svg>"


def test_several_pictures_of_a_page():
    html = f'<base href="https://a.example/x/"><img src="1.png"><img src="/2.png"><img src="{PHOTO}"><img src="1.png">'
    content = drag_drop.read(mime(html=html))
    assert content.urls == ("https://a.example/x/1.png", "https://a.example/2.png", PHOTO)


def test_a_plain_link_is_taken_as_it_is():
    assert drag_drop.read(mime(urls=[PHOTO], text=PHOTO)).urls == (PHOTO,)
    assert drag_drop.read(mime(formats={"text/x-moz-url": utf16(f"{PHOTO}\ndress")})).urls == (PHOTO,)


def test_urls_pasted_as_text_one_a_line():
    assert drag_drop.read(mime(text=f"{PHOTO}\n\n  https://b.example/2.png \n")).urls == (
        PHOTO,
        "https://b.example/2.png",
    )


@pytest.mark.parametrize(
    "text",
    ["just words", f"see {PHOTO}", f"{PHOTO}\nand words", "http://", "javascript:alert(1)", "http://[::1"],
)
def test_other_text_is_nothing(text):
    assert not drag_drop.read(mime(text=text))


@pytest.mark.parametrize(
    "address",
    ["ftp://a/b", "smb://server/share/a.jpg", "sftp://host/a.jpg", "mtp://phone/a.jpg", "file://elsewhere/a.jpg"],
)
def test_addresses_that_cannot_be_opened_have_a_sentence(address):
    for given in (mime(urls=[address]), mime(text=address)):
        content = drag_drop.read(given)
        assert content.unusable == (address,) and not content.paths and not content.urls
        assert content.problem.startswith(f"“{address}” cannot be opened")


def test_files_of_this_machine_are_files_whatever_their_address_looks_like(tmp_path):
    path = tmp_path / "a b.jpg"
    for host in ("", "localhost", socket.gethostname()):
        assert drag_drop.read(mime(text=f"file://{host}{quote(str(path))}")).paths == (path,)


@pytest.mark.parametrize("url", ["mailto:a@b.example", "about:blank", "blob:https://a/1"])
def test_other_addresses_are_nothing(url):
    assert not drag_drop.read(mime(urls=[url]))


def test_a_screenshot_from_the_clipboard():
    assert drag_drop.read(mime(formats={"image/png": PNG})).images == (DroppedImage(PNG, ""),)


def test_an_image_copied_in_this_program_becomes_a_file():
    image = QImage(8, 6, QImage.Format.Format_RGB32)
    image.fill(0xFFAA5500)
    (picture,) = drag_drop.read(mime(image=image)).images
    again = QImage.fromData(picture.data)
    assert (again.size().toTuple(), again.pixelColor(3, 3).name()) == ((8, 6), "#aa5500")


def test_text_of_an_office_program_that_comes_with_its_picture_is_no_photo():
    assert not drag_drop.read(mime(text="Total 12", html="<td>Total</td><td>12</td>", formats={"image/png": PNG}))


def test_what_may_be_of_use_is_told_by_formats_alone():
    assert drag_drop.accepts(mime(urls=["file:///a"]))
    assert drag_drop.accepts(mime(formats={drag_drop.IDS_TYPE: b"[]"}))
    assert drag_drop.accepts(mime(formats={"image/webp": b""}))
    assert not drag_drop.accepts(mime(formats={"application/x-color": b"12345678"}))
