import pkgutil
import subprocess
import sys

import pytest

import apitorch_desktop

_BARRED = """
import importlib, sys

class Bar:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("PySide6", "shiboken6"):
            raise ImportError(f"{name} is barred")

sys.meta_path.insert(0, Bar())
for name in sys.argv[1:]:
    importlib.import_module(name)
try:
    import PySide6
except ImportError:
    print("barred")
"""


def test_everything_but_the_window_imports_without_qt():
    names = [
        module.name
        for module in pkgutil.walk_packages(apitorch_desktop.__path__, "apitorch_desktop.")
        if not module.name.startswith("apitorch_desktop.ui") and not module.name.endswith("__main__")
    ]
    assert len(names) > 10
    done = subprocess.run([sys.executable, "-c", _BARRED, *names], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "barred"


_START = """
import sys
import apitorch_desktop.cli.main, apitorch_desktop.ui.app
print(" ".join(sorted({name.partition(".")[0] for name in sys.modules})))
"""


def test_heavy_libraries_wait_until_the_window_is_painted():
    done = subprocess.run([sys.executable, "-c", _START], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    heavy = {
        "scipy",
        "sklearn",
        "sqlalchemy",
        "onnxruntime",
        "keyring",
        "numpy",
        "requests",
        "PIL",
        "obstore",
        "starlette",
    }
    assert not loaded & heavy


_COMMAND = """
import sys
from apitorch_desktop.cli.main import _COMMANDS, make_parser
command = sys.argv[1]
alone = make_parser(command)
of_data_sets = [name for name in sys.modules if name.startswith("apitorch_desktop.dataset.importer")]
whole = make_parser()
assert alone.format_help() == whole.format_help()
subparsers = [parser._subparsers._group_actions[0].choices for parser in (alone, whole)]
assert [list(each) for each in subparsers] == [list(_COMMANDS)] * 2
assert subparsers[0][command].format_help() == subparsers[1][command].format_help()
print(len(of_data_sets))
"""


@pytest.mark.parametrize("command", ["serve", "keys", "service", "import", "export", "classify", "watch"])
def test_a_command_has_all_of_its_options_and_loads_no_other_ones(command):
    done = subprocess.run([sys.executable, "-c", _COMMAND, command], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (int(done.stdout) > 0) == (command in {"import", "classify", "watch"})
