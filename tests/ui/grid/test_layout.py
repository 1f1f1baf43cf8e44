from hypothesis import given, settings
from hypothesis import strategies as st

from apitorch_desktop.ui.grid.layout import Box, GridLayout, Spacing

layouts = st.builds(
    GridLayout,
    st.lists(st.integers(0, 30), max_size=8),
    st.integers(60, 900),
    st.integers(40, 200),
    st.builds(
        Spacing,
        margin=st.integers(0, 20),
        gap=st.integers(1, 15),
        header=st.integers(10, 50),
        empty=st.integers(1, 40),
        foot=st.integers(0, 10),
    ),
)


def boxes(layout):
    return [layout.box(row) for row in range(layout.count)]


@given(layouts)
def test_cells_lie_in_their_group_in_order_and_never_overlap(layout):
    for group in range(layout.groups):
        whole, header, rows = layout.group(group), layout.header(group), layout.rows_of(group)
        assert header.y == whole.y
        above = None
        for row in rows:
            box = layout.box(row)
            assert layout.group_of(row) == group
            assert header.bottom <= box.y
            assert box.bottom <= whole.bottom
            if above is not None:
                assert box.y >= above.y
                assert box.x >= above.right + layout.spacing.gap if box.y == above.y else box.y >= above.bottom
            above = box
        if group:
            assert layout.group(group - 1).bottom == whole.y


@given(layouts)
def test_cells_stay_inside_the_margins_and_fill_the_width(layout):
    if layout.width < layout.cell + 2 * layout.spacing.margin:
        return  # a window narrower than one cell
    for box in boxes(layout):
        assert box.x >= layout.spacing.margin
        assert box.right <= layout.width - layout.spacing.margin
    if layout.columns > 1 and any(count >= layout.columns for count in layout.counts):
        assert max(box.right for box in boxes(layout)) == layout.width - layout.spacing.margin


@given(layouts, st.integers(-50, 1000), st.integers(-50, 3000))
def test_a_point_finds_the_cell_it_is_in_and_no_other(layout, x, y):
    inside = [row for row, box in enumerate(boxes(layout)) if box.x <= x < box.right and box.y <= y < box.bottom]
    assert layout.row_at(x, y) == (inside[0] if inside else None)


@given(layouts, st.integers(-50, 3000), st.integers(1, 2000))
def test_a_band_finds_the_rows_and_groups_that_touch_it(layout, top, height):
    bottom = top + height
    touching = [row for row, box in enumerate(boxes(layout)) if box.bottom > top and box.y < bottom]
    found = layout.rows_between(top, bottom)
    assert set(touching) <= set(found)
    for row in found:  # at most the gap or the room under the last line more
        box = layout.box(row)
        assert box.bottom + layout.spacing.gap > top
        assert box.y < bottom
    groups = [at for at in range(layout.groups) if layout.group(at).bottom > top and layout.group(at).y < bottom]
    assert list(layout.groups_between(top, bottom)) == groups


@given(layouts, st.integers(-50, 950), st.integers(-50, 3000), st.integers(1, 900), st.integers(1, 2500))
@settings(max_examples=300)
def test_a_rubber_band_selects_exactly_the_cells_it_touches(layout, x, y, width, height):
    band = Box(x, y, width, height)
    touched = [
        row
        for row, box in enumerate(boxes(layout))
        if box.x < band.right and box.right > band.x and box.y < band.bottom and box.bottom > band.y
    ]
    assert sorted(row for run in layout.runs_in(band) for row in run) == touched


def test_a_band_over_whole_lines_is_one_run_a_group():
    layout = GridLayout([100_000, 50_000], 800, 120)
    band = Box(0, 0, 800, layout.height)
    assert list(layout.runs_in(band)) == [range(100_000), range(100_000, 150_000)]


@given(layouts.filter(lambda layout: layout.count > 0), st.data())
def test_arrows_move_to_the_neighbours_seen(layout, data):
    row = data.draw(st.integers(0, layout.count - 1))
    here = layout.box(row)
    assert layout.step(row, "left") == max(0, row - 1)
    assert layout.step(row, "right") == min(layout.count - 1, row + 1)
    down, up = layout.step(row, "down"), layout.step(row, "up")
    lines = sorted({box.y for box in boxes(layout)})
    place = lines.index(here.y)
    expected_down = lines[min(place + 1, len(lines) - 1)]
    expected_up = lines[max(place - 1, 0)]
    assert layout.box(down).y == expected_down
    assert layout.box(up).y == expected_up
    for found in (down, up):  # the same column, or the last of a shorter line
        box = layout.box(found)
        following = found + 1
        last = following == layout.count or layout.box(following).y != box.y
        assert box.x == here.x or (box.x < here.x and last)


@given(layouts.filter(lambda layout: layout.count > 0), st.data(), st.integers(1, 2000))
def test_a_page_down_goes_about_a_page_and_always_on(layout, data, page):
    row = data.draw(st.integers(0, layout.count - 1))
    down = layout.step(row, "page_down", page)
    moved = layout.box(down).y - layout.box(row).y
    one = layout.box(layout.step(row, "down")).y - layout.box(row).y
    assert one <= moved or moved == 0 == one
    assert moved <= max(page, one)
    further = layout.step(down, "down")
    assert further == down or layout.box(further).y - layout.box(row).y > page, "it goes as far as it may"
    up = layout.step(row, "page_up", page)
    assert layout.box(up).y < layout.box(row).y or layout.step(row, "up") == row


def test_pages_end_at_the_first_and_last_line():
    layout = GridLayout([10, 0, 7], 500, 100)
    row = 0
    for _ in range(50):
        row = layout.step(row, "page_down", 300)
    assert layout.box(row).y == layout.box(layout.count - 1).y
    for _ in range(50):
        row = layout.step(row, "page_up", 300)
    assert row == 0


def test_arrows_pass_over_empty_groups():
    layout = GridLayout([3, 0, 0, 3], 500, 100)
    assert layout.step(1, "down") == 4
    assert layout.step(4, "up") == 1


@given(layouts, st.integers(-10, 3000))
def test_the_sticky_header_is_that_of_the_group_at_the_top_and_is_pushed_by_the_next(layout, top):
    found = layout.sticky(top)
    inside = [at for at in range(layout.groups) if layout.group(at).y <= top < layout.group(at).bottom]
    assert (found[0] if found else None) == (inside[0] if inside else None)
    if found:
        group, y = found
        assert y <= top
        assert y + layout.spacing.header <= layout.group(group).bottom


def test_a_million_rows_cost_what_ten_do():
    layout = GridLayout([100_000] * 10, 800, 120)
    assert layout.count == 1_000_000
    middle = layout.box(500_000)
    assert layout.row_at(middle.x + 1, middle.y + 1) == 500_000
    assert 25 <= len(layout.rows_between(middle.y, middle.y + 800)) < 60


def test_no_groups_and_no_room_do_no_harm():
    nothing = GridLayout([], 0, 64)
    assert nothing.height == 0
    assert nothing.sticky(0) is None
    assert nothing.row_at(0, 0) is None
    assert not nothing.rows_between(0, 500)
    narrow = GridLayout([5], 10, 64)
    assert narrow.columns == 1
