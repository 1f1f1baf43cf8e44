"""The table of a batch: what it shows as rows are answered."""

from apitorch_desktop.dataset.batch.classification import BatchRow
from apitorch_desktop.dataset.sources.image_source import ImageFile
from apitorch_desktop.ui.batch.panel import BatchPanel


def test_photos_of_the_set_are_marked_as_soon_as_their_hash_is_known(qtbot, theme, tasks, tmp_path):
    panel = BatchPanel(theme, tasks)
    qtbot.addWidget(panel)
    rows = [BatchRow(ImageFile(tmp_path / name), name, name) for name in ("a.jpg", "b.jpg")]
    panel.begin("Classify 2 photos", ["clothes"], rows)
    panel.show_known({"ab": "hat"})
    assert panel.table.isColumnHidden(panel.model.in_set_column)
    rows[1].sha256 = "ab"
    panel.show_progress("", going=True)
    assert not panel.table.isColumnHidden(panel.model.in_set_column)
    assert [panel.model.label_in_set(row) for row in rows] == ["", "hat"]
