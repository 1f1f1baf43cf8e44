"""The painter of the grid: what a header shows where there is little room."""

import pytest
from PySide6.QtCore import QRect
from PySide6.QtGui import QImage, QPainter

from apitorch_desktop.ui.grid.painter import GridPainter, Header


@pytest.mark.parametrize("mirrored", [False, True])
def test_a_long_label_is_elided_but_not_its_count(theme, monkeypatch, mirrored):
    painter, written = GridPainter(theme), []
    monkeypatch.setattr(
        painter, "_write", lambda _painter, x, _y, text, *_: written.append((text.text.text(), x, text))
    )
    image = QImage(500, 40, QImage.Format.Format_ARGB32)
    with QPainter(image) as on:
        painter.header(
            on, QRect(0, 0, 500, 40), Header("a_label_of_a_dozen_words_" * 5, 1234, 0.8, 0, "", False), mirrored
        )
    (label, *_), (count, x, text) = written[:2]
    assert label.endswith("…")
    assert count == "1,234 photos"
    assert x >= 18 and x + text.width <= 482
