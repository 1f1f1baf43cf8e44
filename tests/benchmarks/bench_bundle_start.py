"""Cold start of the bundle against that of the installed wheel: until the window is on the screen, A and B in turn.

    xvfb-run -s "-screen 0 1600x1000x24 -noreset" python tests/benchmarks/bench_bundle_start.py TARGET [RUNS]

TARGET is the folder of packaging/bundle/build.sh, which has both: the bundle, and the environment that the wheel was installed
in for it. Before each cold start the files of both are dropped from the page cache. Prints the medians, and the median of the
ratios pair by pair, cold and then warm. Aim: at most 2 when cold.
"""

import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def forget(folder: Path) -> None:
    """Drop the files of a folder from the page cache."""
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            file = os.open(path, os.O_RDONLY)
            os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(file)


def seconds(command: Path) -> float:
    """Seconds until the window of a command is shown, with a data folder of its own."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as home:
        start = time.perf_counter()
        environment = {**os.environ, "APITORCH_DESKTOP_HOME": home}
        process = subprocess.Popen([command], env=environment, start_new_session=True, stderr=subprocess.DEVNULL)
        search = ["xdotool", "search", "--sync", "--onlyvisible", "--name", "^API Torch Desktop$"]
        subprocess.run(search, check=True, stdout=subprocess.DEVNULL, timeout=120)
        taken = time.perf_counter() - start
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        while subprocess.run([*search[:2], *search[3:]], stdout=subprocess.DEVNULL).returncode == 0:
            time.sleep(0.05)
    return taken


def main(target: str, runs: int = 7) -> None:
    folders = [Path(target, "env").resolve(), Path(target, "apitorch-desktop").resolve()]
    commands = [folders[0] / "bin" / "apitorch-desktop", folders[1] / "apitorch-desktop"]
    for name, cold in (("cold", True), ("warm", False)):
        pairs = []
        for _ in range(runs):
            pair = []
            for command in commands:
                for folder in folders if cold else ():
                    forget(folder)
                pair.append(seconds(command))
            pairs.append(pair)
        wheel, bundle = (statistics.median(column) for column in zip(*pairs, strict=True))
        ratio = statistics.median(b / a for a, b in pairs)
        print(f"{name}: wheel {wheel:.2f} s, bundle {bundle:.2f} s, ratio {ratio:.2f} (median of {runs} pairs)")


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
