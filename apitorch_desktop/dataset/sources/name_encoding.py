"""Names and texts that are no UTF-8, from old systems and old archives: a guess of their encoding."""

import codecs
import re
import unicodedata
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import cache
from itertools import pairwise
from typing import Final
from urllib.parse import unquote

_WESTERN = (
    "äöüß", "àâæçéèêëîïôœùûüÿ", "áéíóúñü", "ãõáâàéêíóôúç", "æøåéäö", "ëïéèüö", "àèéìòù", "áéíóúýþæöð",
)  # fmt: skip
_CENTRAL = ("áčďéěíňóřšťúůýž", "áäčďéíĺľňóôŕšťúýž", "ąćęłńóśźż", "áéíóöőúüű", "ăâîșşțţ", "čćđšž", "äöüß")
_TURKISH = ("çğıöşüâî",)
_BALTIC = ("ąčęėįšųūž", "āčēģīķļņšūž", "äõöüšž")
_LATIN: Final = (
    ("cp1252", "cp850", _WESTERN), ("cp1250", "cp852", _CENTRAL), ("cp1254", "cp857", _TURKISH), ("cp1257", "cp775", _BALTIC),
)  # fmt: skip
"""Encodings of Windows and of DOS, and the letters beyond ASCII of the languages they are for, in the order in which they
are preferred where they fit alike. Names that belong together are rather in one of these languages."""
_OTHERS: Final = (
    "gb18030", "cp932", "cp949", "big5", "cp866", "cp1251", "koi8-r", "koi8-u", "cp1253", "cp737", "cp1255",
    "cp862", "cp1256", "cp874",
)  # fmt: skip
"""Encodings of other scripts, in the same order."""
_OF_TEXTS: Final = ("mac-roman", "iso8859-2")
"""Encodings of texts that names seldom have: those of old Macs and of Linux."""
_LEAST_GAIN: Final = 0.15
"""How much more usual the letters of names are in an encoding each, from which they are not of one."""
_SAMPLE: Final = 2**14
"""Bytes of a text that are looked at."""
_VOWELS: Final = {"CYRILLIC": "аеёиоуыэюяіїєѣ", "GREEK": "αεηιουωάέήίόύώϊϋΐΰ"}
_LETTERS: Final = {
    "CYRILLIC": "оеаинтсрвлкмдпуяыьгзбчйхжшюцщэфъёіїєґў",
    "GREEK": "αοιετσνηυςρπκμλωγδχθφβξζψ",
    "HEBREW": "יוהלארתבשמנםדקעחפכגסטצזןךףץ",
    "ARABIC": "اليمنرتبودسعةهقكفحجشصطخضزذثغظىء",
    "THAI": "านรอกเ่งมยลวดทสต้บัปีคหแิจพะชุขใไื็ูผโ์ำถซึศณธฐษญภฟฉฆ",
}
"""Letters of a script, the most frequent first."""
_SIGNS: Final = frozenset("€‚„…‘’“”•–—™‹›\xa0¡¢£§©ª«®°±²³´µ·¹º»¼½¾¿×№")
"""Signs that are no letters, and usual beside words and numbers of any script."""
_QUOTES: Final = frozenset("„‚‘’“”«»‹›…\xa0")
"""Signs that stand beside others."""
_PARTNERS: Final = {"¿": "?", "¡": "!", "«": "»", "»": "«", "‹": "›", "›": "‹", "„": '“”"'}
"""Signs, and those of which one is in the text as well."""
_PERCENT: Final = re.compile(r"%[0-9A-Fa-f]{2}")
_HASH: Final = re.compile(r"#(?:U((?!00[0-7])(?!d[89a-f])[0-9a-f]{4})|L(0[0-9a-f]{5}|10[0-9a-f]{4}))")
"""Letter as Info-ZIP writes it where a system cannot, in lower case."""
_WORD: Final = re.compile(r"(?:[^\W\d_]|[\u0e31-\u0e4e])+")
"""Letters, with the marks of Thai."""


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


def decode_each(names: Iterable[bytes]) -> list[str]:
    """Decode names on a disk: in one encoding, as `decode_names`, unless each has a more usual one of its own."""
    raw = list(names)
    texts, encoding = decode_names(raw)
    others = [name for name in raw if not _is_utf8(name)]
    if not encoding or len(others) < 2:
        return texts
    together = 0.0 if encoding == "?" else _score(b" \n".join(others), encoding)
    alone = [max(_score(name, each) for each in _USUAL) for name in others]
    if sum(alone) / len(alone) < together + _LEAST_GAIN:
        return texts
    return [decode_names([name])[0][0] for name in raw]


