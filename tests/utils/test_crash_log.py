import subprocess
import sys

from apitorch_desktop.utils.crash_log import CrashLog

CRASH = """
import faulthandler, sys
from pathlib import Path
from apitorch_desktop.utils.crash_log import CrashLog
log = CrashLog(Path(sys.argv[1]), "9.9")
log.open()
if sys.argv[2] == "crash":
    faulthandler._sigsegv()
if sys.argv[2] == "error":
    raise RuntimeError("secret name of a photo")
if sys.argv[2] == "thread":
    import threading
    def work():
        raise RuntimeError("secret name of a photo")
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
log.close()
"""


def run(folder, how):
    return subprocess.run([sys.executable, "-c", CRASH, str(folder), how], capture_output=True, text=True)


def reported(folder):
    log = CrashLog(folder, "9.9")
    log.open()
    log.close()
    return log.report()


def test_a_crash_of_native_code_is_reported_at_the_next_start(tmp_path):
    assert run(tmp_path, "crash").returncode < 0
    assert "Segmentation fault" in reported(tmp_path)


def test_an_exception_that_nobody_handled_is_reported_without_its_message(tmp_path):
    for how in ("error", "thread"):
        done = run(tmp_path, how)
        assert "secret name of a photo" in done.stderr, "the usual hook still runs"
        report = reported(tmp_path)
        assert "9.9" in report
        assert "unhandled builtins.RuntimeError" in report
        assert "secret" not in report.replace('secret name of a photo")', "")


def test_a_run_that_ended_well_leaves_no_report(tmp_path):
    run(tmp_path, "well")
    assert reported(tmp_path) == ""


def test_a_report_stays_until_it_is_discarded(tmp_path):
    run(tmp_path, "crash")
    first = reported(tmp_path)
    assert reported(tmp_path) == first
    CrashLog(tmp_path, "9.9").discard()
    assert reported(tmp_path) == ""


def test_a_folder_that_cannot_be_written_is_ignored(tmp_path):
    (tmp_path / "file").write_text("")
    log = CrashLog(tmp_path / "file" / "folder", "9.9")
    log.open()
    assert log.report() == ""
    log.close()
