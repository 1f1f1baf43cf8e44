"""Slots: PySide passes a signal's arguments to a `functools.partial` for some signals and not for others."""

import re
from pathlib import Path

import apitorch_desktop.ui


def test_no_signal_is_connected_to_a_partial():
    root = Path(apitorch_desktop.ui.__file__).parent
    found = [
        str(path)
        for path in root.rglob("*.py")
        if re.search(r"\.connect\(\s*(functools\.)?partial\(", path.read_text())
    ]
    assert found == []