def decode_text(data: bytes) -> tuple[str, str]:
    """Decode a text that may be UTF-8 in part; return it and the encoding of lines that are no UTF-8, "" where all are."""
    try:
        return data.decode("utf-8-sig"), ""
    except UnicodeDecodeError:
        lines = data.removeprefix(b"\xef\xbb\xbf").splitlines(keepends=True)
    other = [line for line in lines if not _is_utf8(line)]
    encoding = _guess(b"".join(other)[:_SAMPLE], False, texts=True)
    codec = "cp1252" if encoding == "?" else encoding
    if encoding in _DOUBLE_BYTES:  # a few of its signs may look like UTF-8
        return data.decode(codec, "replace"), encoding
    return "".join(line.decode("utf-8" if _is_utf8(line) else codec, "replace") for line in lines), encoding


def unescaped(name: str) -> str:
    """Return a name without the escapes for letters that downloads (%20) and unzip (#U00e9) write."""
    if _PERCENT.search(name) and " " not in name:
        with suppress(UnicodeDecodeError):
            return _printable(unquote(name, errors="strict"), name)
    return _printable(_HASH.sub(lambda found: chr(int(found[1] or found[2], 16)), name), name)


def _printable(text: str, otherwise: str) -> str:
    return text if text.isprintable() and not set("/\\\ufffd") & set(text) else otherwise


def _is_utf8(name: bytes) -> bool:
    try:
        name.decode()
    except UnicodeDecodeError:
        return False
    return True


def _guess(text: bytes, archive: bool, *, texts: bool = False) -> str:
    latin = [one for windows, dos, _ in _LATIN for one in ((dos, windows) if archive else (windows, dos))]
    candidates = [*latin, *_OTHERS]
    if texts:
        candidates = [*(one[0] for one in _LATIN), *_OF_TEXTS, *(one[1] for one in _LATIN), *_OTHERS]
    scores = {encoding: _score(text, encoding) for encoding in candidates}
    best = max(candidates, key=lambda encoding: scores[encoding])
    # every common Korean syllable is a common Chinese sign as well, but not the reverse
    if (
        best == "gb18030"
        and scores["cp949"] >= scores[best]
        and sum(char > "\x7f" for char in set(_decode(text, "cp949"))) >= 4
    ):
        best = "cp949"
    return best if scores[best] >= 0.5 else "?"


def _decode(text: bytes, encoding: str) -> str:
    """Decode a text, which may be cut within a character where it is a sample."""
    return codecs.getincrementaldecoder(encoding)().decode(text, final=len(text) < _SAMPLE)


def _score(text: bytes, encoding: str) -> float:
    """Return how usual the characters beyond ASCII are in an encoding's languages, 0 to 1."""
    try:
        decoded = _decode(text, encoding)
    except UnicodeDecodeError:
        return -1.0
    usual = _USUAL[encoding]
    score, count, signed, signs = 0.0, 0, 0.0, 0
    distinct = set(decoded)
    words = {match.start(): match.group() for match in _WORD.finditer(decoded)}
    word, first, end = "", 0, 0
    for place, char in enumerate(decoded):
        if place in words:
            word, first, end = words[place], place, place + len(words[place])
        if ord(char) > 127 and char in _SIGNS and encoding not in _DOUBLE_BYTES:
            signs += 1
            if distinct.intersection(_PARTNERS.get(char, char)):
                signed += _sign(char, decoded[place - 1 : place], decoded[place + 1 : place + 2])
        elif ord(char) > 127:
            count += 1
            score += usual(char, word if place < end else "", place == first)
    if encoding in _LANGUAGES:
        letters = [char for char in decoded.lower() if ord(char) > 127 and char.isalpha() and char not in _SIGNS]
        shares = [sum(letter in known for letter in letters) for known in _LANGUAGES[encoding]]
        score *= 0.6 + 0.4 * max(shares) / max(len(letters), 1)
    return (score + signed) / (count + signs) if count + signs else 0.0


def _sign(char: str, before: str, after: str) -> float:
    """Return how usual a sign is between two characters."""
    if (after in _SIGNS or before in _SIGNS) and char not in _QUOTES:
        return 0.3
    if char in "×½¼¾±§£¹" and (before.isalpha() or after.isalpha()):
        return 0.0
    if (char in "„‚¿¡" and before.isalpha()) or (char in "”…™®²³ºª" and after.isalpha()):
        return 0.0
    if (char in "”™®¹²³ºª" and not before.strip()) or (char in "–—" and before.isalpha() != after.isalpha()):
        return 0.3
    return 0.5 if before.isalpha() and after.isalpha() and char != "’" else 1.0


