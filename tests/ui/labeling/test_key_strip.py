"""The chips of the key strip: what of a label is shown where it does not fit."""

from PySide6.QtGui import QFontMetrics

from apitorch_desktop.ui.labeling.key_strip import KeyStrip, elided_label


def test_labels_that_begin_alike_show_what_differs(qtbot, theme):
    strip = KeyStrip(theme)
    qtbot.addWidget(strip)
    strip.show_keys({"1": "classifier_dress", "2": "classifier_shirt", "3": "trousers_long"}, [])
    shared = {chip.name: chip.shared for chip in strip.chips}
    assert shared == {"classifier_dress": 11, "classifier_shirt": 11, "trousers_long": 0}
    metrics = QFontMetrics(theme.font("small"))
    room = metrics.horizontalAdvance("…dress") + 2
    assert elided_label(metrics, "classifier_dress", 11, room) == "…dress"
    assert elided_label(metrics, "classifier_dress", 11, 1000) == "classifier_dress"
    assert elided_label(metrics, "trousers_long", 0, room).startswith("tr")
    for start in ("…014", "…4"):  # from the word that differs, if that can be seen
        assert elided_label(metrics, "class_014_of_many", 8, metrics.horizontalAdvance(f"{start}…") + 2).startswith(
            start
        )
