"""Embedding, training and exports on a Dask cluster: a real scheduler, real workers, and what happens when they die."""

import os
import signal
from pathlib import Path

import pytest

from apitorch_desktop.service.config import InvalidConfig, scheduler_url
from tests.helpers.service_process import run
from tests.helpers.stores import postgres
from tests.helpers.team import team
from tests.helpers.waiting import until

STORAGE = {"database_url": "postgresql://host/name", "blob_url": "s3://bucket"}


def test_workers_learn_for_the_service_and_it_goes_on_without_them(tmp_path: Path, photos):
    distributed = pytest.importorskip("distributed")
    files = {label: sorted((photos / "train" / label).glob("*")) for label in ("dress", "hat")}
    with postgres() as url, team(tmp_path, url) as parts:
        scheduler = parts.scheduler()
        workers = [parts.worker(scheduler), parts.worker(scheduler)]
        part = parts.service("--scheduler", f"tcp://127.0.0.1:{scheduler.port}")
        service = part.client
        number = service.new_set("Clothes")

        def learn(start: int, end: int) -> dict:
            """Upload photos, and return the classifier that has learned them."""
            for label, paths in files.items():
                for path in paths[start:end]:
                    assert service.upload(number, label, path.read_bytes()).status_code == 200

            def learned() -> dict | None:
                state = service.call("GET", "classifier/clothes").json()
                assert state["status"] != "failed", state
                done = state["status"] == "ready" and state["metrics"]["images"] == 2 * end
                return state if done else None

            return until(learned)

        def open_stores() -> int:
            """Return how many workers have worked."""

            def opened() -> int:
                from apitorch_desktop.service.classifiers.tasks import _opened

                return _opened.cache_info().currsize

            with distributed.Client(f"tcp://127.0.0.1:{scheduler.port}", set_as_default=False) as client:
                return sum(client.run(opened).values())

        def export() -> bytes:
            answer = service.call("GET", "classifier/clothes/onnx")
            assert answer.status_code == 200, answer.text
            return answer.content

        def ended_exports() -> int:
            """Return how many exports the workers have ended."""
            with distributed.Client(f"tcp://127.0.0.1:{scheduler.port}", set_as_default=False) as client:

                def count(dask_scheduler) -> int:
                    prefix = dask_scheduler.task_prefixes.get("export")
                    return 0 if prefix is None else prefix.state_counts["memory"]

                return client.run_on_scheduler(count)

        learn(0, 4)
        assert open_stores() >= 1
        assert ended_exports() == 0
        by_worker = export()
        assert ended_exports() == 1
        workers[0].kill()
        learn(4, 6)  # by the other one
        assert open_stores() == 1
        assert export() != by_worker
        by_worker = export()
        scheduler.kill()
        assert export() == by_worker  # by the service itself
        learn(6, 8)
        image = files["hat"][12].read_bytes()
        answer = service.call("POST", "classify", data={"classifiers[]": "clothes"}, files={"image": image}).json()
        assert answer["data"][0]["version"] == service.call("GET", "classifier/clothes").json()["version"]
        assert "could not be looked after" not in part.log


def test_workers_say_that_the_bucket_is_away_in_a_line_and_learn_once_it_is_back(tmp_path: Path, photos):
    pytest.importorskip("distributed")
    files = {label: sorted((photos / "train" / label).glob("*")) for label in ("dress", "hat")}
    with postgres() as url, team(tmp_path, url) as parts:
        scheduler = parts.scheduler()
        worker = parts.worker(scheduler)
        part = parts.service("--scheduler", f"tcp://127.0.0.1:{scheduler.port}")
        service = part.client
        number = service.new_set("Clothes")

        def learned(count: int) -> bool:
            state = service.call("GET", "classifier/clothes").json()
            return state["status"] == "ready" and state["metrics"]["images"] == count

        def upload(numbers: range) -> None:
            for label, paths in files.items():
                for each in numbers:
                    answer = service.upload(number, label, paths[each].read_bytes())
                    assert answer.status_code == 200, answer.text

        upload(range(4))
        until(lambda: learned(8))
        worker.process.send_signal(signal.SIGSTOP)  # so that it reads none before the bucket is away
        upload(range(4, 12))
        parts.bucket.kill()
        worker.process.send_signal(signal.SIGCONT)
        until(lambda: "the image storage failed" in worker.log)
        until(lambda: service.call("GET", "classifier/clothes").json()["status"] == "failed")
        parts.bucket.start()
        until(lambda: learned(24))
        assert "Compute Failed" not in worker.log
        assert "Traceback" not in worker.log + part.log
        assert worker.log.count("the image storage failed") < 8


def test_a_scheduler_needs_data_that_its_workers_can_reach():
    assert scheduler_url(None, STORAGE, {}) is None
    assert scheduler_url(None, STORAGE, {"APITORCH_SCHEDULER_URL": "tls://host:8786"}) == "tls://host:8786"
    assert scheduler_url("tcp://host:8786", STORAGE, {"APITORCH_SCHEDULER_URL": "x"}) == "tcp://host:8786"
    with pytest.raises(InvalidConfig, match="tcp://host:8786"):
        scheduler_url("http://host", STORAGE, {})
    with pytest.raises(InvalidConfig, match="tcp://host:8786"):
        scheduler_url("tcp://[::1", STORAGE, {})
    with pytest.raises(InvalidConfig, match="APITORCH_BLOB_URL"):
        scheduler_url("tcp://host:8786", {**STORAGE, "blob_url": None}, {})


def test_a_scheduler_with_data_on_this_machine_alone_is_one_sentence(tmp_path: Path):
    done = run("serve", "--port", "0", "--data", str(tmp_path / "data"), "--scheduler", "tcp://127.0.0.1:1")
    assert done.returncode == 2
    assert "need the data in APITORCH_DATABASE_URL" in done.stderr
    assert "Traceback" not in done.stderr
    assert not os.path.exists(tmp_path / "data")  # noqa: PTH110
