"""The service against its peers, A and B in turn: uploads, ping, a long listing, a classification.

    python tests/benchmarks/bench_service.py [ROUNDS]

1,000 uploads of 100 kB by `curl --parallel`, and ping, against a bare ASGI app on the same server that only writes what it
is sent, and syncs it; a listing of 100,000 images, in MessagePack as the window asks for it and in JSON, against the bare
SELECT; a classification against the encoder alone. Prints the medians and the median of the ratios round by round. For the
uploads also what the service still does while it learns beside them.
Photos are those of ../shared/data/clothing, padded to 100 kB behind their end.
"""

import base64
import os
import random
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.helpers.service_process import Service, serving
from tests.helpers.sparse_images import store_sparse

PHOTOS = Path(__file__).parents[3] / "shared" / "data" / "clothing"
UPLOADS = 1000
SIZE = 100_000
LISTED = 100_000

_BARE = """
import itertools, os, sys, uvicorn
from pathlib import Path
folder, numbers = Path(sys.argv[1]), itertools.count()

async def app(scope, receive, send):
    chunks, more = [], True
    while more:
        message = await receive()
        chunks.append(message["body"])
        more = message["more_body"]
    if scope["method"] == "POST":
        with open(folder / str(next(numbers)), "wb") as file:
            file.writelines(chunks)
            file.flush()
            os.fsync(file.fileno())
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json"),
        (b"content-length", b"35")]})
    await send({"type": "http.response.body", "body": b'{"object": "ping", "message": "ok"}'})

class Server(uvicorn.Server):
    async def startup(self, sockets=None):
        await super().startup(sockets)
        print(self.servers[0].sockets[0].getsockname()[1], flush=True)

Server(uvicorn.Config(app, port=0, http="h11", ws="none", lifespan="off", log_config=None, access_log=False)).run()
"""


@contextmanager
def bare(folder: Path) -> Iterator[str]:
    """The peer's URL."""
    folder.mkdir()
    process = subprocess.Popen([sys.executable, "-c", _BARE, str(folder)], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    try:
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}/"
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()


def seconds(job: Callable[[], object]) -> float:
    """How long it takes."""
    start = time.perf_counter()
    job()
    return time.perf_counter() - start


def report(what: str, pairs: list[tuple[float, float]]) -> None:
    """Print the medians of (peer, ours) in ms, and the median ratio."""
    peer, ours = (statistics.median(column) * 1000 for column in zip(*pairs, strict=True))
    ratio = statistics.median(b / a for a, b in pairs)
    print(
        f"{what}: peer {peer:,.2f} ms, ours {ours:,.2f} ms, ratio {ratio:.2f} (median of {len(pairs)} pairs)",
        flush=True,
    )


def files_of_100_kb(folder: Path) -> list[Path]:
    """Photos, each another image by the bytes behind its end."""
    sources = [path.read_bytes() for path in sorted((PHOTOS / "train").glob("*/*.jpg"))]
    folder.mkdir()
    for number in range(UPLOADS):
        data = sources[number % len(sources)] + random.Random(number).randbytes(SIZE)
        (folder / f"{number}.jpg").write_bytes(data[:SIZE])
    return sorted(folder.iterdir())


def upload_all(files: list[Path], url: str, key: str, config: Path) -> None:
    """All files by curl, fifty at a time."""
    entries = [
        f'url = "{url}"\nform = "image=@{path}"\nuser = "{key}:"\noutput = "/dev/null"\nfail\n' for path in files
    ]
    config.write_text("next\n".join(entries))
    command = [
        "curl",
        "--parallel",
        "--parallel-immediate",
        "--parallel-max",
        "50",
        "--no-progress-meter",
        "-K",
        config,
    ]
    subprocess.run(command, check=True)


