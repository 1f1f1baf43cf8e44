"""Messages for the user: sentences with actions, and the text of a selection."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from apitorch_desktop.ui.widgets.controls import Tone
from apitorch_desktop.utils.text import plural

MessageAction = tuple[str, Callable[[], object]]
"""A verb, and what it does."""


@dataclass(frozen=True, slots=True)
class Message:
    """A sentence for the user, with actions.

    Messages with the same `topic` replace each other, until `Session.message_expired` removes them; a failure stays
    until then, until the user closes it, or until newer messages have replaced it.
    """

    text: str
    tone: Tone = ""
    topic: str = ""
    actions: tuple[MessageAction, ...] = field(default=(), compare=False)
    lasting: bool = False
    """Describes a state that lasts until the topic expires: it comes back when newer messages have gone."""


def selection_text(count: int, size_text: str, shown: int, total: int) -> str:
    """Return the text of a selection (`3 of 3,781 selected · 112 kB · 27 shown`), or the number of photos shown."""
    if count:
        narrowed = f" · {shown:,} shown" if shown != total else ""
        return f"{count:,} of {total:,} selected" + (f" · {size_text}" if size_text else "") + narrowed
    if shown != total:
        return f"{shown:,} of {plural(total, 'photo')} shown"
    return plural(total, "photo") if total else ""
