"""Banner above the photos while the service is away: the age of the cached data, and the edits that wait."""

from __future__ import annotations

from datetime import UTC, datetime

from PySide6.QtCore import Signal

from apitorch_desktop.ui.theme.theme import Theme
from apitorch_desktop.ui.widgets.banner import Banner
from apitorch_desktop.ui.widgets.dates import time_text
from apitorch_desktop.utils.text import plural


class OfflineBanner(Banner):
    """Shown while the service is away or refuses the key."""

    again_wanted = Signal()
    change_wanted = Signal()

    def __init__(self, theme: Theme) -> None:
        super().__init__(theme)
        self.change = self.add("Change the connection…", self.change_wanted.emit)
        self.again = self.add("Try again", self.again_wanted.emit)

    def show_words(self, text: str, tip: str, *, can_change: bool = False) -> None:
        """Show a sentence, or hide the banner for ""; `tip` has the details."""
        self.change.setVisible(can_change)
        self.show_message(text, tip)


def away_words(name: str, seen_at: float, waiting: int) -> str:
    """Return the text: `“Torch” is away: you see what was there 3 Jul 2026 14:05. 1 change waits; it is sent when …`."""
    seen = ""
    if seen_at:
        seen = f": you see what was there {time_text(datetime.fromtimestamp(seen_at, UTC))}"
    rest = {0: "Changes are kept, and sent when it is back.", 1: "1 change waits; it is sent when the service is back."}
    many = f"{plural(waiting, 'change')} wait; they are sent when the service is back."
    return f"“{name}” is away{seen}. {rest.get(waiting, many)}"
