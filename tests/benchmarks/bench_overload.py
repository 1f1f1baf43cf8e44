"""Two hundred clients at once against the encoder alone, A and B in turn: photos answered a second, and ping meanwhile.

    python tests/benchmarks/bench_overload.py [SECONDS]

Each client sends a photo to a trained classifier, and again as soon as it is answered; on a 429 or 503 it waits as long as
`Retry-After` says. The peer opens and encodes the same photos, by the same encoder, in as many threads as the service has, in
a process of its own, without a client. Limits: ping's 99th percentile 150 ms; answers within 10 % of the encoder's.
"""

import asyncio
import base64
import multiprocessing
import statistics
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from multiprocessing.connection import Connection
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
from apitorch_desktop.api.client import ApiClient
from tests.benchmarks.bench_service import cpu
from tests.helpers.service_process import serving
from tests.helpers.waiting import until

PHOTOS = Path(__file__).parents[3] / "shared" / "data" / "clothing"
CLIENTS = 200
ROUNDS = 3
LATE = 0
"""Stands for the status of what is answered after the end: it has cost its processor time all the same."""


def photos() -> list[bytes]:
    return [path.read_bytes() for path in sorted((PHOTOS / "test").glob("*/*.jpg"))[:50]]


def learn(url: str, key: str) -> None:
    """Make a classifier of two labels, and wait until it answers."""
    with closing(ApiClient(url, key)) as client:
        made = client.create_training_set("Clothes")
        for label in ("dress", "hat"):
            for path in sorted((PHOTOS / "train" / label).iterdir())[:4]:
                client.upload_image(made.id, label, path=path)
        until(lambda: client.classifier("clothes").status == "ready")


def encode(seconds: float, workers: int, answer: Connection) -> None:
    """Send back the photos a second of the encoder alone, and the processor's seconds for one."""
    from apitorch_desktop.vision.encoder import Encoder
    from apitorch_desktop.vision.images import open_upright

    encoder, sources = Encoder(at_once=workers), photos()
    encoder.encode([open_upright(sources[0], encoder.shorter_side)])
    end, begun = time.perf_counter() + seconds, time.process_time()

    def work(start: int) -> int:
        done = 0
        while time.perf_counter() < end:
            encoder.encode([open_upright(sources[(start + done) % len(sources)], encoder.shorter_side)])
            done += 1
        return done

    with ThreadPoolExecutor(workers) as threads:
        done = sum(threads.map(work, range(workers)))
    answer.send((done / seconds, (time.process_time() - begun) / done))


async def one_answer(reader: asyncio.StreamReader) -> tuple[int, dict[str, str]]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    fields = dict(line.lower().split(": ", 1) for line in head[1:] if line)
    await reader.readexactly(int(fields["content-length"]))
    return int(head[0].split()[1]), fields


async def ask(port: int, key: str, sources: list[bytes], number: int, end: float, counts: dict[int, int]) -> None:
    """One client, on a connection that it opens again when the service closes it."""
    basic = base64.b64encode(f"{key}:".encode()).decode()
    turn = number
    while time.perf_counter() < end:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            while time.perf_counter() < end:
                turn += 1
                body = (
                    b'--b\r\nContent-Disposition: form-data; name="classifiers"\r\n\r\nclothes\r\n'
                    b'--b\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'
                    + sources[turn % len(sources)]
                    + b"%d %d" % (number, turn)  # behind the end of the photo: an image that is not kept yet
                    + b"\r\n--b--\r\n"
                )
                writer.write(
                    f"POST /api/classify HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Basic {basic}\r\n"
                    f"Content-Type: multipart/form-data; boundary=b\r\nContent-Length: {len(body)}\r\n\r\n".encode()
                    + body
                )
                status, fields = await one_answer(reader)
                kind = status if time.perf_counter() < end else LATE
                counts[kind] = counts.get(kind, 0) + 1
                if status in (429, 503):
                    await asyncio.sleep(min(float(fields["retry-after"]), max(0.0, end - time.perf_counter())))
            writer.close()
        except (OSError, asyncio.IncompleteReadError):
            await asyncio.sleep(0.1)


def crowd(port: int, key: str, seconds: float, answer: Connection) -> None:
    """Send back how many answers of which status the clients got."""

    async def run() -> None:
        sources, counts = photos(), {}
        end = time.perf_counter() + seconds
        await asyncio.gather(*(ask(port, key, sources, number, end, counts) for number in range(CLIENTS)))
        answer.send(counts)

    asyncio.run(run())


def ping(port: int, key: str, seconds: float, answer: Connection) -> None:
    """Send back the seconds that each ping took, one every 20 ms."""

    async def run() -> None:
        basic = base64.b64encode(f"{key}:".encode()).decode()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        request = f"GET /api/ping HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Basic {basic}\r\n\r\n".encode()
        taken = []
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            start = time.perf_counter()
            writer.write(request)
            await one_answer(reader)
            taken.append(time.perf_counter() - start)
            await asyncio.sleep(0.02)
        answer.send(taken)

    asyncio.run(run())


def results(*jobs: tuple) -> list:
    """What each job sends back; they run at the same time, in processes of their own."""
    found = []
    for job, *arguments in jobs:
        receiver, sender = multiprocessing.Pipe(duplex=False)
        process = multiprocessing.Process(target=job, args=(*arguments, sender))
        process.start()
        found.append((process, receiver))
    answers = [receiver.recv() for _, receiver in found]
    for process, _ in found:
        process.join()
    return answers


def main(seconds: float = 15) -> None:
    from apitorch_desktop.service.config import Limits

    with tempfile.TemporaryDirectory() as folder, serving(Path(folder) / "data") as service:
        learn(service.url, service.key)
        results((crowd, service.port, service.key, 2))  # the network is loaded
        ratios, costs, pings = [], [], []
        for _ in range(ROUNDS):
            ((alone, cost),) = results((encode, seconds, Limits().workers))
            before = cpu(service.process.pid)
            counts, taken = results(
                (crowd, service.port, service.key, seconds), (ping, service.port, service.key, seconds)
            )
            ours = counts.get(200, 0) / seconds
            ratios.append(ours / alone)
            late = counts.pop(LATE, 0)
            costs.append((cpu(service.process.pid) - before) / max(1, counts.get(200, 0) + late) / cost)
            pings += taken
            print(f"encoder {alone:.1f} photos/s, ours {ours:.1f}, answers by status {counts}", flush=True)
        pings.sort()
        print(
            f"{CLIENTS} clients: {statistics.median(ratios):.2f} of the encoder's photos a second, "
            f"{statistics.median(costs):.2f} of its processor time; ping median "
            f"{pings[len(pings) // 2] * 1000:.0f} ms, 99th percentile {pings[int(len(pings) * 0.99)] * 1000:.0f} ms "
            f"({len(pings)} pings)"
        )


if __name__ == "__main__":
    multiprocessing.set_start_method("spawn")
    main(*map(float, sys.argv[1:]))
