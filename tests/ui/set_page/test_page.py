from collections import Counter

from apitorch_desktop.api.types import Forecast, LabelForecast, TrainingImage
from apitorch_desktop.ui.set_page.page import SetFigures, figures, figures_text, forecast_text, gain_text


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
    found = figures([*[image(split="train")] * 6, *[image(split="test")] * 2, image(split=""), image()])
    assert found == SetFigures(10, splits=Counter(train=6, test=2))
    assert figures_text(found, 3) == "10 photos under 3 labels · splits: train 6, test 2, none 2"
    assert figures_text(SetFigures(10), 3, 4) == "6 photos under 3 labels · 4 without a label yet"


def row(label, gain):
    return LabelForecast(label=label, count=20, accuracy=0.62, accuracy_then=0.74, gain=gain)


def test_what_more_photos_would_bring_is_one_sentence():
    found = Forecast(status="ready", more=50, accuracy=0.843, message="…", data=[row("cat", 0.001), row("dog", 0.012)])
    assert forecast_text(found) == (
        "50 more photos of “dog” would help most: 62 % → 74 % of them right, 84 % → 86 % of all."
    )
    flat = Forecast(status="ready", more=50, accuracy=0.9, data=[row("cat", 0.0)])
    assert forecast_text(flat) == "50 more photos of one label would make no measurable difference."
    assert forecast_text(Forecast(status="estimating")) == "Estimating what more photos would bring…"
    assert forecast_text(Forecast(status="failed", message="There is no room left.")) == "There is no room left."
    assert [gain_text(each) for each in (row("a", 0.012), row("a", -0.004), row("a", 0.0001), None)] == [
        "+1.2 points", "−0.4 points", "nothing", "",
    ]  # fmt: skip
