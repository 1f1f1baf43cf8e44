"""Normalized spellings of a name: with dashes for a URL (`slugify`), with underscores for a label (`snake_case`).

Letters, digits and combining marks of any script are kept, in lower case and NFKC; everything else separates words. A
name without any of them gives the empty string, which the caller has to handle.
"""

import unicodedata

_VARIATION_SELECTORS = range(0xFE00, 0xFE10)  # category “mark”, but they only select how an emoji is drawn


def slugify(name: str) -> str:
    """Return the slug of a training set or classifier: `Zebra Breeds` → `zebra-breeds`."""
    return "-".join(_words(name))


def snake_case(label: str) -> str:
    """Return the spelling of a label: `T-Shirt` → `t_shirt`."""
    return "_".join(_words(label))


def _words(text: str) -> list[str]:
    text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).lower())
    return "".join(char if _kept(char) else " " for char in text).split()


def _kept(char: str) -> bool:
    if char.isalnum():
        return True
    return unicodedata.category(char).startswith("M") and ord(char) not in _VARIATION_SELECTORS
