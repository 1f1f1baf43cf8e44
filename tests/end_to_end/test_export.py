"""Exports from the window: asked in the dialog, written in the background, read back from disk."""

import csv
import hashlib
import json
import zipfile
from collections import Counter
from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QLabel, QPushButton

from apitorch_desktop.ui.exporter.controller import ExportDialog, UsageDialog
from apitorch_desktop.ui.theme.theme import Theme
from apitorch_desktop.utils.paths import resources
from tests.helpers import app_runner as program
from tests.helpers.export_readers import read_croissant, read_hugging_face, walked
from tests.helpers.widget_driver import export, photos_in

SPLIT = (50, 25, 25, 7)
"""Percent for training, validation and test; the seed."""
LABELS = ("dress", "shoes")
EACH = 8
SLUG = "two-kinds"


@pytest.fixture
def dressed(qapp):
    theme = Theme(resources())
    theme.apply(qapp)
    return theme


@pytest.fixture
def made_set(photos):
    def make(session):
        client = session.workspace.client
        made = client.create_training_set("Two kinds")
        for label in LABELS:
            for photo in sorted((photos / "train" / label).iterdir())[:EACH]:
                client.upload_image(made.id, label, path=photo)
        program.wait(lambda: client.classifier("two-kinds").status == "ready", "the classifier")
        session.refresh()
        session.refresh_classifiers()
        program.wait(lambda: any(one.slug == "two-kinds" for one in session.classifiers), "the classifiers")
        program.wait(lambda: session.find_set(made.id), "the training set")
        return made.id

    return make


def exported(made, path, what):
    return program.wait(lambda: path.exists() and path, what)


def parts(labelled):
    """sha256 → the part of a split, of a `<part>/<label>/` tree."""
    return {sha: part.name for part in labelled.iterdir() if part.is_dir() for _, sha in walked(part)}


def test_every_form_is_chosen_by_pointer_and_read_back(monkeypatch, made_set, photos, tmp_path):
    there = sorted(
        (label, hashlib.sha256(photo.read_bytes()).hexdigest())
        for label in LABELS
        for photo in sorted((photos / "train" / label).iterdir())[:EACH]
    )

    def steps(made):
        program.wait(lambda: made.session.sets_confirmed, "the embedded service")
        made_set(made.session)
        for form in ("csv", "jsonl", "createml", "croissant"):
            export(made, form, tmp_path / form, SPLIT)
            exported(made, tmp_path / form / SLUG, f"the export as {form}")
        for name, seed in (("same", 7), ("other", 8)):
            export(made, "zip", tmp_path / name, (*SPLIT[:3], seed))
            exported(made, tmp_path / name / f"{SLUG}.zip", "the zip")

        export(made, "imagefolder", tmp_path / "tree")
        program.wait(lambda: len(photos_in(tmp_path / "tree")) == len(there), "the folder tree")

        export(made, "imagefolder", tmp_path / "kept", keep=True)
        program.wait(lambda: len(photos_in(tmp_path / "kept")) == len(there), "the tree by the photos' own split")
        said = f"{len(there)} photos without a split put into the part for training."
        program.wait(
            lambda: (shown := made.central_widget.status.message.current()) and said in shown.text, "what had no split"
        )

        heic = Path(__file__).parents[1] / "data" / "heif" / "scene.heic"
        made.session.workspace.client.upload_image(made.session.training_sets[0].id, "shoes", path=heic)
        export(made, "imagefolder", tmp_path / "jpeg", jpeg=True)
        program.wait(lambda: len(photos_in(tmp_path / "jpeg")) == len(there) + 1, "the tree of JPEGs")

        export(made, "onnx", tmp_path / "models")
        exported(made, tmp_path / "models" / f"{SLUG}.onnx", "the classifier's file")
        message = made.central_widget.status.message
        program.press(
            program.wait(
                lambda: next((one for one in message.findChildren(QPushButton) if one.text() == "How to use it"), None),
                "the offer to show how it is used",
            )
        )
        usage = program.wait(lambda: program.dialog(UsageDialog), "the lines")
        assert f'InferenceSession("{SLUG}.onnx")' in usage.lines.toPlainText()
        program.press(usage.copy)
        program.wait(lambda: "InferenceSession" in QGuiApplication.clipboard().text(), "the copy")
        program.press(usage.close_button)
        program.wait(lambda: program.dialog(UsageDialog) is None, "the dialog closed")
        made.window.activateWindow()

        export(made, "jsonl", tmp_path / "jsonl")
        program.wait(
            lambda: (said := made.central_widget.status.message.current()) and "is there already" in said.text,
            "a refusal to overwrite",
        )

    assert program.run(monkeypatch, steps) == 0

    assert walked(tmp_path / "tree" / SLUG) == there
    assert set(there) < set(walked(tmp_path / "jpeg" / SLUG))
    assert walked(tmp_path / "kept" / SLUG / "train") == there
    with (tmp_path / "csv" / SLUG / "labels.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert sorted((row["label"], row["sha256"]) for row in rows) == there
    split = {row["sha256"]: row["split"] for row in rows}
    assert Counter(split.values()) == {"train": EACH, "validation": EACH // 2, "test": EACH // 2}
    read = read_hugging_face(tmp_path / "jsonl" / SLUG, tmp_path / "cache")
    assert {sha: part for part, _, sha, _ in read} == split
    assert sorted((label, sha) for _, label, sha, _ in read) == there
    croissant = tmp_path / "croissant" / SLUG
    read = [(label, digest(croissant / path), part) for label, path, part in read_croissant(croissant)]
    assert sorted((label, sha) for label, sha, _ in read) == there
    assert {sha: part for _, sha, part in read} == split
    entries = [
        (one["annotations"][0]["label"], digest(listed.parent / one["image"]))
        for listed in (tmp_path / "createml" / SLUG).glob("*/_annotations.createml.json")
        for one in json.loads(listed.read_text("utf-8"))
    ]
    assert sorted(entries) == there
    for name in ("same", "other"):
        with zipfile.ZipFile(tmp_path / name / f"{SLUG}.zip") as archive:
            archive.extractall(tmp_path / name)
    assert parts(tmp_path / "same" / SLUG) == split, "the same seed parts them alike in every form"
    assert parts(tmp_path / "other" / SLUG).keys() == split.keys()
    assert parts(tmp_path / "other" / SLUG) != split

    import onnxruntime

    model = onnxruntime.InferenceSession(str(tmp_path / "models" / f"{SLUG}.onnx"))
    assert set(json.loads(model.get_modelmeta().custom_metadata_map["labels"])) == set(LABELS)


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_escape_closes_the_dialog_and_a_classifier_that_is_not_there_is_greyed_out(qtbot, dressed):
    dialog = ExportDialog(dressed, "Empty", no_onnx="It has no classifier yet.")
    qtbot.addWidget(dialog)
    dialog.show()
    assert not [one.text() for one in dialog.findChildren(QLabel) if "&" in one.text() and one.buddy() is None]
    dialog.format.setCurrentIndex(dialog.format.findData("onnx"))
    assert not dialog.start.isEnabled()
    assert dialog.note.text() == "It has no classifier yet."
    dialog.format.setCurrentIndex(0)
    dialog.split.setChecked(True)
    for spin in dialog.shares:
        spin.setValue(0)
    assert dialog.start.toolTip() == "Give at least one part a share."
    with qtbot.waitSignal(dialog.rejected, timeout=60_000):
        qtbot.keyClick(dialog, Qt.Key.Key_Escape)
