"""How late a 10 ms timer on the GUI thread gets while 600 photos come in: the real program, its whole process measured.

    xvfb-run -s "-screen 0 1600x1000x24" python tests/benchmarks/bench_gui_lateness.py [FOLDER]

Prints the worst lateness, the 99.9th percentile and how long it took, from *Import* to the classifier's first answer, and
the most processor time the GUI thread took between two ticks, which does not depend on what else the machine does.
Aim on an idle machine: never later than 50 ms. For comparison the same timer runs in a bare QMainWindow beside a service
that is sent the same photos by another process: what the machine itself does to a window that does nothing.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

PHOTOS = Path(__file__).parents[3] / "shared" / "data" / "clothing" / "train"


class Lateness:
    """A 10 ms timer and how late it was, in milliseconds, with what the main thread did then."""

    def __init__(self):
        from PySide6.QtCore import Qt, QTimer

        self.late, self.busy = [], []
        self.spent = time.thread_time()
        self.last = time.perf_counter()
        self.timer = QTimer(interval=10, timerType=Qt.TimerType.PreciseTimer)
        self.timer.timeout.connect(self.tick)
        self.timer.start()

    def tick(self):
        now = time.perf_counter()
        spent = time.thread_time()
        self.late.append((now - self.last - 0.010) * 1000)
        self.busy.append((spent - self.spent) * 1000)
        self.last, self.spent = now, spent

    def report(self, name, began):
        late = sorted(self.late)
        print(
            f"{name}: worst {late[-1]:.0f} ms, 99.9 % below {late[int(len(late) * 0.999)]:.0f} ms, "
            f"median {statistics.median(late):.1f} ms, {len(late)} ticks in {time.perf_counter() - began:.1f} s; "
            f"the GUI thread itself worked {max(self.busy):.0f} ms at most between two ticks",
            flush=True,
        )


def ours(folder):
    """In a child: the program, its plan accepted, until everything is in and learned."""
    from PySide6.QtCore import QTimer
    from PySide6.QtWidgets import QApplication

    from apitorch_desktop.cli.main import main

    run = QApplication.exec

    def watched(*_):
        from apitorch_desktop.ui.bootstrap import Bootstrap
        from apitorch_desktop.ui.importer.dialog import ImportDialog
        from apitorch_desktop.ui.main_window.main_window import MainWindow

        state = {}
        if "STACKS" in os.environ:
            threading.Thread(target=stacks, args=(state,), daemon=True).start()

        def look():
            tops = QApplication.topLevelWidgets()
            dialog = next((one for one in tops if isinstance(one, ImportDialog) and one.isVisible()), None)
            if dialog is not None and dialog.start.isEnabled():
                dialog.start.click()
                state["began"] = time.perf_counter()
                state["lateness"] = Lateness()
                return
            if "began" not in state:
                return
            made = next(one for one in tops if isinstance(one, MainWindow)).findChild(Bootstrap)
            open_set = made.session.open_set
            classifier = open_set.classifier_status.classifier if open_set is not None else None
            if made.model.total >= count and classifier is not None and classifier.status == "ready":
                state["lateness"].report(f"ours, {made.model.total} photos", state["began"])
                timer.stop()
                made.window.close()

        timer = QTimer(interval=100)
        timer.timeout.connect(look)
        timer.start()
        return run()

    count = sum(1 for path in folder.rglob("*") if path.is_file())
    QApplication.exec = watched
    main([str(folder)])


def stacks(state):
    """With STACKS set: where the main thread is whenever the timer is more than 30 ms late."""
    import traceback

    main_id = threading.main_thread().ident
    while True:
        time.sleep(0.005)
        lateness = state.get("lateness")
        if lateness and time.perf_counter() - lateness.last > 0.040:
            print("".join(traceback.format_stack(sys._current_frames()[main_id])[-6:]), file=sys.stderr)
            time.sleep(0.05)


def bare(folder):
    """In a child: a window that does nothing, while the same photos go from another process to a service."""
    from PySide6.QtCore import QTimer
    from PySide6.QtWidgets import QApplication, QMainWindow

    app = QApplication([])
    window = QMainWindow()
    window.resize(1440, 900)
    window.show()
    command = [sys.executable, "-m", "apitorch_desktop", "import", str(folder), "--name", "Bare"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    began = time.perf_counter()
    lateness = Lateness()
    ended = QTimer(interval=50)
    ended.timeout.connect(lambda: process.poll() is not None and app.quit())
    ended.start()
    app.exec()
    lateness.report("bare window", began)


def main(folder=PHOTOS):
    for which in ("bare", "ours"):
        with tempfile.TemporaryDirectory() as home:
            env = {**os.environ, "APITORCH_DESKTOP_HOME": home}
            subprocess.run([sys.executable, __file__, "--child", which, str(folder)], env=env, check=True, timeout=600)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        {"ours": ours, "bare": bare}[sys.argv[2]](Path(sys.argv[3]))
    else:
        main(*map(Path, sys.argv[1:]))
