"""Memory and processor time of a training, by the number of images: embeddings held in memory, and read in batches.

    python tests/benchmarks/bench_training.py [IMAGES…]

Made embeddings of the built-in encoder's length, with 20 labels, are written straight to a store in the folder for temporary
files: 13 kB an image, and 8 kB while they are learned in batches. Each training runs in a process of its own. Prints its
peak resident memory, what of it came after the start, and the CPU seconds of one core to load, to find near-duplicates (which
grow with the square of the images) and for all the rest. Up to `training_data.WHOLE` images both ways, above it batches.
"""

import json
import logging
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from apitorch_desktop.service.classifiers import training_data
from apitorch_desktop.service.classifiers.head_cache import decode_metrics
from apitorch_desktop.service.classifiers.training import train_and_store
from apitorch_desktop.service.storage.store import Store
from tests.helpers.made_embeddings import made_set

LABELS, DIMENSIONS, SIZES = 20, 2_888, (100_000, 300_000)
APART = 0.12  # so that some nine of ten are answered right


def resident(kind: str) -> float:
    """Return the resident memory of this process in MB: VmHWM the peak, VmRSS now."""
    found = re.search(rf"{kind}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found
    return int(found[1]) / 1000


def learn(folder: Path, number: int, whole: int) -> dict[str, float]:
    """Train once in this process, with up to `whole` images in memory."""
    logging.disable(logging.ERROR)  # no image is behind the embeddings
    training_data.WHOLE = whole
    seconds: dict[str, float] = {}

    def timed(what: str, work: Callable[..., Any]) -> Callable[..., Any]:
        def run(*given: object, **options: object) -> object:
            start = time.process_time()
            result = work(*given, **options)
            seconds[what] = time.process_time() - start
            return result

        return run

    training_data.sibling_groups = timed("near", training_data.sibling_groups)
    with Store.open(folder) as store:
        begun, before = time.perf_counter(), resident("VmRSS")
        data = timed("load", training_data.load)(store, number, "made", lambda _sha256: False)
        timed("learn", train_and_store)(store, data, holder=None, cancelled=lambda _: False, use=lambda _: None)
        row = store.models.head(number)[0]
    return {
        "peak": resident("VmHWM"),
        "before": before,
        "accuracy": decode_metrics(row).accuracy,
        "elapsed": time.perf_counter() - begun,
        **seconds,
    }


def main(*sizes: int) -> None:
    print("images: peak memory (since the start); CPU seconds: load + near-duplicates + the rest")
    for images in sizes or SIZES:
        peaks = []
        with tempfile.TemporaryDirectory() as folder:
            number = made_set(Path(folder) / "data", "made", images, LABELS, DIMENSIONS, apart=APART)
            ways = {"in memory": images, "in batches": 0} if images <= training_data.WHOLE else {"in batches": 0}
            for way, whole in ways.items():
                command = [sys.executable, __file__, "--one", str(Path(folder) / "data"), str(number), str(whole)]
                found = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
                peaks.append(found["peak"])
                print(
                    f"{images:,} {way}: {found['peak']:,.0f} MB ({found['peak'] - found['before']:,.0f} MB); "
                    f"{found['load']:.0f} + {found['near']:.0f} + {found['learn'] - found['near']:.0f} s "
                    f"({found['elapsed']:.0f} s elapsed); accuracy {found['accuracy']:.4f}",
                    flush=True,
                )
        if len(peaks) > 1:
            print(f"{images:,}: batches take {peaks[1] / peaks[0]:.2f} of the memory", flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        print(json.dumps(learn(Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))))
    else:
        main(*map(int, sys.argv[1:]))