def uploads(work: Path, rounds: int) -> None:
    """The same bodies to the service and to the bare app; and again while the service learns from them."""
    files = files_of_100_kb(work / "photos")
    config = work / "curl.txt"
    for what, limits in (("", {}), (", while it learns from them", None)):
        pairs = []
        name = "learning" if limits is None else "plain"
        with serving(work / f"data-{name}", limits=limits) as service, bare(work / f"bare-{name}") as url:
            for number in range(rounds):
                set_id = service.new_set(f"Round {number}")
                target = f"{service.url}training-set/{set_id}/a/image"
                peer = seconds(lambda: upload_all(files, url, "x" * 42, config))
                ours = seconds(lambda target=target: upload_all(files, target, service.key, config))
                assert service.call("GET", f"training-set/{set_id}/labels").json()["data"][0]["count"] == UPLOADS
                service.call("DELETE", f"training-set/{set_id}")
                pairs.append((peer, ours))
        report(f"{UPLOADS} uploads of 100 kB{what}", pairs)


class Pinger:
    """One connection that is kept, and no more of a client than it takes."""

    def __init__(self, url: str, key: str) -> None:
        parts = urlsplit(url)
        self._connection = socket.create_connection((parts.hostname, parts.port))
        basic = base64.b64encode(f"{key}:".encode()).decode()
        head = f"GET {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nAuthorization: Basic {basic}\r\n\r\n"
        self._request = head.encode()

    def __call__(self) -> None:
        for _ in range(200):
            self._connection.sendall(self._request)
            answer = b""
            while not answer.endswith(b"}"):
                answer += self._connection.recv(65536)
            assert answer.startswith(b"HTTP/1.1 200")

    def close(self) -> None:
        self._connection.close()


def ping(work: Path, rounds: int) -> None:
    """One after another on a connection that is kept."""
    with (
        serving(work / "ping") as service,
        bare(work / "bare-ping") as url,
        closing(Pinger(service.url + "ping", service.key)) as ours,
        closing(Pinger(url, service.key)) as peer,
    ):
        peer(), ours()
        report("ping", [(seconds(peer) / 200, seconds(ours) / 200) for _ in range(4 * rounds)])


def fill(folder: Path, set_id: int) -> None:
    """Rows and files of 100,000 images under ten labels."""
    with closing(sqlite3.connect(folder / "store.db")) as database, database:
        labels = [row[0] for row in database.execute("SELECT seq FROM labels WHERE training_set_id = ?", (set_id,))]
        for number, sha256 in enumerate(store_sparse(folder, LISTED, SIZE)):
            facts = (SIZE, 400, 533, ".jpg")
            database.execute(
                "INSERT INTO blobs (sha256, bytes, width, height, extension) VALUES (?, ?, ?, ?, ?)", (sha256, *facts)
            )
            database.execute(
                "INSERT INTO images (id, training_set_id, label_seq, sha256, bytes, width, height, extension, "
                "original_filename, created_at, split) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, '2026-05-01T12:00:00.000Z', '')",
                (sha256[:40], set_id, labels[number % len(labels)], sha256, *facts, f"IMG_{number}.jpg"),
            )


