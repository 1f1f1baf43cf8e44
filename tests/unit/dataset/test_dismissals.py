from apitorch_desktop.dataset.dismissals import Dismissals, followed


def test_dismissals_outlive_the_program_and_belong_to_a_connection(tmp_path):
    kept = Dismissals(tmp_path)
    kept.add("a", [("ti_1", "label:hat"), ("ti_1", "label:hat"), ("ti_2", "flag:dark")])
    kept.add("b", [("ti_1", "label:cap")])
    kept.close()
    again = Dismissals(tmp_path)
    assert again.all("a") == {("ti_1", "label:hat"), ("ti_2", "flag:dark")}
    again.take_back("a", [("ti_2", "flag:dark")])
    assert again.all("a") == {("ti_1", "label:hat")}
    assert again.all("b") == {("ti_1", "label:cap")}
    again.close()


def test_they_follow_images_to_new_ids(tmp_path):
    kept = Dismissals(tmp_path)
    kept.add("a", [("ti_1", "label:hat"), ("ti_1", "twin:ti_5"), ("ti_3", "flag:dark")])
    kept.follow("a", {"ti_1": "ti_9", "ti_7": "ti_8"})
    assert kept.all("a") == {("ti_9", "label:hat"), ("ti_5", "twin:ti_9"), ("ti_3", "flag:dark")}
    kept.close()


def test_a_pair_stays_in_one_order():
    assert followed(("a", "twin:b"), {"a": "z"}) == ("b", "twin:z")
    assert followed(("a", "twin:b"), {}) == ("a", "twin:b")
