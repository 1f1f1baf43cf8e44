"""Words that name a part of a set before each label in it: train/TS_cat, val/VS_cat."""

import re
from collections.abc import Iterable
from typing import Final

_FEWEST: Final = 2
"""Labels that two parts have in common behind their prefixes, from which these are taken for such."""
_PREFIX: Final = re.compile(r"([^\W\d_]+)[\s_-]+(?=\w)")


def labels_behind_prefixes(labels: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return label → label without the prefix that all those in its part of the set have, which begins as the part's name does.

    `labels` are pairs of a label and its part of a split. Nothing where a label has none, or the parts have the same.
    """
    parts: dict[str, set[str]] = {}
    for label, split in labels:
        parts.setdefault(split, set()).add(label)
    behind: dict[str, dict[str, str]] = {}
    prefixes: set[str] = set()
    for split, names in parts.items():
        found = {match[1] if (match := _PREFIX.match(name)) else "" for name in names}
        (prefix,) = found if len(found) == 1 else ("",)
        if not prefix or not split.startswith(prefix[0].lower()) or prefix in prefixes:
            return {}
        prefixes.add(prefix)
        behind[split] = {name: _PREFIX.sub("", name, count=1) for name in names}
    if len(behind) < 2 or len(set.intersection(*(set(names.values()) for names in behind.values()))) < _FEWEST:
        return {}
    return {name: label for names in behind.values() for name, label in names.items()}
