from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from apitorch_desktop.ui.grid.model import Selection


class SelectionAgainstASet(RuleBasedStateMachine):
    @initialize(size=st.integers(0, 40))
    def start(self, size):
        self.size, self.rows = size, set()
        self.selection = Selection(size)

    def run_of(self, data):
        start = data.draw(st.integers(0, self.size))
        return range(start, data.draw(st.integers(start, self.size)))

    @rule(data=st.data(), on=st.booleans())
    def set(self, data, on):
        run = self.run_of(data)
        self.selection.set(run, on)
        self.rows = self.rows | set(run) if on else self.rows - set(run)

    @rule(data=st.data())
    def toggle(self, data):
        if self.size:
            row = data.draw(st.integers(0, self.size - 1))
            self.selection.toggle(row)
            self.rows ^= {row}

    @rule()
    def all(self):
        self.selection.all()
        self.rows = set(range(self.size))

    @rule()
    def clear(self):
        self.selection.clear()
        self.rows = set()

    @rule()
    def invert(self):
        self.selection.invert()
        self.rows = set(range(self.size)) - self.rows

    @rule(data=st.data())
    def only(self, data):
        runs = [self.run_of(data), self.run_of(data)]
        self.selection.only(runs)
        self.rows = {row for run in runs for row in run}

    @rule(data=st.data(), count=st.integers(0, 5))
    def rows_come_in(self, data, count):
        row = data.draw(st.integers(0, self.size))
        self.selection.insert(row, count)
        self.rows = {old if old < row else old + count for old in self.rows}
        self.size += count

    @invariant()
    def the_same(self):
        if hasattr(self, "selection"):
            assert list(self.selection) == sorted(self.rows)
            assert len(self.selection) == len(self.rows)
            assert bool(self.selection) is bool(self.rows)
            assert len(self.selection.flags) == self.size


TestSelectionAgainstASet = SelectionAgainstASet.TestCase


@given(st.sets(st.integers(0, 19)), st.integers(0, 20), st.integers(0, 20), st.booleans())
def test_a_band_shows_what_it_covers_over_what_was_held(held, a, b, toggle):
    selection, run = Selection(20), range(min(a, b), max(a, b))
    selection.only(range(row, row + 1) for row in held)
    selection.hold()
    selection.band([range(20)], toggle=toggle)
    selection.band([run], toggle=toggle)  # the band shrank: what it left is as it was
    assert set(selection) == (held ^ set(run) if toggle else held | set(run))


def test_photos_that_come_in_under_a_band_keep_what_was_held_in_place():
    selection = Selection(4)
    selection.only([range(2, 3)])
    selection.hold()
    selection.insert(0, 2)
    selection.band([range(1)])
    assert list(selection) == [0, 4]
    selection.release()


def test_whole_and_count_of_a_run():
    selection = Selection(6)
    selection.set(range(1, 4))
    assert selection.whole(range(1, 4))
    assert not selection.whole(range(1, 5))
    assert not selection.whole(range(2, 2))
    assert selection.count(range(3, 6)) == 1
