import pytest
from PySide6.QtCore import Qt

from apitorch_desktop.api.types import Classifier, Id, LabelMetrics, Metrics, SplitMetrics, TrainingSet
from apitorch_desktop.ui.sidebar.classifier_card import ClassifierCard, headline, needs
from apitorch_desktop.utils.text import duration, percent, plural, size

CLOTHES = TrainingSet(id=Id(1), name="Clothes", slug="clothes", labels=["dress", "hat"], counts=[4, 5])


def metrics(accuracy, **labels):
    return Metrics(
        accuracy=accuracy,
        images=9,
        folds=5,
        labels=[LabelMetrics(label=name, count=4, accuracy=share) for name, share in labels.items()],
    )


def test_a_ready_classifier_says_how_good_it_is_and_where_it_is_weakest():
    ready = Classifier(status="ready", version=12, metrics=metrics(0.85, dress=0.95, shirt=0.62))
    title, share, text = headline(CLOTHES, ready)
    assert title == "Classifier ready"
    assert share == 0.85
    assert text == "85 % right on photos it had not seen. Weakest: shirt."
    ready.metrics.held_out = [SplitMetrics(split="test", images=120, accuracy=0.8)]
    assert (
        headline(CLOTHES, ready)[2] == "85 % right on photos it had not seen, 80 % on 120 test photos. Weakest: shirt."
    )


def test_a_classifier_that_learns_keeps_its_last_figures():
    learning = Classifier(status="training", version=3, metrics=metrics(0.5, dress=0.5, hat=0.5))
    title, share, text = headline(CLOTHES, learning)
    assert (title, share) == ("Learning…", None)
    assert text == "50 % right on photos it had not seen."


def test_a_sentence_with_a_long_label_is_wrapped_in_the_card(qtbot, theme):
    name = "a_very_long_label_that_nobody_would_shorten_in_time_for_this"
    card = ClassifierCard(theme)
    qtbot.addWidget(card)
    card.show_state(CLOTHES, Classifier(status="ready", version=1, metrics=metrics(0.85, dress=0.95, **{name: 0.1})))
    assert card.sentence() == f"85 % right on photos it had not seen. Weakest: {name}."
    card.setFixedWidth(240)
    card.adjustSize()
    text = card._text
    needed = text.fontMetrics().boundingRect(0, 0, text.width(), 1000, Qt.TextFlag.TextWordWrap, text.text())
    assert needed.width() <= text.width() <= 240
    assert text.height() >= needed.height()


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        ({"dress": 1, "hat": 0}, "Needs 2 labels with 2 photos each: dress has 1."),
        ({"dress": 3, "hat": 1}, "Needs 2 labels with 2 photos each: hat has 1."),
        ({"dress": 3}, "Needs 2 labels with 2 photos each: one label is there."),
        ({}, "Needs 2 labels with 2 photos each."),
    ],
)
def test_before_that_it_says_what_is_missing(counts, said):
    assert needs(TrainingSet(id=Id(1), name="Clothes", labels=list(counts), counts=list(counts.values()))) == said


def test_a_failure_is_told_in_the_services_words():
    failed = Classifier(status="failed", status_message="The disk is full.")
    assert headline(CLOTHES, failed) == ("Training failed", 0, "The disk is full.")


def test_a_share_is_rounded_but_never_to_all_or_nothing():
    assert [percent(share) for share in (0, 0.001, 0.854, 0.999, 1)] == ["0 %", "1 %", "85 %", "99 %", "100 %"]


def test_numbers_read_like_a_persons():
    assert plural(1, "photo") == "1 photo"
    assert plural(3781, "photo") == "3,781 photos"
    assert size(112_400) == "112 kB"
    assert duration(5.2) == "5 s"
