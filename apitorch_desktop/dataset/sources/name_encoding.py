"""Names that are no UTF-8, from old systems and old archives: a guess of their encoding."""

import re
import unicodedata
from collections.abc import Callable, Iterable
from typing import Final

_WESTERN = (
    "äöüß", "àâæçéèêëîïôœùûüÿ", "áéíóúñü", "ãõáâàéêíóôúç", "æøåéäö", "ëïéèüö", "àèéìòù", "áéíóúýþæöð",
)  # fmt: skip
_CENTRAL = ("áčďéěíňóřšťúůýž", "áäčďéíĺľňóôŕšťúýž", "ąćęłńóśźż", "áéíóöőúüű", "ăâîșşțţ", "čćđšž", "äöüß")
_TURKISH = ("çğıöşüâî",)
_LATIN: Final = (("cp1252", "cp850", _WESTERN), ("cp1250", "cp852", _CENTRAL), ("cp1254", "cp857", _TURKISH))
"""Encodings of Windows and of DOS, and the letters beyond ASCII of the languages they are for, in the order in which they
are preferred where they fit alike. Names that belong together are rather in one of these languages."""
_OTHERS: Final = (
    "gb18030", "cp932", "cp949", "big5", "cp866", "cp1251", "koi8-r", "cp1253", "cp737", "cp1255", "cp862",
)  # fmt: skip
"""Encodings of other scripts, in the same order."""
_VOWELS: Final = {"CYRILLIC": "аеёиоуыэюяіїєѣ", "GREEK": "αεηιουωάέήίόύώϊϋΐΰ"}
_WORD: Final = re.compile(r"[^\W\d_]+")


def decode_names(names: Iterable[bytes], *, archive: bool = False) -> tuple[list[str], str]:
    """Decode names that belong together; return them and the encoding of those that are no UTF-8, "" where all are.

    In an archive all names have one encoding, often that of DOS; in a folder each may have its own. Where no encoding
    fits, the bytes that are no UTF-8 become replacement characters, and the encoding is "?".
    """
    raw = list(names)
    if all(_is_utf8(name) for name in raw):
        return [name.decode() for name in raw], ""
    guessed = [not name.isascii() if archive else not _is_utf8(name) for name in raw]
    encoding = _guess(b" \n".join(name for name, other in zip(raw, guessed, strict=True) if other), archive)
    codec = "utf-8" if encoding == "?" else encoding
    return [
        name.decode(codec if other else "utf-8", "replace") for name, other in zip(raw, guessed, strict=True)
    ], encoding


def _is_utf8(name: bytes) -> bool:
    try:
        name.decode()
    except UnicodeDecodeError:
        return False
    return True


def _guess(text: bytes, archive: bool) -> str:
    latin = [one for windows, dos, _ in _LATIN for one in ((dos, windows) if archive else (windows, dos))]
    candidates = [*latin, *_OTHERS]
    scores = {encoding: _score(text, encoding) for encoding in candidates}
    best = max(candidates, key=lambda encoding: scores[encoding])
    # every common Korean syllable is a common Chinese sign as well, but not the reverse
    if (
        best == "gb18030"
        and scores["cp949"] >= scores[best]
        and sum(char > "\x7f" for char in set(text.decode("cp949"))) >= 4
    ):
        best = "cp949"
    return best if scores[best] >= 0.5 else "?"


def _score(text: bytes, encoding: str) -> float:
    """Return how usual the characters beyond ASCII are in an encoding's languages, 0 to 1."""
    try:
        decoded = text.decode(encoding)
    except UnicodeDecodeError:
        return -1.0
    usual = _USUAL[encoding]
    score, count = 0.0, 0
    words = {match.start(): match.group() for match in _WORD.finditer(decoded)}
    word, first, end = "", 0, 0
    for place, char in enumerate(decoded):
        if place in words:
            word, first, end = words[place], place, place + len(words[place])
        if ord(char) > 127:
            count += 1
            score += usual(char, word if place < end else "", place == first)
    if encoding in _LANGUAGES:
        letters = [char for char in decoded.lower() if ord(char) > 127 and char.isalpha()]
        shares = [sum(letter in known for letter in letters) for known in _LANGUAGES[encoding]]
        score *= 0.6 + 0.4 * max(shares) / max(len(letters), 1)
    return score / count if count else 0.0


def _latin(languages: tuple[str, ...]) -> Callable[[str, str, bool], float]:
    usual = frozenset("".join(languages) + "".join(languages).upper())

    def score(char: str, word: str, _first: bool) -> float:
        if not word or "LATIN" not in _script(char):
            return 0.0
        isolated = any(letter.isascii() for letter in word) and not re.search(r"[^\x00-\x7f]{3}", word)
        return (1.0 if char in usual else 0.6) * (1.0 if isolated else 0.3)

    return score


def _alphabet(script: str) -> Callable[[str, str, bool], float]:
    vowels = frozenset(_VOWELS[script])

    def score(char: str, word: str, first: bool) -> float:
        if script not in _script(char) or any(letter.isascii() for letter in word):
            return 0.0
        if len(word) > 2 and not vowels & set(word.lower()):
            return 0.3
        if script == "GREEK" and (char == "ς") != (word.endswith(char) and char in "ςσ"):
            return 0.5
        return 1.0 if char.islower() or first or word.isupper() else 0.3

    return score


def _hebrew(char: str, word: str, _first: bool) -> float:
    if "HEBREW LETTER" not in _script(char) or any(letter.isascii() for letter in word):
        return 0.0
    return 0.0 if re.search("[ךםןףץ](?=.)", word) else 0.95


def _double_byte(encoding: str, common: range, *, kana: bool = False) -> Callable[[str, str, bool], float]:
    def usual(char: str, _word: str, _first: bool) -> float:
        if kana and ("HIRAGANA" in _script(char) or char == "ー" or "ア" <= char <= "ヺ"):
            return 1.0
        coded = char.encode(encoding)
        if len(coded) != 2:
            return 0.1
        if encoding == "gb18030" and coded[1] < 0xA1:
            return 0.2
        return 0.95 if coded[0] in common else 0.2

    return usual


def _script(char: str) -> str:
    return unicodedata.name(char, "")


_LANGUAGES: Final = {encoding: languages for windows, dos, languages in _LATIN for encoding in (windows, dos)}
_USUAL: Final[dict[str, Callable[[str, str, bool], float]]] = {
    **{encoding: _latin(languages) for encoding, languages in _LANGUAGES.items()},
    **dict.fromkeys(("cp866", "cp1251", "koi8-r"), _alphabet("CYRILLIC")),
    **dict.fromkeys(("cp1253", "cp737"), _alphabet("GREEK")),
    **dict.fromkeys(("cp1255", "cp862"), _hebrew),
    # the lead bytes of the commonest signs, which each standard puts first
    "gb18030": _double_byte("gb18030", range(0xB0, 0xD8)),
    "big5": _double_byte("big5", range(0xA4, 0xC7)),
    "cp932": _double_byte("cp932", range(0x88, 0x98), kana=True),
    "cp949": _double_byte("cp949", range(0xB0, 0xC9)),
}
