"""Memory that clients can claim stays within what `config.Limits` states, in each of its parts."""

import contextlib
import io
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import requests
from PIL import Image

from apitorch_desktop.vision import images
from tests.helpers.waiting import until
from tests.service.http.test_hostile_clients import MIB, answer_to, assert_alive, connect, first_answer, head


@contextmanager
def watching(service):
    """`most[0]`: the most memory it had above what it has now."""
    before, most, done = service.memory(), [0], threading.Event()

    def watch():
        while not done.wait(0.005):
            most[0] = max(most[0], service.memory() - before)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield most
    finally:
        done.set()
        watcher.join()


def large(number: int, side: int = 7000) -> bytes:
    """A small file of 49 megapixels."""
    file = io.BytesIO()
    Image.new("L", (side, side), number).save(file, "PNG", compress_level=1)
    return file.getvalue()


def test_memory_stays_within_its_bound_under_many_large_uploads(start):
    """20 × 30 MiB at once, all incomplete until all are there, then all to be worked on."""
    service = start(limits={"body_memory": 16 * MIB, "workers": 2})
    set_id = service.new_set("Many")
    file = io.BytesIO()
    Image.new("RGB", (3200, 3200)).save(file, "BMP")
    image = file.getvalue()
    body = b'--x\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n' + image + b"\r\n--x--\r\n"
    top = head(
        service,
        path=f"/api/training-set/{set_id}/a/image",
        Content_Type="multipart/form-data; boundary=x",
        Content_Length=str(len(body)),
    )
    assert answer_to(service, top, body)[0] == 200  # what is loaded once is loaded

    def finish(connection):
        connection.sendall(body[-9:])
        return first_answer(connection)[0]

    connections = [connect(service) for _ in range(20)]
    try:
        with watching(service) as most, ThreadPoolExecutor(20) as pool:
            list(pool.map(lambda connection: connection.sendall(top + body[:-9]), connections))
            assert_alive(service)
            assert set(pool.map(finish, connections)) == {200}
    finally:
        for connection in connections:
            connection.close()
    working = 3 * 30 * MIB  # one is let beyond the 16 MiB, and may have a copy; one is learned from
    assert most[0] < 2 * 16 * MIB + working + 2 * 40 * MIB + 20 * 192 * 1024
    assert not list(service.folder.glob("tmp*"))


def test_no_more_images_are_decoded_at_a_time_than_there_are_workers(start):
    service = start(limits={"workers": 1})
    set_id = service.new_set("Large")
    service.upload(set_id, "a", large(100))
    files = [large(number) for number in range(10)]
    with watching(service) as most, ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda data: service.upload(set_id, "a", data), files))
    assert {answer.status_code for answer in answers} == {200}
    assert (
        40 * MIB < most[0] < images.MAX_PIXELS * 4 + 30 * MIB
    )  # one image is 47 MiB: nothing was seen, or ten of them


def test_answers_to_clients_that_do_not_read_are_held_for_a_few_at_a_time(start):
    bound = 24 * MIB
    service = start(limits={"answer_memory": bound, "grace": 3, "silence": 3})
    set_id = service.new_set("Unread")
    file = io.BytesIO()
    Image.effect_noise((2800, 2800), 50).save(file, "BMP")
    url = service.upload(set_id, "a", file.getvalue()).json()["url"]
    assert len(requests.get(url, timeout=60).content) > 7 * MIB
    request = head(service, "GET", url.removeprefix(service.origin))
    with contextlib.ExitStack() as stack, watching(service) as most:
        connections = [stack.enter_context(socket.socket()) for _ in range(40)]
        for connection in connections:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.settimeout(60)
            connection.connect(("127.0.0.1", service.port))
            connection.sendall(request)
        until(lambda: most[0] > 7 * MIB, "an answer")
        time.sleep(1.5)  # and no more than a few
        assert_alive(service)
        assert most[0] < bound + 40 * 192 * 1024 + 30 * MIB
    assert requests.get(url, timeout=60).status_code == 200
