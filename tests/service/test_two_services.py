"""Two services on one PostgreSQL database and one S3 server: clients across both, and each kind of process killed."""

import threading
from pathlib import Path

import pytest

from tests.helpers.stores import postgres
from tests.helpers.team import team
from tests.helpers.team_load import PostgresPart, TeamClient, TeamLearner, check_all, in_threads
from tests.helpers.waiting import until


@pytest.mark.timeout(600)
def test_nothing_acknowledged_is_lost_whatever_process_is_killed(tmp_path: Path, photos):
    with postgres() as url, team(tmp_path, url) as parts:
        services = [parts.service(), parts.service()]
        urls = [service.url for service in services]
        clients = [TeamClient(number, urls) for number in range(4)]
        learner = TeamLearner(urls)
        stopping = threading.Event()
        killing = (PostgresPart(url), parts.bucket, services[0])
        threads = in_threads([lambda c=client: c.run(None, stopping) for client in clients])
        threads += in_threads([lambda: learner.run(None, stopping)])

        def further() -> None:
            """Wait until the load has gone on: every client and the learner by a change."""
            before, learned = [client.acknowledged for client in clients], len(learner.waits)
            until(
                lambda: (
                    (
                        len(learner.waits) > learned
                        and all(client.acknowledged > count for client, count in zip(clients, before, strict=True))
                    )
                    or any(client.wrong for client in (*clients, learner.client))
                )
            )

        further()
        for part in killing:
            part.kill()
            if part in services:
                further()  # the other one goes on, also with what this one was learning
            part.start()
            further()
        stopping.set()
        for thread in threads:
            thread.join(250)
        assert not any(thread.is_alive() for thread in threads)
        assert check_all(clients) + learner.client.wrong == []
        assert all(part.process.poll() is None for part in services)
        answers_alike(services, photos)


def answers_alike(services, photos) -> None:
    """What one service has learned, made current or revoked, holds for the other."""
    one, two = (service.client for service in services)
    files = {label: sorted((photos / "train" / label).glob("*"))[:5] for label in ("dress", "hat")}
    number = one.new_set("Clothes")
    for label, paths in files.items():
        for path in paths[:4]:
            assert one.upload(number, label, path.read_bytes()).status_code == 200
    photo = files["hat"][4].read_bytes()

    def answer(service):
        given = service.call("POST", "classify", data={"classifiers[]": "clothes"}, files={"image": photo})
        return None if given.status_code == 409 else {**given.json()["data"][0], "id": ""}

    def learned(service) -> int:
        """Return the version that has learned all images, 0 while there is none: some may be learned before the rest came."""
        state = service.call("GET", "classifier/clothes").json()
        return state["version"] if state["status"] == "ready" else 0

    first = until(lambda: learned(one))
    until(lambda: answer(one) == answer(two) is not None)
    assert two.upload(number, "hat", photo).status_code == 200
    second = until(lambda: (found := learned(two)) > first and found)
    until(lambda: answer(one)["version"] == answer(two)["version"] == second)
    assert two.call("POST", "classifier/clothes/current", json={"version": first}).status_code == 200
    until(lambda: answer(one)["version"] == first)
    assert one.call("GET", "classifier/clothes").json() == two.call("GET", "classifier/clothes").json()
