"""The dialog of *Accept proposals*."""

import pytest

from apitorch_desktop.api.types import TrainingImage
from apitorch_desktop.dataset.review.findings import OutOfFoldAnswer
from apitorch_desktop.ui.labeling.controller import ProposalDialog


def proposal(number, confidence):
    image = TrainingImage(filename=f"{number}.jpg", url="", id=f"ti_{number:040d}", label="unlabelled")
    return image, OutOfFoldAnswer("hat", confidence)


@pytest.mark.parametrize("waiting", [2, 3])
def test_photos_without_an_answer_count_among_those_that_wait(theme, qtbot, waiting):
    dialog = ProposalDialog(theme, [proposal(1, 0.95), proposal(2, 0.6)], waiting, 90)
    qtbot.addWidget(dialog)
    assert dialog.head.text() == f"1 of {waiting} photos"
    assert dialog.below.text() == "1 hat. The others keep waiting."
    dialog.threshold.setValue(50)
    assert dialog.head.text() == f"2 of {waiting} photos"
    assert dialog.below.text() == ("2 hat." if waiting == 2 else "2 hat. The others keep waiting.")
    dialog.threshold.setValue(100)
    assert dialog.below.text() == "No photo reaches that confidence."
