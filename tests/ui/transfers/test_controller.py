"""The transfers as the window sees them: whatever order news arrive in, what is shown is what is there."""

import random
from dataclasses import replace
from threading import Thread

import pytest

from apitorch_desktop.api.types import Id
from apitorch_desktop.dataset.sources.image_source import ImageFile, UploadItem
from apitorch_desktop.dataset.transfers.queue import TransferQueue
from apitorch_desktop.ui.transfers.controller import TransferController
from tests.helpers.event_loop import wait_until


def nobody(_connection):
    raise LookupError


@pytest.fixture
def transfers(tmp_path):
    made = TransferQueue(tmp_path / "transfers", nobody)
    yield made
    made.close()


def uploads(tmp_path, count):
    return [UploadItem("plains", ImageFile(tmp_path / f"{number}.jpg"), f"{number}.jpg") for number in range(count)]


@pytest.fixture
def news(transfers, tmp_path):
    """All that a desk could be told while three threads add, pause, resume, cancel, reorder and forget: lists and statuses."""
    heard = []
    end = transfers.add_listener(heard.append)
    kept = [transfers.add_upload("c1", Id(1), f"Kept {number}", uploads(tmp_path, 2)) for number in range(3)]

    def act(transfer, seed):
        dice = random.Random(seed)
        for number in range(12):
            verb = dice.choice(["pause", "resume", "cancel", "retry_failed"])
            getattr(transfers, verb)(transfer)
            heard.append(transfers.snapshot())
            if number % 4 == 0:
                transfers.reorder([transfer])
                passing = transfers.add_upload("c1", Id(1), "Passing", uploads(tmp_path, 1))
                heard.append(transfers.snapshot())
                transfers.cancel(passing)
                transfers.forget(passing)
                heard.append(transfers.snapshot())

    threads = [Thread(target=act, args=(transfer, seed)) for seed, transfer in enumerate(kept)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    end()
    heard.append(transfers.snapshot())
    return heard


def plain(statuses):
    return [replace(one, sequence=0) for one in statuses]


def tell(desk, piece):
    if isinstance(piece, tuple):
        desk._show_all(piece)
    else:
        desk._receive(piece)


def test_news_in_any_order_leave_what_is_there(tasks, transfers, news):
    for seed in range(60):
        desk = TransferController(tasks)
        shuffled = list(news)
        random.Random(seed).shuffle(shuffled)
        for piece in shuffled:
            tell(desk, piece)
        assert plain(desk.statuses) == plain(transfers.all()), seed
        desk.deleteLater()


def test_an_older_list_neither_takes_back_a_status_nor_loses_nor_brings_back_a_transfer(tasks, transfers, tmp_path):
    desk = TransferController(tasks)
    first = transfers.add_upload("c1", Id(1), "First", uploads(tmp_path, 1))
    old = transfers.snapshot()
    late = transfers.status(first)
    transfers.pause(first)
    second = transfers.add_upload("c1", Id(1), "Second", uploads(tmp_path, 1))
    for transfer in (first, second):
        desk._receive(transfers.status(transfer))
    desk._show_all(old)
    assert [(one.id, one.state) for one in desk.statuses] == [(first, "paused"), (second, "waiting")]
    transfers.cancel(first)
    transfers.forget(first)
    desk._show_all(transfers.snapshot())
    desk._show_all(old)
    desk._receive(late)
    assert [one.id for one in desk.statuses] == [second]
    desk.deleteLater()


def test_a_transfer_that_another_process_removed_is_dropped_and_a_command_on_it_says_so(
    qtbot, tasks, transfers, tmp_path
):
    desk, failures, heard = TransferController(tasks), [], []
    desk.failed.connect(lambda error, title: failures.append((str(error), title)))
    desk.progressed.connect(heard.append)
    desk.ended.connect(heard.append)  # where its end was seen before it was forgotten
    other = TransferQueue(tmp_path / "transfers", nobody)
    transfer = other.add_upload("c1", Id(1), "From a terminal", uploads(tmp_path, 2))
    desk.start(transfers)
    wait_until(lambda: any("works on it" in status.note for status in desk.statuses))
    other.cancel(transfer)
    other.forget(transfer)
    desk.command("cancel", transfer)
    wait_until(lambda: not desk.statuses)
    wait_until(lambda: bool(heard))  # so that what it sent last is listed
    desk.command("cancel", transfer)
    wait_until(lambda: bool(failures))
    assert failures[-1][0].startswith("This transfer is not in the list any more")
    other.close()
    desk.deleteLater()


def test_what_ended_in_an_earlier_run_is_not_reported_though_its_status_comes_before_the_list(
    tasks, transfers, tmp_path
):
    desk, ended = TransferController(tasks), []
    desk.ended.connect(lambda status: ended.append(status.id))
    earlier = transfers.add_upload("c1", Id(1), "Earlier", uploads(tmp_path, 1))
    transfers.cancel(earlier)
    desk._receive(transfers.status(earlier))
    desk._show_all(transfers.snapshot())
    assert ended == []
    now = transfers.add_upload("c1", Id(1), "Now", uploads(tmp_path, 1))
    transfers.cancel(now)
    desk._receive(transfers.status(now))
    assert ended == [now]
    desk.deleteLater()
