import csv
import json
import os
from pathlib import Path

import pytest
from msgspec import UNSET

from apitorch_desktop.api.errors import Conflict, NotFound, WrongKey
from apitorch_desktop.api.types import Alternative, Classification
from apitorch_desktop.dataset.batch.classification import BatchRow, classify, save_table, uploads_under_answers
from apitorch_desktop.dataset.sources.archives import Archives
from apitorch_desktop.dataset.sources.image_source import ImageBytes, ImageFile, ImageUrl, place_of
from apitorch_desktop.utils.text import neutralized, restored
from apitorch_desktop.vision import images
from tests.helpers.image_samples import raw_photo


def answer(classifier, label, value="", others=()):
    alternatives = [Alternative(label=name, confidence_value=share) for name, share in others]
    made = Classification(id="cls_1", classifier=classifier, label=label, sentence=f"Image is {label}.")
    if value:
        made.confidence_value, made.confidence = value, "high"
    if alternatives:
        made.alternatives = alternatives
    return made


def row(**answers):
    return BatchRow(ImageFile(Path("a.jpg")), "a.jpg", "a.jpg", answers=answers)


def test_disagreement_is_the_distance_between_distributions_of_the_same_labels():
    one = answer("a", "hat", "0.9", [("dress", "0.1")])
    other = answer("b", "dress", "0.6", [("hat", "0.4")])
    assert row(a=one, b=other).disagreement == pytest.approx(0.5)
    assert row(a=one, b=one).disagreement == 0


def test_classifiers_of_other_labels_are_not_compared():
    clothes = answer("a", "hat", "0.9", [("dress", "0.1")])
    safe = answer("b", "safe for work", "0.99", [("not safe for work", "0.01")])
    assert row(a=clothes, b=safe).disagreement is None
    assert row(a=clothes, b="It failed.").disagreement is None


def test_answers_without_values_agree_or_not():
    one, other = answer("a", "hat"), answer("b", "hat")
    assert row(a=one, b=other).disagreement == 0


def test_alternatives_without_values_do_not_hide_a_disagreement():
    hat, dress = answer("a", "hat", "", [("dress", UNSET)]), answer("b", "dress", "", [("hat", UNSET)])
    sure = answer("c", "dress", "0.9", [("hat", "0.1")])
    assert row(a=hat, b=dress).disagreement == 1
    assert row(a=hat, b=sure).disagreement == 1
    assert row(a=dress, b=sure).disagreement == 0


def test_where_one_of_several_is_refused_each_answers_for_itself(tmp_path):
    def ask(slugs, **given):
        if "young" in slugs:
            raise Conflict("“young” cannot answer yet.") if len(slugs) == 1 else NotFound("one of them")
        return [answer(slug, "hat", "0.8") for slug in slugs]

    answers = classify(ask, ["old", "young"], ImageUrl("https://example.org/a.jpg"), Archives())
    assert answers["old"].label == "hat"
    assert answers["young"] == "“young” cannot answer yet."


def test_a_classifier_that_gave_no_answer_is_asked_alone_for_its_reason(tmp_path):
    (tmp_path / "a.png").write_bytes(b"x")

    def service(slugs, **_given):
        if slugs == ["b"]:
            raise Conflict("It has no labels.")
        return [answer(slug, "cat") for slug in slugs if slug != "b"]

    answers = classify(service, ["a", "b", "c"], ImageFile(tmp_path / "a.png"), Archives())
    assert answers["a"].classifier == "a" and answers["c"].classifier == "c"
    assert "It has no labels." in answers["b"]


def test_a_raw_photo_larger_than_a_service_takes_is_sent_as_its_preview(tmp_path):
    (tmp_path / "a.nef").write_bytes(raw_photo() + bytes(images.MAX_BYTES))
    sent = {}

    def service(slugs, **given):
        sent.update(given)
        return [answer(slug, "cat") for slug in slugs]

    assert classify(service, ["a"], ImageFile(tmp_path / "a.nef"), Archives())["a"].label == "cat"
    assert sent["filename"] == "a.jpg" and images.verify(sent["data"]).format == "JPEG"


def test_a_photo_that_is_gone_is_said_and_a_wrong_key_ends_it(tmp_path):
    def refused(slugs, **given):
        raise WrongKey("no")

    with pytest.raises(WrongKey):
        classify(refused, ["a"], ImageBytes(b"x", "x"), Archives())


