"""A program that is killed while it classifies a local file by way of the scratch label: `python dying_window.py PHOTO`."""

import sys
from pathlib import Path

import pytest

from apitorch_desktop.ui.classify.scratch_permission import ScratchPermissionDialog
from apitorch_desktop.ui.widgets.drag_drop import DroppedContent
from tests.helpers import app_runner as program
from tests.helpers.app_runner import dialog
from tests.helpers.documented_program import listed


def steps(made):
    listed(made, 6)
    program.wait(lambda: made.session.classifiers, "the classifiers")
    made.classify_panel.set_classifiers(made.session.classifiers, ["work-safe"])
    made.classify.begin(DroppedContent(paths=(Path(sys.argv[1]),)))
    question = program.wait(lambda: dialog(ScratchPermissionDialog), "the question")
    question.allow.click()
    program.wait(lambda: False, "being killed")


program.run(pytest.MonkeyPatch(), steps)
