"""What the subcommand classify does: many pictures, one classifier; answers as lines, or as a CSV file."""

import csv
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from time import sleep

from apitorch_desktop.api.client import ApiClient
from apitorch_desktop.api.types import Classification
from apitorch_desktop.cli import output
from apitorch_desktop.cli.main import CommandError
from apitorch_desktop.dataset.importer.plan import PlanItem
from apitorch_desktop.utils.files import atomic_write


def classify_files(
    client: "ApiClient", images: Sequence[str | Path], classifier: str, table: Path | None = None
) -> int:
    """`classify IMAGE… --classifier SLUG [--csv FILE]`; files, folders and web addresses. The exit status."""
    from apitorch_desktop.dataset.batch import classify
    from apitorch_desktop.dataset.importer.plan import scan
    from apitorch_desktop.dataset.sources.archives import Archives
    from apitorch_desktop.dataset.sources.image_lists import is_url

    _await(client, classifier, output.ProgressLine())
    plan = scan([str(image) if is_url(str(image)) else Path(image) for image in images])
    items = plan.items
    if not items:
        raise CommandError("There is no picture to classify.")
    line = output.ProgressLine(quiet=table is None)
    archives = Archives()
    wrong: list[tuple[str, str]] = []

    def one(item: "PlanItem") -> "Classification | str":
        return item.problem or classify(client.classify, [classifier], item.source, archives)[classifier]

    with _table(table) as write, ThreadPoolExecutor(4, "classify") as pool:
        try:
            for number, (item, answer) in enumerate(zip(items, pool.map(one, items), strict=True), 1):
                if isinstance(answer, str):
                    wrong.append((output.place(item.source), answer))
                write(output.place(item.source), classifier, answer)
                line.show(f"{number:,} of {len(items):,} pictures")
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    line.clear()
    archives.close()
    for note in plan.notes:
        output.say(note)
    if table is not None:
        output.say(f"{output.pictures(len(items) - len(wrong))} classified; the answers are in {output.shown(table)}.")
    output.listed("not classified", wrong)
    return 1 if wrong or not plan.complete else 0


def _await(client: "ApiClient", slug: str, line: output.ProgressLine) -> None:
    """Wait until a classifier can answer: one that is still learning will, soon. Raises CommandFailed."""
    from apitorch_desktop.api.errors import NotFound
    from apitorch_desktop.api.slugs import slugify

    slugs = [one.slug if isinstance(one.slug, str) else slugify(one.name) for one in client.classifiers()]
    learns = "training" in (client.ping().extensions or [])
    while learns or slug not in slugs:
        try:
            state = client.classifier(slug) if learns else None
        except NotFound:
            state = None
        if state is None:
            raise CommandError(f"There is no classifier “{slug}”. {output.there_are(slugs)}")
        if isinstance(state.version, int) or state.status not in ("training", "needs_images", "failed"):
            break
        said = str(state.status_message or "")
        if state.status != "training":
            raise CommandError(f"“{slug}” cannot answer yet. {said}".strip())
        line.show(f"“{slug}” is learning. {said}")
        sleep(0.2)
    line.clear()


@contextmanager
def _table(path: Path | None) -> "Iterator[Callable[[str, str, Classification | str], None]]":
    """Where answers go: a line each on standard output, or rows of a CSV file that appears whole."""
    from apitorch_desktop.dataset.batch import COLUMNS, cells

    if path is None:
        yield lambda place, _classifier, answer: output.say(_row_of(place, answer))
        return
    try:
        with atomic_write(path) as part, part.open("x", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(COLUMNS)

            yield lambda place, classifier, answer: writer.writerow(cells(place, classifier, answer))
    except OSError as error:
        raise CommandError(f"“{output.shown(path)}” cannot be written: {error.strerror}.") from None


def _row_of(place: str, answer: "Classification | str") -> str:
    if isinstance(answer, str):
        return f"{place}: not classified. {answer}"
    word, value = _known(answer.confidence), _known(answer.confidence_value)
    sure = f" ({word}{', ' if word and value else ''}{value})" if word or value else ""
    return f"{place}: {answer.label}{sure}"


def _known(value: object) -> str:
    return value if isinstance(value, str) else ""
