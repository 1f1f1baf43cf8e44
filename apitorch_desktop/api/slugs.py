"""The two spellings of a name: dashes for a URL (`slugify`), underscores for a label (`snake_case`).

Letters, digits and combining marks of any script are kept, lower case and in NFKC; all else separates. A name with
nothing to keep gives the empty string: the caller says what that means.
"""

import unicodedata

_VARIATION_SELECTORS = range(0xFE00, 0xFE10)  # marks by category, but only a wish how an emoji is drawn


def slugify(name: str) -> str:
    """`Zebra Breeds` → `zebra-breeds`: the slug of a training set or a classifier."""
    return "-".join(_words(name))


def snake_case(label: str) -> str:
    """`T-Shirt` → `t_shirt`: the one spelling of a label."""
    return "_".join(_words(label))


def _words(text: str) -> list[str]:
    text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).lower())
    return "".join(char if _kept(char) else " " for char in text).split()


def _kept(char: str) -> bool:
    if char.isalnum():
        return True
    return unicodedata.category(char).startswith("M") and ord(char) not in _VARIATION_SELECTORS
