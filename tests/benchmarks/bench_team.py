"""A team's service under load while its processes are killed: two services, PostgreSQL, an S3 server, Dask, 50 clients.

    .venv/bin/python tests/benchmarks/bench_team.py [KILLS of each kind, 20] [CLIENTS, 50]

In each round each kind is killed once, all while the clients go on; in turn after one of the five, a change is waited for that
was made and learned after the kill, after the others until a hundred further changes are acknowledged.

Goals: nothing acknowledged is lost; no answer but 200, 4xx, and 503 with Retry-After; a change is learned within 30 s, also
where the process that learned it is killed; what one service commits the other answers within 1 s.
"""

import random
import re
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.helpers.service_process import KEY
from tests.helpers.stores import postgres
from tests.helpers.team import team
from tests.helpers.team_load import PostgresPart, TeamClient, TeamLearner, check_all, in_threads


def lag_of_keys(services) -> list[float]:
    """Seconds from a revocation by one service until the other refuses the key."""
    from apitorch_desktop.service.admin import perform
    from apitorch_desktop.service.config import storage_urls
    from apitorch_desktop.service.storage.store import Store

    found = []
    with tempfile.TemporaryDirectory() as folder, Store.open(Path(folder), **storage_urls()) as store:
        for number in range(10):
            made = perform(store.owners, {"action": "make", "name": f"Owner {number}"})
            for service in services:
                assert service.client.call("GET", "ping", made["key"]).status_code == 200
            perform(store.owners, {"action": "revoke", "id": made["id"]})
            began = time.monotonic()
            while any(service.client.call("GET", "ping", made["key"]).status_code == 200 for service in services):
                pass
            found.append(time.monotonic() - began)
    return found


def lag_of_heads(services) -> list[float]:
    """Seconds from the choice of a version by one service until the other answers with it."""
    one, two = (service.client for service in services)
    slug, found = "of-client-999", []
    photo = TeamClient(5, [])._content(1)
    for _ in range(10):
        versions = [row["version"] for row in one.call("GET", f"classifier/{slug}/versions").json()["data"]]
        version = random.choice(versions)
        assert one.call("POST", f"classifier/{slug}/current", json={"version": version}).status_code == 200
        began = time.monotonic()
        while True:
            answer = two.call("POST", "classify", data={"classifiers[]": slug}, files={"image": photo}).json()
            if answer["data"][0]["version"] == version:
                break
        found.append(time.monotonic() - began)
    return found


def kill_one(part, chance: random.Random) -> float:
    """Kill a process, and start it again a moment later; return the time of its end."""
    killed = time.monotonic()
    part.kill()
    time.sleep(chance.uniform(0.2, 2))
    part.start()
    return killed


def learned_again(learner: TeamLearner) -> Callable[[], bool]:
    """Return whether a change has been learned that is made from now on."""
    learned = len(learner.waits)
    return lambda: len(learner.waits) > learned + 1  # the first may be one that was made before


def changes_go_on(clients: list[TeamClient]) -> Callable[[], bool]:
    """Return whether a hundred further changes are acknowledged."""
    done = sum(client.acknowledged for client in clients)
    return lambda: sum(client.acknowledged for client in clients) >= done + 100


def wait_beside(workers, holds: Callable[[], bool], until: float) -> None:
    """Wait for a condition, or until a time."""
    while not holds() and time.monotonic() < until:
        time.sleep(0.05)
        for worker in workers:  # a worker ends with its scheduler, and systemd starts it again
            if worker.process.poll() is not None:
                worker.start()


def main() -> None:
    """Run, and print a table."""
    import os

    kills = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 50
    chance = random.Random(1)
    with tempfile.TemporaryDirectory() as folder, postgres() as url, team(Path(folder), url) as parts:
        os.environ.update(parts.environment)
        scheduler = parts.scheduler()
        workers = [parts.worker(scheduler), parts.worker(scheduler)]
        option = ("--scheduler", f"tcp://127.0.0.1:{scheduler.port}")
        services = [parts.service(*option), parts.service(*option)]
        urls = [service.url for service in services]
        clients = [TeamClient(number, urls) for number in range(count)]
        learner = TeamLearner(urls)
        stopping = threading.Event()
        began = time.monotonic()
        threads = in_threads([lambda c=client: c.run(None, stopping) for client in clients])
        threads += in_threads([lambda: learner.run(None, stopping)])
        kinds = [[PostgresPart(url)], [parts.bucket], services, [scheduler], workers]
        recovered: list[float] = []
        for number in range(kills):
            for turn, kind in enumerate(kinds):
                time.sleep(chance.uniform(0.2, 2))
                measured = number % len(kinds) == turn
                goes_on = learned_again(learner) if measured else changes_go_on(clients)
                killed = kill_one(chance.choice(kind), chance)
                wait_beside(workers, goes_on, until=killed + 120)
                if measured:
                    recovered.append(time.monotonic() - killed)
            wrong = [each for client in (*clients, learner.client) for each in client.wrong]
            acknowledged = sum(client.acknowledged for client in clients)
            print(
                f"round {number + 1} of {kills}, {time.monotonic() - began:.0f} s: {acknowledged} acknowledged, "
                f"{len(learner.waits)} learned, {len(wrong)} wrong {wrong[:2]}, "
                f"learned again after {recovered[-1]:.0f} s",
                flush=True,
            )
        stopping.set()
        for thread in threads:
            thread.join(300)
        wrong = check_all(clients) + learner.client.wrong
        for part in (*services, *workers):
            lines = [re.sub(r"^[-0-9:, ]+", "", line)[:150] for line in part.log.splitlines()]
            told = Counter(line for line in lines if re.match("WARNING|ERROR|Traceback", line))
            print(f"{part.name} wrote most often: {told.most_common(4)}")
        statuses = sum((client.statuses for client in clients), Counter())
        waits = sorted(learner.waits)
        print(f"{kills} kills of each of 5 kinds in {time.monotonic() - began:.0f} s, {count} clients, key {KEY[:1]}…")
        print(f"acknowledged changes: {sum(client.acknowledged for client in clients)}; answers: {dict(statuses)}")
        print(f"lost or otherwise wrong: {len(wrong)} (goal 0) {wrong[:5]}")
        median = statistics.median(recovered)
        print(
            f"from a kill to the second change learned after it: median {median:.1f} s, longest {max(recovered):.1f} s"
        )
        if waits:
            median = statistics.median(waits)
            print(f"change to learned: {len(waits)} times, median {median:.1f} s, longest {waits[-1]:.1f} s (goal 30)")
        print(f"longest call, repetitions counted: {max(client.slowest for client in clients):.1f} s")
        keys, heads = lag_of_keys(services), lag_of_heads(services)
        print(f"revoked key refused by both: longest {max(keys):.2f} s (goal 1)")
        print(f"chosen version answered by the other: longest {max(heads):.2f} s (goal 1)")


if __name__ == "__main__":
    main()
