"""Import and export by the command against `curl --parallel` and the published client: the same service, in turn.

    python tests/benchmarks/bench_transfers.py PHOTOS_FOLDER [IMAGES] [ROUNDS]

PHOTOS_FOLDER is searched for *.jpg; they are taken several times over, each made another image by a few bytes at its end.
Prints the medians and the median of the ratios round by round. Aims: the import no slower than `curl --parallel
--parallel-max 8`, the export 1/.6 as fast, and 5 times as fast as the published client. Of ours all is measured, from
Python's start and the look at the files to the last line; of the published client the call alone, without its imports.
"""

import base64
import itertools
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import requests

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.helpers.service_process import Service, serving

_PUBLISHED = """
import pathlib, sys, time
from apitorch.training_set import download_images
begun = time.perf_counter()
download_images(int(sys.argv[1]), pathlib.Path(sys.argv[2]))
print("took", time.perf_counter() - begun)
"""


def timed(command: list[str], service: Service, **more: str) -> float:
    environment = os.environ | {"APITORCH_BASE_URL": service.url, "APITORCH_API_KEY": service.key, **more}
    start = time.perf_counter()
    done = subprocess.run(command, check=True, env=environment, stdout=subprocess.PIPE, text=True)
    whole = time.perf_counter() - start
    said = [line.split() for line in done.stdout.splitlines() if line.startswith("took ")]
    return float(said[0][1]) if said else whole


def ours(service: Service, scratch: Path, *arguments: str) -> float:
    """The command in a home of its own, with its bytecode stored, as it is where the program was installed."""
    places = {
        "APITORCH_DESKTOP_HOME": str(scratch / f"home-{time.monotonic_ns()}"),
        "PYTHONDONTWRITEBYTECODE": "",
        "PYTHONPYCACHEPREFIX": str(scratch / "bytecode"),
    }
    return timed([sys.executable, "-m", "apitorch_desktop", *arguments], service, **places)


def curl_up(service: Service, set_id: int, folder: Path, scratch: Path) -> float:
    parts = [
        f'url = "{service.url}training-set/{set_id}/{path.parent.name}/image"\nuser = "{service.key}:"\n'
        f'form = "image=@{path}"\noutput = /dev/null\n'
        for path in sorted(folder.glob("*/*.jpg"))
    ]
    config = scratch / "up.curl"
    config.write_text("next\n".join(parts))
    return timed(["curl", "--silent", "--fail", "--parallel", "--parallel-max", "8", "--config", str(config)], service)


def curl_down(service: Service, set_id: int, folder: Path, scratch: Path) -> float:
    listing = service.call("GET", f"training-set/{set_id}/images").json()
    lines = [
        f'url = "{image["url"]}"\noutput = "{folder / listing["training_set_slug"] / group["label"] / image["filename"]}"\n'
        for group in listing["data"]
        for image in group["images"]
    ]
    config = scratch / "down.curl"
    config.write_text("".join(lines))
    command = ["curl", "--silent", "--fail", "--create-dirs", "--parallel", "--parallel-max", "8"]
    return timed([*command, "--config", str(config)], service)


def many(photos: Path, folder: Path, images: int) -> None:
    paths = sorted(photos.rglob("*.jpg"))
    for number, path in zip(range(images), itertools.cycle(paths), strict=False):
        target = folder / f"label_{number % 10}" / f"{number}.jpg"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes() + base64.b16encode(os.urandom(8)))


def tell(what: str, rounds: list[dict[str, float]], base: str) -> None:
    medians = {name: statistics.median(one[name] for one in rounds) for name in rounds[0]}
    print(f"{what}: " + ", ".join(f"{name} {seconds:.2f} s" for name, seconds in medians.items()))
    for name in medians:
        if name != base:
            ratio = statistics.median(one[name] / one[base] for one in rounds)
            print(f"    {base} is {ratio:.2f} times as fast as {name} (median of {len(rounds)} rounds)")


def main(photos: str, images: str = "1000", rounds: str = "3") -> None:
    ups: list[dict[str, float]] = []
    downs: list[dict[str, float]] = []
    with tempfile.TemporaryDirectory() as place:
        scratch = Path(place)
        with serving(scratch / "service") as service:
            for command in ("import", "export"):
                ours(service, scratch, command, "--help")
            for turn in range(int(rounds)):
                times: dict[str, float] = {}
                folders = [scratch / "photos", scratch / "others"]  # what is there already is quicker to store
                for folder in folders:
                    many(Path(photos), folder, int(images))
                name = f"Ours {turn}"
                first, second = service.new_set(name), service.new_set(f"Curl {turn}")
                sides = {
                    "ours": partial(ours, service, scratch, "import", "--name", name, str(folders[0])),
                    "curl": partial(curl_up, service, second, folders[1], scratch),
                }
                for who in sorted(sides, reverse=turn % 2 == 1):
                    times[who] = sides[who]()
                    until_at_rest(service, first if who == "ours" else second)
                ups.append(dict(sorted(times.items(), reverse=True)))
                counts = [count_of(service, one) for one in (first, second)]
                assert counts == [int(images)] * 2, counts
                service.call("DELETE", f"training-set/{second}")
                out = [scratch / f"out{turn}{who}" for who in "abc"]
                for one in out:
                    one.mkdir()
                downs.append(
                    {
                        "ours": ours(service, scratch, "export", str(first), str(out[0])),
                        "curl": curl_down(service, first, out[1], scratch),
                        "apitorch": timed([sys.executable, "-c", _PUBLISHED, str(first), str(out[2])], service),
                    }
                )
                assert [len(list(one.glob("*/*/*.jpg"))) for one in out] == [int(images)] * 3
                for one in [*folders, *out]:
                    shutil.rmtree(one)
                service.call("DELETE", f"training-set/{first}")
    tell(f"Upload of {images} images", ups, "ours")
    tell(f"Download of {images} images", downs, "ours")


def until_at_rest(service: Service, set_id: int) -> None:
    """Until what came in is learned, which takes the service a while."""
    slug = service.call("GET", f"training-set/{set_id}/images").json()["training_set_slug"]
    while service.call("GET", f"classifier/{slug}").json()["status"] != "ready":
        time.sleep(0.5)


def count_of(service: Service, set_id: int) -> int:
    answer = requests.get(f"{service.url}training-set/{set_id}/images", auth=(service.key, ""), timeout=60).json()
    return sum(len(group["images"]) for group in answer["data"])


if __name__ == "__main__":
    main(*sys.argv[1:])
