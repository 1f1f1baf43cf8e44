"""Dates in one form, the locale's."""

from datetime import datetime

import pytest
from PySide6.QtCore import QLocale

from apitorch_desktop.ui.connections.offline_banner import away_words
from apitorch_desktop.ui.widgets.dates import date_text, time_text

MOMENT = datetime(2026, 11, 3, 14, 5).astimezone()


@pytest.mark.parametrize(
    ("locale", "date", "time"),
    [
        ("de_DE", "03.11.26", "03.11.26 14:05"),
        ("en_GB", "03/11/2026", "03/11/2026 14:05"),
        ("C", "03/11/2026", "03/11/2026 14:05"),
    ],
)
def test_dates_have_the_form_of_the_locale(locale, date, time):
    before = QLocale()
    QLocale.setDefault(QLocale(locale))
    try:
        assert (date_text(MOMENT), time_text(MOMENT)) == (date, time)
        assert f"you see what was there {time}." in away_words("Torch", MOMENT.timestamp(), 0)
    finally:
        QLocale.setDefault(before)
