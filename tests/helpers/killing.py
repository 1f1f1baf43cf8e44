"""Programs that are killed while they work."""

import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

_ROOT = Path(__file__).parents[2]


def kill_at_work(command: Sequence[str], lines: int, seconds: float) -> None:
    """Start a program of this repository, and kill it so many seconds after it has written so many lines."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=_ROOT) as process:
        assert process.stdout is not None
        for _ in range(lines):
            assert process.stdout.readline()
        time.sleep(seconds)
        process.kill()
