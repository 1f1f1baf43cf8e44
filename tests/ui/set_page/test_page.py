from collections import Counter

from apitorch_desktop.api.types import TrainingImage
from apitorch_desktop.ui.set_page.page import SetFigures, figures, figures_text


def image(**facts):
    return TrainingImage(filename="a.jpg", url="", **facts)


def test_figures_are_added_up_as_far_as_the_service_gives_them():
    found = figures(
        [
            image(bytes=400_000, created_at="2026-05-01T12:00:00.000Z"),
            image(bytes=800_000, created_at="2026-05-09T12:00:00.000Z"),
            image(),
        ]
    )
    assert (found.images, found.bytes) == (3, 1_200_000)
    assert figures_text(found, 2) == "3 photos under 2 labels · 1.2 MB · added 01/05/2026 to 09/05/2026"
    assert figures_text(figures([image()]), 1) == "1 photo under 1 label"


def test_splits_are_counted_with_the_photos_in_none():
    text = figures_text(SetFigures(10, splits=Counter(train=6, test=2)), 3)
    assert text == "10 photos under 3 labels · splits: test 2, train 6, none 2"