def _latin(languages: tuple[str, ...]) -> Callable[[str, str, bool], float]:
    usual = frozenset("".join(languages) + "".join(languages).upper())

    def score(char: str, word: str, first: bool) -> float:
        if not word or "LATIN" not in _script(char):
            return 0.0
        if len(word) == 1:
            return 0.6
        if char.isupper() and not first and any(letter.islower() for letter in word):
            return 0.3
        if any(one.islower() and other.isupper() for one, other in pairwise(word)):
            return 0.6
        isolated = any(letter.isascii() for letter in word) and not re.search(r"[^\x00-\x7f]{4}", word)
        return (1.0 if char in usual else 0.6) * (1.0 if isolated else 0.3)

    return score


def _alphabet(script: str) -> Callable[[str, str, bool], float]:
    vowels = frozenset(_VOWELS[script])
    usual = _frequencies(script)

    def score(char: str, word: str, first: bool) -> float:
        if script not in _script(char) or any(letter.isascii() for letter in word):
            return 0.0
        if len(word) == 1:
            return 0.4
        if (len(word) > 2 and not vowels & set(word.lower())) or word[:1] in {*"ьъыЬЪЫ"}:
            return 0.3
        if script == "GREEK" and word[-1:] not in vowels | {"ς", "ν", "ρ"} and word.islower():
            return 0.5
        if script == "GREEK" and (char == "ς") != (word.endswith(char) and char in "ςσ"):
            return 0.5
        shape = 1.0 if char.islower() or (first and not word.isupper()) else 0.9 if word.isupper() else 0.3
        return shape * usual.get(_bare(char), 0.5)

    return score


@cache
def _frequencies(script: str) -> dict[str, float]:
    """Return how frequent letters are, 1 for the frequent third of them."""
    letters = _LETTERS[script]
    return {letter: min(1.0, 1.1 - 0.35 * place / len(letters)) for place, letter in enumerate(letters)}


def _caseless(script: str) -> Callable[[str, str, bool], float]:
    usual = _frequencies(script)

    def score(char: str, word: str, _first: bool) -> float:
        if f"{script} LETTER" not in _script(char) or any(letter.isascii() for letter in word):
            return 0.0
        if len(word) == 1:
            return 0.4
        if script == "HEBREW" and re.search("[ךםןףץ](?=.)", word):
            return 0.0
        return 0.3 if "ة" in word[:-1] or "ى" in word[:-1] else 0.98 * usual.get(_bare(char), 0.4)

    return score


def _thai(char: str, word: str, first: bool) -> float:
    if "THAI CHARACTER" not in _script(char) or any(letter.isascii() for letter in word):
        return 0.0
    return 0.3 if len(word) == 1 or (first and not char.isalpha()) else 0.9 * _frequencies("THAI").get(char, 0.3)


def _bare(char: str) -> str:
    return unicodedata.normalize("NFD", char.lower())[0]


def _double_byte(encoding: str, common: range, *, kana: bool = False) -> Callable[[str, str, bool], float]:
    def usual(char: str, _word: str, _first: bool) -> float:
        coded = char.encode(encoding)
        if len(coded) != 2:
            return 0.1
        if kana and ("HIRAGANA" in _script(char) or char == "ー" or "ア" <= char <= "ヺ"):
            return 1.0
        if encoding in {"gb18030", "cp949"} and coded[1] < 0xA1:
            return 0.2
        if coded[0] == 0xA1 and coded[1] >= 0xA1 and char in _SIGNS:
            return 0.92
        return 0.92 if coded[0] in common else 0.2

    return usual


def _script(char: str) -> str:
    return unicodedata.name(char, "")


_DOUBLE_BYTES: Final = frozenset({"gb18030", "cp932", "cp949", "big5"})
_LANGUAGES: Final = {encoding: languages for windows, dos, languages in _LATIN for encoding in (windows, dos)} | {
    "mac-roman": _WESTERN,
    "iso8859-2": _CENTRAL,
}
_USUAL: Final[dict[str, Callable[[str, str, bool], float]]] = {
    **{encoding: _latin(languages) for encoding, languages in _LANGUAGES.items()},
    **dict.fromkeys(("cp866", "cp1251", "koi8-r", "koi8-u"), _alphabet("CYRILLIC")),
    **dict.fromkeys(("cp1253", "cp737"), _alphabet("GREEK")),
    **dict.fromkeys(("cp1255", "cp862"), _caseless("HEBREW")),
    "cp1256": _caseless("ARABIC"),
    "cp874": _thai,
    # the lead bytes of the commonest signs, which each standard puts first
    "gb18030": _double_byte("gb18030", range(0xB0, 0xD8)),
    "big5": _double_byte("big5", range(0xA4, 0xC7)),
    "cp932": _double_byte("cp932", range(0x88, 0x98), kana=True),
    "cp949": _double_byte("cp949", range(0xB0, 0xC9)),
}
