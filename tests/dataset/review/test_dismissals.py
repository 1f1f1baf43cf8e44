from apitorch_desktop.dataset.review.dismissals import DismissalStore, with_ids_replaced
from tests.helpers.dataset_home import Home


def test_dismissals_outlive_the_program_and_belong_to_a_connection(tmp_path):
    kept = DismissalStore(tmp_path)
    kept.add("a", [("ti_1", "label:hat"), ("ti_1", "label:hat"), ("ti_2", "flag:dark")])
    kept.add("b", [("ti_1", "label:cap")])
    kept.close()
    again = DismissalStore(tmp_path)
    assert again.all("a") == {("ti_1", "label:hat"), ("ti_2", "flag:dark")}
    again.remove("a", [("ti_2", "flag:dark")])
    assert again.all("a") == {("ti_1", "label:hat")}
    assert again.all("b") == {("ti_1", "label:cap")}
    again.close()


def test_they_follow_images_to_new_ids(tmp_path):
    kept = DismissalStore(tmp_path)
    kept.add("a", [("ti_1", "label:hat"), ("ti_1", "twin:ti_5"), ("ti_3", "flag:dark")])
    kept.replace_ids("a", {"ti_1": "ti_9", "ti_7": "ti_8"})
    assert kept.all("a") == {("ti_9", "label:hat"), ("ti_5", "twin:ti_9"), ("ti_3", "flag:dark")}
    kept.close()


def test_a_pair_stays_in_one_order():
    assert with_ids_replaced(("a", "twin:b"), {"a": "z"}) == ("b", "twin:z")
    assert with_ids_replaced(("a", "twin:b"), {}) == ("a", "twin:b")


def test_a_dismissal_is_on_the_journal_between_other_edits_and_survives_restarts(either: Home):
    home = either
    images = home.images("l0")
    first, second = sorted(image.image_id for image in images[:2])
    found = [(first, "label:l0"), (first, f"twin:{second}")]
    home.edits.dismiss("c1", home.set_id, found, "keep these")
    assert home.edits.dismissals.all("c1") == set(found)
    home.edits.move(home.workspace, home.set_id, [one for one in images if one.image_id == first], "l1")
    assert home.edits.undo(home.workspace).dismissed == {}
    home.restart()
    assert home.edits.journal.undoable("c1").title == "keep these"
    now = {image.image_id for image in home.images("l0")}
    outcome = home.edits.undo(home.workspace)
    assert len(outcome.dismissed) == 2
    assert not any(outcome.dismissed.values())
    assert {image for image, _ in outcome.dismissed} <= now  # also where the move gave the image another id
    home.restart()
    again = home.edits.redo(home.workspace)
    assert home.edits.dismissals.all("c1") == set(again.dismissed) == set(outcome.dismissed)
    assert all(again.dismissed.values())


def test_a_dismissal_and_its_undo_need_no_service(either: Home):
    home = either
    image = home.images("l0")[0].image_id
    home.restart_offline()
    home.edits.dismiss("c1", home.set_id, [(image, "flag:dark")], "leave 1 photo as it is")
    home.edits.undo(home.workspace)
    assert not home.edits.dismissals.all("c1")
    home.edits.redo(home.workspace)
    assert home.edits.dismissals.all("c1") == {(image, "flag:dark")}
    assert home.edits.journal.rows("c1")[-1].stage == "done"
