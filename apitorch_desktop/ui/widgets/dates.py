"""Dates and times in the form of the user's locale, in local time."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from PySide6.QtCore import QLocale


def time_text(moment: datetime) -> str:
    """Return date and time of an aware datetime. Raises OverflowError outside of the local calendar."""
    local = moment.astimezone().replace(tzinfo=None)
    return _locale().toString(local, QLocale.FormatType.ShortFormat)  # type: ignore[call-overload,no-any-return]


def date_text(moment: datetime) -> str:
    """Return the date of an aware datetime."""
    local = moment.astimezone().date()
    return _locale().toString(local, QLocale.FormatType.ShortFormat)  # type: ignore[call-overload,no-any-return]


def time_text_of(text: str, form: Callable[[datetime], str] = time_text) -> str:
    """Return date and time of an ISO 8601 time, or its date alone by `date_text`; "" if it is none."""
    try:
        return form(datetime.fromisoformat(text))
    except (ValueError, OverflowError):
        return ""


def _locale() -> QLocale:
    locale = QLocale()
    if locale.language() == QLocale.Language.C:
        return QLocale(QLocale.Language.English, QLocale.Country.UnitedKingdom)
    return locale
