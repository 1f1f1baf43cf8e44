"""A service that vanishes, hangs or comes back is noticed by itself, and what waits then goes on."""

import time
from itertools import pairwise

from apitorch_desktop.ui.session import session
from apitorch_desktop.ui.session.session import ConnectionState, Rhythm
from tests.helpers import app_runner as program
from tests.helpers import x11_pointer as pointer
from tests.helpers.documented_program import (
    away,
    counts,
    drop_on_label,
    listed,
    pictures_shown,
    run,
    select,
    shown,
    waiting,
)


def quickly(made):
    """A heart that beats several times a second."""
    made.session.heartbeat.rhythm = Rhythm(look=20, beat=300, retry=200, longest=400)
    made.session.connect_service()
    program.wait(lambda: made.session.heartbeat._check_timer.interval() == 20, "the new rhythm")


def pings(service):
    return sum(one.path.endswith("/ping") for one in service.seen)


def test_a_service_that_vanishes_is_missed_by_itself_and_what_waits_goes_on_when_it_is_back(
    monkeypatch, service, photos
):
    dropped = sorted((photos / "train" / "shoes").iterdir())[:3]

    def steps(made, said):
        listed(made, 6)
        pictures_shown(made)
        quickly(made)
        for _ in range(2):
            service.vanish()
            away(made)
            service.come_back()
            program.wait(lambda: made.session.state is ConnectionState.READY, "its return")
            program.wait(lambda: not made.central_widget.offline_banner.isVisible(), "the band to go")
        service.vanish()
        away(made)
        select(made, shown(made)["plains"][:1])
        pointer.key("1")
        drop_on_label(made, dropped, "mountain")
        program.wait(lambda: waiting(made) and made.transfers.statuses, "an edit and a transfer that wait")
        service.come_back()
        program.wait(lambda: len(service.content(service.number)["mountain"]) == 6, "all that waited")
        program.wait(lambda: counts(made) == {"mountain": 6, "plains": 3}, "the grid")
        assert not [one for one in said if "unexpected went wrong" in one]

    run(monkeypatch, steps)


def test_a_service_that_answers_no_more_is_away_too(monkeypatch, service):
    monkeypatch.setattr(session, "PING_PATIENCE", 0.3)

    def steps(made, _said):
        listed(made, 6)
        pictures_shown(made)
        beat, held = made.session._ping, []

        def silent():
            """From this beat on nothing is answered: a connection under way would wait longer for it."""
            if not held:
                service.wrong("held", times=1000, path="/ping$")
                held.append(True)
            beat()

        monkeypatch.setattr(made.session, "_ping", silent)
        quickly(made)
        try:
            program.wait(lambda: held, "a beat")
            away(made)
            assert made.session.state_text.startswith("The service was silent")
        finally:  # what is held would outlast the window
            service.right()
        program.wait(lambda: made.session.state is ConnectionState.READY, "its return")

    run(monkeypatch, steps)


def test_a_quiet_window_asks_seldom_and_not_at_all_while_calls_are_answered(monkeypatch, service):
    def steps(made, _said):
        listed(made, 6)
        pictures_shown(made)
        quickly(made)
        before = pings(service)
        program.wait(lambda: pings(service) >= before + 4, "four beats")
        beats = [one.at for one in service.seen if one.path.endswith("/ping")][before:]
        assert beats[3] - beats[0] > 2 * 0.3
        others = len(service.seen) - pings(service)
        program.wait(lambda: pings(service) >= before + 6, "two more")
        assert len(service.seen) - pings(service) == others, "a beat is a ping and nothing else"
        program.wait(lambda: quiet_while_answered(made), "a second in which the machine is quick enough")

    def quiet_while_answered(made):
        """Return whether no two calls were further apart than a beat; then there was no ping."""
        made.session.workspace.training_sets()
        before, calls = pings(service), [time.monotonic()]
        while calls[-1] < calls[0] + 1.2:
            made.session.workspace.training_sets()
            program.turn()
            calls.append(time.monotonic())
        if max(later - sooner for sooner, later in pairwise(calls)) > 0.15:
            return False
        assert pings(service) <= before + 1  # one may have been under way
        return True

    run(monkeypatch, steps)
