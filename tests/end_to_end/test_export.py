"""Exports from the window: asked in the dialog, written in the background, read back from disk."""

import json

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QApplication

from apitorch_desktop.paths import resources
from apitorch_desktop.ui.export_dialog import ExportDialog
from apitorch_desktop.ui.theme import Theme
from tests.end_to_end import program

LABELS = ("dress", "shoes")


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
            for photo in sorted((photos / "train" / label).iterdir())[:5]:
                client.upload_image(made.id, label, path=photo)
        program.wait(lambda: client.classifier("two-kinds").status == "ready", "the classifier", 60)
        session.refresh()
        session.refresh_classifiers()
        program.wait(lambda: any(one.slug == "two-kinds" for one in session.classifiers), "the classifiers")
        program.wait(lambda: session.find_set(made.id), "the training set")
        return str(made.id)

    return make


def asked():
    return next(
        (one for one in QApplication.topLevelWidgets() if isinstance(one, ExportDialog) and one.isVisible()), None
    )


def test_a_split_list_a_folder_tree_and_the_classifier(monkeypatch, made_set, tmp_path):
    def export(made, set_id, form, folder, *, split=False):
        made.exporting.ask(set_id)
        dialog = program.wait(asked, "the export dialog")
        dialog.form.setCurrentIndex(dialog.form.findData(form))
        dialog.folder.setText(str(folder))
        dialog.split.setChecked(split)
        program.wait(dialog.start.isEnabled, "an export that can begin")
        program.press(dialog.start)

    def steps(made):
        session = made.session
        program.wait(lambda: session.heard, "the embedded service")
        set_id = made_set(session)
        export(made, set_id, "jsonl", tmp_path / "lists", split=True)
        metadata = tmp_path / "lists" / "two-kinds"
        program.wait(metadata.is_dir, "the split export")
        lists = [found.read_text().splitlines() for found in metadata.rglob("metadata.jsonl")]
        lines = [json.loads(line) for found in lists for line in found]
        assert len(lines) == 10
        assert (metadata / "train").is_dir()

        export(made, set_id, "imagefolder", tmp_path / "tree")
        program.wait(lambda: len(list((tmp_path / "tree").rglob("*.jpg"))) == 10, "the folder tree")

        export(made, set_id, "onnx", tmp_path / "models")
        model = tmp_path / "models" / "two-kinds.onnx"
        program.wait(model.exists, "the classifier's file")
        import onnxruntime

        metadata = onnxruntime.InferenceSession(str(model)).get_modelmeta().custom_metadata_map
        assert set(json.loads(metadata["labels"])) == set(LABELS)

        export(made, set_id, "jsonl", tmp_path / "lists")
        said = program.wait(lambda: made.frame.status.message.current(), "a refusal to overwrite")
        program.wait(lambda: "is there already" in made.frame.status.message.current().text, f"not {said.text}")

    assert program.run(monkeypatch, steps) == 0


def test_escape_closes_the_dialog_and_a_classifier_that_is_not_there_is_greyed_out(qtbot, dressed):
    dialog = ExportDialog(dressed, "Empty", no_onnx="It has no classifier yet.")
    qtbot.addWidget(dialog)
    dialog.show()
    dialog.form.setCurrentIndex(dialog.form.findData("onnx"))
    assert not dialog.start.isEnabled()
    assert dialog.note.text() == "It has no classifier yet."
    dialog.form.setCurrentIndex(0)
    dialog.split.setChecked(True)
    for spin in dialog.shares:
        spin.setValue(0)
    assert dialog.start.toolTip() == "Give at least one part a share."
    with qtbot.waitSignal(dialog.rejected):
        qtbot.keyClick(dialog, Qt.Key.Key_Escape)