def listing(work: Path, rounds: int) -> None:
    """All images of a training set, over HTTP, against the rows alone."""
    folder = work / "listing"
    with serving(folder, limits={}) as service:
        set_id = service.new_set("Many")
        for number in range(10):
            service.call("POST", f"training-set/{set_id}/labels", json={"label": f"label {number}"})
    fill(folder, set_id)
    select = (
        "SELECT images.id, labels.name, sha256, extension, width, height, bytes, original_filename, created_at FROM images "
        "JOIN labels ON labels.seq = images.label_seq WHERE images.training_set_id = ? ORDER BY images.seq"
    )
    with serving(folder, limits={}) as service, closing(sqlite3.connect(folder / "store.db")) as database:

        def fetch(accept: str) -> bytes:
            return service.call("GET", f"training-set/{set_id}/images", headers={"Accept": accept}).content

        first_packed, first_json = fetch("application/msgpack"), fetch("application/json")
        assert first_packed.count(b".jpg") == 2 * LISTED  # extension and uploaded name
        assert first_json.count(b'"filename"') == LISTED

        def packed() -> None:  # counting again would be a tenth of the time
            assert len(fetch("application/msgpack")) == len(first_packed)

        def in_json() -> None:
            assert len(fetch("application/json")) == len(first_json)

        def peer() -> None:
            assert len(database.execute(select, (set_id,)).fetchall()) == LISTED

        peer()
        turns = [(seconds(peer), seconds(packed), seconds(in_json)) for _ in range(rounds)]
        report(f"listing of {LISTED:,} images", [(bare, ours) for bare, ours, _ in turns])
        report(f"in JSON, listing of {LISTED:,} images", [(bare, ours) for bare, _, ours in turns])

        def spent(job: Callable[[], None]) -> float:
            before = service.cpu_seconds() + time.process_time()
            job()
            return service.cpu_seconds() + time.process_time() - before

        report(
            "the same listing in MessagePack, processor time of both sides",
            [(spent(peer), spent(packed)) for _ in turns],
        )
        report("the same listing in JSON, processor time of both sides", [(spent(peer), spent(in_json)) for _ in turns])


class Asker:
    """One connection that is kept, and no more of a client than it takes: a photo to safe-for-work."""

    def __init__(self, service: Service) -> None:
        self._connection = socket.create_connection(("127.0.0.1", service.port))
        self._head = (
            f"POST /api/classify HTTP/1.1\r\nHost: 127.0.0.1:{service.port}\r\nAuthorization: {service.basic}\r\n"
            "Content-Type: multipart/form-data; boundary=b\r\nContent-Length: "
        )

    def __call__(self, data: bytes) -> None:
        body = (
            b'--b\r\nContent-Disposition: form-data; name="classifiers"\r\n\r\nsafe-for-work\r\n'
            b'--b\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n' + data + b"\r\n--b--\r\n"
        )
        self._connection.sendall(f"{self._head}{len(body)}\r\n\r\n".encode() + body)
        answer = b""
        while not answer.endswith(b"}]}"):
            answer += self._connection.recv(65536)
        assert answer.startswith(b"HTTP/1.1 200")

    def close(self) -> None:
        self._connection.close()


def cpu(process: int) -> float:
    """Seconds of processor time it has taken so far."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def classify(work: Path, rounds: int) -> None:
    """A photo over HTTP against opening it and the encoder, in this process: the time, and the processor's."""
    from apitorch_desktop.vision.encoder import Encoder
    from apitorch_desktop.vision.images import open_upright

    encoder = Encoder()
    photos = [path.read_bytes() for path in sorted((PHOTOS / "test").glob("*/*.jpg"))[:50]]
    with serving(work / "classify") as service, closing(Asker(service)) as ours:

        def peer(data: bytes) -> None:
            encoder.encode([open_upright(data, encoder.shorter_side)])

        for data in photos[:3]:
            peer(data), ours(data)
        pairs, taken = [], []
        for number in range(rounds):
            fresh = [data + bytes([number]) for data in photos]  # an image that is not kept yet
            pairs += [(seconds(lambda d=data: peer(d)), seconds(lambda d=data: ours(d))) for data in fresh]
            taken.append(
                tuple(used(job, who, photos) for job, who in ((peer, os.getpid()), (ours, service.process.pid)))
            )
        report("classification by safe-for-work", pairs)
        report("the same, processor time", taken)


def used(job: Callable[[bytes], None], process: int, photos: list[bytes]) -> float:
    """Seconds of a process's processor time for one photo."""
    before = cpu(process)
    for data in photos:
        job(data)
    return (cpu(process) - before) / len(photos)


def main(rounds: int = 5) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for number, measure in enumerate((ping, classify, listing, uploads)):
            work = Path(folder) / str(number)
            work.mkdir()
            measure(work, rounds)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
