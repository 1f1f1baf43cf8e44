"""What is unusual about a connection's key or address is seen at the connection all the time, not only when it was given."""

import pytest

from apitorch_desktop.ui.session.session import ConnectionState
from tests.helpers import app_runner as program
from tests.helpers.documented_program import listed, run, use
from tests.helpers.widget_driver import choose_in_connection_menu


def entry(made, words):
    made.connection_menu._fill()
    return next(one for one in made.central_widget.toolbar.connection_menu.actions() if one.text() == words)


def test_a_key_for_this_run_only_is_marked_until_the_keyring_takes_it(monkeypatch, elsewhere):
    class Ring:
        """A back end of `keyring`; the tests' own environment has none."""

        def __init__(self):
            self.kept = {}

        def get_password(self, *name):
            return self.kept.get(name)

        def set_password(self, service, name, key):
            self.kept[service, name] = key

    def steps(made, said):
        program.wait(lambda: made.session.state is ConnectionState.READY, "the embedded service")
        button, stores = made.central_widget.toolbar.connection, made.session.stores
        assert (button.mark, "kept" in button.toolTip()) == ("", False)
        other = stores.connections.add("Elsewhere", elsewhere.url)
        assert stores.keys.store(other, elsewhere.key).location == "this run"
        choose_in_connection_menu(made, "Elsewhere")
        listed(made, 3)
        assert button.mark == "key"
        assert "This machine has no keyring. The key is kept until the program ends." in button.toolTip()
        assert button.accessibleDescription() == button.toolTip()
        elsewhere.vanish()
        made.session.refresh()
        program.wait(lambda: made.session.state is ConnectionState.AWAY, "the service to be missed")
        assert (button.mark, "until the program ends" in button.toolTip()) == ("key", True)
        elsewhere.come_back()
        program.wait(lambda: made.session.state is ConnectionState.READY, "its return")
        choose_in_connection_menu(made, "Keep the key in the keyring")
        program.wait(lambda: any("no keyring" in one for one in said), "that there still is none")
        assert button.mark == "key"
        ring = Ring()
        for name in ("get_password", "set_password"):
            monkeypatch.setattr(f"keyring.{name}", getattr(ring, name))
        choose_in_connection_menu(made, "Keep the key in the keyring")
        program.wait(lambda: "The key is in the keyring now." in said, "that it is kept")
        assert list(ring.kept.values()) == [elsewhere.key]
        assert (button.mark, "kept" in button.toolTip()) == ("", False)
        choose_in_connection_menu(made, "On this computer")
        program.wait(
            lambda: made.session.state is ConnectionState.READY and button.text() != "Elsewhere", "the first again"
        )
        assert button.mark == ""

    run(monkeypatch, steps)


@pytest.mark.parametrize("with_key", [True, False])
def test_what_the_environment_names_is_marked(monkeypatch, elsewhere, with_key):
    use(monkeypatch, elsewhere)
    if not with_key:
        monkeypatch.delenv("APITORCH_API_KEY")

    def steps(made, _said):
        program.wait(
            lambda: made.session.state is (ConnectionState.READY if with_key else ConnectionState.REFUSED),
            "the service",
        )
        button = made.central_widget.toolbar.connection
        assert button.mark == "terminal"
        words = "APITORCH_BASE_URL and APITORCH_API_KEY set this" if with_key else "APITORCH_BASE_URL sets this"
        assert f"{words} connection and override" in button.toolTip()
        assert words in entry(made, "Set by environment variables").toolTip()

    run(monkeypatch, steps)
