"""The plan dialog of an import, as tests of the real program wait for it and close it."""

from apitorch_desktop.ui.importer.dialog import ImportDialog
from tests.helpers import app_runner as program
from tests.helpers import x11_pointer as pointer
from tests.helpers.app_runner import dialog


def shown_plan():
    plan = program.wait(lambda: dialog(ImportDialog), "the plan")
    program.wait(lambda: plan.plan is not None and not plan._checks.comparing, "what came")
    program.wait(plan.isActiveWindow, "the focus in the plan")
    return plan


def closed(made):
    pointer.key("Escape")
    program.wait(lambda: dialog(ImportDialog) is None, "the plan closed")
    made.window.activateWindow()
