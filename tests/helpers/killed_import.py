"""A program that is killed in the middle of an import: `python killed_import.py TRAINING_SET LABEL PHOTO…`."""

import sys
from pathlib import Path

import pytest

from apitorch_desktop.ui.widgets.drag_drop import DroppedContent
from tests.helpers import app_runner as program
from tests.helpers.documented_program import listed


def steps(made):
    listed(made, 6)
    number, label, *photos = sys.argv[1:]
    made.imports.begin(DroppedContent(paths=tuple(map(Path, photos))), number, label)
    program.wait(lambda: False, "being killed")


program.run(pytest.MonkeyPatch(), steps)
