from apitorch_desktop.api.types import Alternative, Classification
from apitorch_desktop.cli.classify import line_of
from apitorch_desktop.ui.classify.answer_card import AnswerCard

STRANGER = Classification(
    id="cls_1", classifier="clothes", label="dress", sentence="It is a dress.", confidence="unknown",
    confidence_value="0.31", none_of_these=True, alternatives=[Alternative(label="hat", confidence_value="0.2")],
)  # fmt: skip
DRESS = Classification(id="cls_2", classifier="clothes", label="dress", confidence="high", confidence_value="0.81")


def test_a_photo_of_none_of_the_labels_is_shown_as_such(qtbot, theme):
    card = AnswerCard(theme, "clothes")
    qtbot.addWidget(card)
    card.show()
    card.show_answer(STRANGER)
    assert (card.title.text(), card.confidence.text()) == ("None of these", "unknown")
    assert card.sentence.text() == "Nearest: dress."
    assert not card.right.isVisible()
    assert card.wrong.isVisible()
    assert "none of these, nearest dress" in card.accessibleName()
    card.show_answer(DRESS)
    assert (card.title.text(), card.confidence.text()) == ("dress", "high")
    assert card.right.isVisible()


def test_a_card_names_its_classifier_and_says_the_label_once(qtbot, theme):
    card = AnswerCard(theme, "extract-text", "Extract Text")
    qtbot.addWidget(card)
    card.show()
    assert card.classifier.full_text() == "Extract Text"
    assert not card.title.isVisible()
    label = "does not contain text"
    card.show_answer(Classification(id="cls_3", classifier="extract-text", label=label, sentence=f"Image {label}."))
    assert card.classifier.isVisible()
    assert card.title.text() == label
    assert not card.sentence.isVisible()
    assert card.accessibleName().startswith(f"Extract Text: {label}")
    card.show_failure("Nothing answers. Try again.")
    assert card.classifier.isVisible()
    assert not card.title.isVisible()


def test_the_command_says_so_too():
    assert line_of("a.jpg", STRANGER) == "a.jpg: none of these, nearest dress (unknown, 0.31)"
    assert line_of("b.jpg", DRESS) == "b.jpg: dress (high, 0.81)"