def test_images_are_added_under_answers_that_are_sure_enough():
    def named(name, found, sha256=""):
        return BatchRow(ImageUrl(f"http://x/{name}"), name, name, answers={"clothes": found}, sha256=sha256)

    none = answer("clothes", "hat", "0.95")
    none.none_of_these = True
    rows = [
        named("sure", answer("clothes", "T-Shirt", "0.9")),
        named("unsure", answer("clothes", "hat", "0.4")),
        named("without a value", answer("clothes", "hat")),
        named("nothing of it", none),
        named("no label", answer("clothes", "none_of_these", "0.95")),
        named("there", answer("clothes", "hat", "0.9"), sha256="aa"),
        named("failed", "Nothing answers."),
        BatchRow(ImageUrl("http://x/later"), "later", "later"),
    ]
    found = uploads_under_answers(rows, "clothes", 0.5, {"aa"})
    assert [(upload.label, upload.name) for upload in found.uploads] == [("t_shirt", "sure")]
    assert (found.unsure, found.none_of_these, found.there, found.unanswered) == (2, 2, 1, 2)
    every = uploads_under_answers(rows, "clothes", 0, ())
    assert [upload.name for upload in every.uploads] == ["sure", "unsure", "without a value", "there"]


def test_tables_hold_answers_and_failures_in_both_forms(tmp_path):
    rows = [row(clothes=answer("clothes", "hat", "0.81")), row(clothes='“b, "c".jpg” is no image.')]
    save_table(tmp_path / "a.csv", rows, ["clothes"])
    read = list(csv.DictReader((tmp_path / "a.csv").read_text().splitlines()))
    assert [one["label"] for one in read] == ["hat", ""]
    assert read[0]["confidence_value"] == "0.81"
    assert read[1]["error"] == '“b, "c".jpg” is no image.'
    save_table(tmp_path / "a.jsonl", rows, ["clothes"])
    lines = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert lines[0]["label"] == "hat"
    assert lines[1]["error"] == read[1]["error"]
    assert not list(tmp_path.glob("*.part"))


FORMULAS = ["=cmd|' /C calc'!A0", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "＝1", "'=1", "''-1"]


def test_no_cell_of_a_table_is_a_formula_and_each_can_be_read_back(tmp_path):
    rows = [row(clothes=answer("clothes", text, "0.81")) for text in FORMULAS]
    rows += [row(clothes=text) for text in FORMULAS]
    save_table(tmp_path / "a.csv", rows, ["clothes"])
    with (tmp_path / "a.csv").open(newline="") as file:
        read = list(csv.DictReader(file))
    cells = [cell for one in read for cell in one.values()]
    assert not [cell for cell in cells if cell[:1] in set("=+-@\t\r\n＝")]
    assert [restored(one["label"]) for one in read[: len(FORMULAS)]] == FORMULAS
    assert [restored(one["error"]) for one in read[len(FORMULAS) :]] == FORMULAS
    for text in (*FORMULAS, "'quoted'", "a=b", "", "'"):
        assert restored(neutralized(text)) == text


@pytest.mark.parametrize("kind", ["hard link", "link loop", "dangling link", "read-only folder", "another owner"])
def test_a_table_takes_the_place_of_what_is_there(tmp_path, kind):
    path, other = tmp_path / "a.csv", tmp_path / "other.csv"
    if kind == "link loop":
        path.symlink_to(other)
        other.symlink_to(path)
        with pytest.raises(OSError, match="Too many levels"):
            save_table(path, [], [])
        assert path.is_symlink()
        return
    if kind == "dangling link":
        path.symlink_to(other)
    else:
        path.write_text("old")
    if kind == "hard link":
        other.hardlink_to(path)
    if kind == "another owner":
        if os.geteuid():
            pytest.skip("only root gives files away")
        os.chown(path, 12345, 12345)
    if kind == "read-only folder":
        tmp_path.chmod(0o500)
    save_table(path, [], [])
    tmp_path.chmod(0o700)
    assert path.read_text().startswith("image,")
    if kind in ("hard link", "dangling link"):
        assert other.read_text() == path.read_text()
        assert path.is_symlink() == (kind == "dangling link")
    if kind == "another owner":
        assert path.stat().st_uid == 12345


def test_a_table_that_cannot_be_written_leaves_the_old_one(tmp_path):
    with pytest.raises(OSError, match="nowhere"):
        save_table(tmp_path / "nowhere" / "a.csv", [], [])


def test_places_are_shown_in_one_line():
    assert place_of(ImageFile(Path("/a/line\nbreak.jpg"))) == "/a/line␊break.jpg"
