import re
from itertools import product
from pathlib import Path

import pytest
from PySide6.QtCore import QSize, Qt
from PySide6.QtGui import QFont
from PySide6.QtWidgets import QApplication

from apitorch_desktop.ui.theme import tokens
from apitorch_desktop.ui.theme.theme import Theme, style_sheet
from apitorch_desktop.ui.theme.tokens import DARK, LIGHT
from apitorch_desktop.utils.paths import resources

SURFACES = ("canvas", "side", "panel", "behind_accent", "bar")
WORDS = ("text", "muted", "accent_text", "good_text", "warn_text", "bad_text")


def luminance(color):
    parts = [int(color[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    """WCAG 2.1, 1.4.3."""
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("scheme", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize(("word", "surface"), list(product(WORDS, SURFACES)))
def test_words_can_be_read_on_every_surface(scheme, word, surface):
    assert contrast(getattr(scheme, word), getattr(scheme, surface)) >= 4.5


@pytest.mark.parametrize("scheme", [LIGHT, DARK], ids=["light", "dark"])
def test_words_can_be_read_on_the_filled_button_and_on_what_is_selected(scheme):
    assert contrast(scheme.on_strong, scheme.strong) >= 4.5
    assert contrast(scheme.on_strong, scheme.accent_text) >= 4.5  # the button under the pointer


def test_the_page_of_rules_shows_the_tokens_as_they_are():
    page = (Path(tokens.__file__).parent / "LOOK.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\w+) \| (#\w{6}) \| (#\w{6}) \|", page, re.MULTILINE)
    names = [name for name in LIGHT._fields if name != "dark"]
    assert rows == [(name, getattr(LIGHT, name), getattr(DARK, name)) for name in names]


@pytest.fixture
def theme(qapp):
    theme = Theme(resources())
    theme.apply(qapp)
    return theme


def test_follows_the_system_into_the_dark_and_back(theme, qapp, qtbot):
    with qtbot.waitSignal(theme.changed, timeout=60_000):
        qapp.styleHints().colorSchemeChanged.emit(Qt.ColorScheme.Dark)  # as the platform does
    assert theme.tokens is DARK
    assert qapp.palette().window().color().name() == DARK.panel
    with qtbot.waitSignal(theme.changed, timeout=60_000):
        qapp.styleHints().colorSchemeChanged.emit(Qt.ColorScheme.Light)
    assert theme.tokens is LIGHT
    assert qapp.palette().text().color().name() == LIGHT.text


def test_the_persons_choice_wins_over_the_system(theme, qapp):
    theme.set_scheme("dark")
    qapp.styleHints().colorSchemeChanged.emit(Qt.ColorScheme.Light)
    assert theme.tokens is DARK
    theme.set_scheme("system")
    assert theme.tokens is LIGHT


def test_sizes_grow_with_the_systems_type(qapp):
    before = QApplication.font()
    large = QFont(before)
    large.setPointSizeF(19.5)
    qapp.setFont(large)
    try:
        theme = Theme(resources())
        theme.prepare(qapp)
        dots = qapp.primaryScreen().logicalDotsPerInch() / 96
        assert theme.px(28) == pytest.approx(56 * dots, abs=1)
        assert theme.font("answer").pointSizeF() == pytest.approx(22.5)
    finally:
        qapp.setFont(before)


def test_the_style_sheet_scales_lengths_and_knows_every_token():
    made = style_sheet((resources() / "theme" / "window.qss").read_text(), LIGHT, 2)
    assert "$" not in made
    assert "border: 1px solid #e4e2df" in made
    assert "font-size: 30px" in made
    assert not re.search(r"\b28px", made)


def test_every_icon_named_in_the_source_is_there_and_takes_the_texts_color(theme):
    source = Path(__file__).parents[3] / "apitorch_desktop" / "ui"
    call = re.compile(r"""(?:theme\.icon\(|icon_button\(\s*(?:self\._)?theme,\s*)"([\w-]+)\"""")
    named = {name for path in source.rglob("*.py") for name in call.findall(path.read_text())}
    assert len(named) > 8
    for name in named:
        image = theme.icon(name).pixmap(QSize(32, 32)).toImage()
        colors = {
            image.pixelColor(x, y).name() for x in range(32) for y in range(32) if image.pixelColor(x, y).alpha() == 255
        }
        assert colors == {theme.tokens.text}, name


def test_an_icon_that_is_disabled_is_muted(theme):
    from PySide6.QtGui import QIcon

    image = theme.icon("plus").pixmap(QSize(32, 32), 1.0, QIcon.Mode.Disabled).toImage()
    seen = [image.pixelColor(x, 16) for x in range(32) if image.pixelColor(x, 16).alpha() > 100]
    assert seen
    for color in seen:
        assert abs(color.red() - theme.color("muted").red()) <= 2
