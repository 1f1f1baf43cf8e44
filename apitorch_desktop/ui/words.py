"""Numbers, sizes and times as people write them."""

from __future__ import annotations

_UNITS = ("kB", "MB", "GB", "TB")


def plural(count: int, one: str, many: str = "") -> str:
    """`3 photos`, `1 photo`; `many` where it is not `one` with an s."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def size(count: int) -> str:
    """Bytes as `112 kB`, `1.8 MB`; powers of 1,000, as file managers show them."""
    if count < 1000:
        return plural(count, "byte")
    value = float(count)
    for unit in _UNITS:
        value /= 1000
        if value < 999.5 or unit == _UNITS[-1]:
            break
    return f"{value:,.0f} {unit}" if value >= 9.95 else f"{value:.1f} {unit}"


def duration(seconds: float) -> str:
    """Seconds as `5 s`, `3 min`, `2 h 10 min`."""
    whole = max(1, round(seconds))
    if whole < 60:
        return f"{whole} s"
    minutes = round(whole / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"


def percent(share: float) -> str:
    """A share as people write it; only a whole one is 100 %, only none is 0 %."""
    if share <= 0 or share >= 1:
        return f"{min(1, max(0, share)) * 100:.0f} %"
    return f"{min(99, max(1, round(share * 100)))} %"


def listing(names: list[str], most: int = 3) -> str:
    """`a, b and c`, or `a, b and 5 more`."""
    if len(names) > most:
        names = [*names[: most - 1], f"{len(names) - most + 1} more"]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else ""
