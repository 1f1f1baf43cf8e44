"""One table of all subjects: what each is measured against, the goal, and the value.

    xvfb-run -s "-screen 0 1600x1000x24" python tests/benchmarks/all.py [WORD…]

Runs the benchmarks one after the other, on an idle machine; with words only those whose file name has one of them. Each
value is read from what its benchmark prints, the worst where it prints several. `-` stands for one that printed none.
"""

import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent
PHOTOS = HERE.parents[2] / "shared" / "data" / "clothing" / "train"


class Subject(NamedTuple):
    """A row: the benchmark with its arguments, where its output has the value, and the goal, "<= 1.5" or ">= 5"."""

    script: str
    what: str
    against: str
    pattern: str
    goal: str


CURATING, OPENING, GRID, UP = "curating 100000 1", "opening 1000000", "grid", f"transfers {PHOTOS} 600 3"
SUBJECTS = (
    Subject("first_paint", "first paint", "a bare QMainWindow", r"ratio ([\d.]+)", "<= 1.1"),
    Subject(
        OPENING,
        "first thumbnails of a set of 1,000,000",
        "one of 1,000",
        r"first thumbnails: .*ratio ([\d.]+)",
        "<= 1.5",
    ),
    Subject(OPENING, "memory of the window, 1,000,000", "1,000 photos", r"(?m)^memory: .*ratio ([\d.]+)", "<= 2.5"),
    Subject(
        "opening 100000", "memory of the window, 100,000", "1,000 photos", r"(?m)^memory: .*ratio ([\d.]+)", "<= 1.3"
    ),
    Subject(
        CURATING, "GUI thread busy in any act, 100,000 (ms)", "", r"(?m)^(?:  )?\w.{43,44}\s*\d+\s+(\d+)\s+\d+", "<= 50"
    ),
    Subject(
        CURATING,
        "5,000 deleted, until answered (ms)",
        "",
        r"(?m)^delete a label with its 500\s+\d+\s+\d+\s+(\d+)",
        "<= 2000",
    ),
    Subject(
        CURATING,
        "that undone, until answered (ms)",
        "",
        r"(?m)^  undo: delete a label with its 500\s+\d+\s+\d+\s+(\d+)",
        "<= 2000",
    ),
    Subject(GRID, "grid of 100,000: page scroll", "QListView in icon mode", r"page scroll .*ms\s+([\d.]+)", "<= 1"),
    Subject(
        GRID, "grid of 100,000: reset and paint", "QListView in icon mode", r"reset and paint .*ms\s+([\d.]+)", "<= .05"
    ),
    Subject(GRID, "grid of 100,000: select all", "QListView in icon mode", r"select all .*ms\s+([\d.]+)", "<= .05"),
    Subject(GRID, "grid of 100,000: first paint", "QListView in icon mode", r"first paint .*ms\s+([\d.]+)", "<= .05"),
    Subject(
        "gui_lateness", "timer while 600 come in, worst (ms)", "a bare window", r"(?m)^ours.*?worst (\d+) ms", "<= 50"
    ),
    Subject(
        "vision",
        "thumbnails, 500 × 375",
        "Pillow’s thumbnail",
        r"500 × 375: .*?; ([\d.]+)× as fast as Pillow",
        ">= 1.2",
    ),
    Subject(
        "vision",
        "thumbnails, 12 megapixels",
        "Pillow’s thumbnail",
        r"12 megapixels: .*?; ([\d.]+)× as fast as Pillow",
        ">= 1.3",
    ),
    Subject("vision", "encoding", "the bare network", r"([\d.]+) of the bare network", "<= 1.15"),
    Subject("service", "ping", "the bare app", r"(?m)^ping: .*ratio ([\d.]+)", "<= 1.1"),
    Subject("service", "classify one", "the encoder alone", r"(?m)^classification by .*ratio ([\d.]+)", "<= 1.15"),
    Subject("service", "listing of 100,000, MessagePack", "a bare SELECT", r"(?m)^listing of .*ratio ([\d.]+)", "<= 2"),
    Subject(
        "service",
        "1,000 durable uploads of 100 kB",
        "an app that writes the file",
        r"uploads of 100 kB.*ratio ([\d.]+)",
        "<= 2",
    ),
    Subject("review 100000", "first findings of Review, 100,000 (s)", "", r"first findings after ([\d.]+)", "<= 10"),
    Subject("training 100000", "100,000 learned in batches: memory", "in memory", r"batches take ([\d.]+)", "<= .2"),
    Subject("similar", "the most similar", "brute force", r"(?m)^the first [\d,]+: .*ratio ([\d.]+)", "<= 1"),
    Subject(
        UP,
        "import of 600 by the command: times as fast",
        "curl --parallel 8",
        r"Upload of 600.*\n.*?([\d.]+) times as fast as curl",
        ">= 1",
    ),
    Subject(
        UP,
        "export of 600 by the command: times as fast",
        "the published client",
        r"Download of 600[\s\S]*?([\d.]+) times as fast as apitorch",
        ">= 5",
    ),
    Subject(
        UP,
        "export of 600 by the command: times as fast",
        "curl --parallel 8",
        r"Download of 600[\s\S]*?([\d.]+) times as fast as curl",
        ">= 1.67",
    ),
)


def value_of(subject: Subject, output: str) -> float | None:
    """Return the worst value that an output has of a subject, None for none."""
    found = [float(value) for value in re.findall(subject.pattern, output)]
    if not found:
        return None
    return max(found) if subject.goal.startswith("<") else min(found)


def is_met(subject: Subject, value: float) -> bool:
    """Return whether a value is within the goal."""
    sign, limit = subject.goal.split()
    return value <= float(limit) if sign == "<=" else value >= float(limit)


def main(*words: str) -> int:
    chosen = [one for one in SUBJECTS if not words or any(word in one.script.split()[0] for word in words)]
    outputs: dict[str, str] = {}
    for script in dict.fromkeys(one.script for one in chosen):
        name, *arguments = script.split()
        print(f"running bench_{name}.py …", file=sys.stderr, flush=True)
        done = subprocess.run(
            [sys.executable, str(HERE / f"bench_{name}.py"), *arguments], capture_output=True, text=True, check=False
        )
        outputs[script] = done.stdout
        if done.returncode:
            print(done.stdout, done.stderr, sep="\n", file=sys.stderr)
    print(f"{'what':<44}{'against':<30}{'goal':>10}{'value':>12}")
    missed = 0
    for one in chosen:
        value = value_of(one, outputs[one.script])
        met = value is not None and is_met(one, value)
        missed += not met
        shown = "-" if value is None else f"{value:g}"
        print(f"{one.what:<44}{one.against:<30}{one.goal:>10}{shown:>12}{'' if met else '  missed'}")
    return missed


if __name__ == "__main__":
    sys.exit(bool(main(*sys.argv[1:])))
