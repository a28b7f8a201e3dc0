"""Telling the language of a text: langdetect as the official checkers use it, and a stricter way that sees scripts."""

from __future__ import annotations

import re
import threading
from functools import cache
from typing import Any

LANGUAGES: dict[str, str] = {
    "af": "Afrikaans", "ar": "Arabic", "bg": "Bulgarian", "bn": "Bengali", "ca": "Catalan", "cs": "Czech",
    "cy": "Welsh", "da": "Danish", "de": "German", "el": "Greek", "en": "English", "es": "Spanish",
    "et": "Estonian", "fa": "Persian", "fi": "Finnish", "fr": "French", "gu": "Gujarati", "he": "Hebrew",
    "hi": "Hindi", "hr": "Croatian", "hu": "Hungarian", "id": "Indonesian", "it": "Italian",
    "ja": "Japanese", "kn": "Kannada", "ko": "Korean", "lt": "Lithuanian", "lv": "Latvian",
    "mk": "Macedonian", "ml": "Malayalam", "mr": "Marathi", "ne": "Nepali", "nl": "Dutch",
    "no": "Norwegian", "pa": "Punjabi", "pl": "Polish", "pt": "Portuguese", "ro": "Romanian",
    "ru": "Russian", "sk": "Slovak", "sl": "Slovenian", "so": "Somali", "sq": "Albanian", "sv": "Swedish",
    "sw": "Swahili", "ta": "Tamil", "te": "Telugu", "th": "Thai", "tl": "Tagalog", "tr": "Turkish",
    "uk": "Ukrainian", "ur": "Urdu", "vi": "Vietnamese", "zh-cn": "Chinese (simplified)",
    "zh-tw": "Chinese (traditional)",
}  # fmt: skip
"""The 55 codes that langdetect 1.0.9 knows, and their English names."""

SCRIPTS: tuple[tuple[str, frozenset[str]], ...] = (
    ("\u0590-\u05ff", frozenset({"he"})),
    ("\u0600-\u06ff\u0750-\u077f", frozenset({"ar", "fa", "ur"})),
    ("\u0400-\u04ff", frozenset({"bg", "mk", "ru", "uk"})),
    ("\u0370-\u03ff\u1f00-\u1fff", frozenset({"el"})),
    ("\u0900-\u097f", frozenset({"hi", "mr", "ne"})),
    ("\u0980-\u09ff", frozenset({"bn"})),
    ("\u0a00-\u0a7f", frozenset({"pa"})),
    ("\u0a80-\u0aff", frozenset({"gu"})),
    ("\u0b80-\u0bff", frozenset({"ta"})),
    ("\u0c00-\u0c7f", frozenset({"te"})),
    ("\u0c80-\u0cff", frozenset({"kn"})),
    ("\u0d00-\u0d7f", frozenset({"ml"})),
    ("\u0e00-\u0e7f", frozenset({"th"})),
    ("\u1100-\u11ff\uac00-\ud7af", frozenset({"ko"})),
    ("\u3040-\u30ff\u4e00-\u9fff", frozenset({"ja", "zh-cn", "zh-tw"})),
)
"""Unicode ranges of the scripts other than Latin, and the languages written in each."""

MIN_LETTERS = 20
MIN_LETTERS_DENSE = 8
MIN_SHARE = 0.8
MIN_PROBABILITY = 0.7
OFFICIAL_LIMIT = 200_000
READ_LIMIT = 20_000

# Left out on purpose: short words that other languages share, such as "a", "in", "is", "no", "so", "to",
# "was".
_ENGLISH = """
the and that this these those there then thus with without from which what when where while who whose why
how of for by into onto than because since if but not are were be been being has have had does did will
would can could should may might must shall we you they it its our your their them each every both all
some any other another same more less most least many much few first second third last next step steps
answer answers result total number numbers sum product difference equals equal value find found get gets
got give gives given need needs know see let us now therefore hence finally together left right times
plus minus divided solve solution problem question only also after before about between up down out over
under again check makes make take takes add subtract multiply divide one two three four five six seven
eight nine ten half twice
"""

ENGLISH_WORDS: frozenset[str] = frozenset(_ENGLISH.split())

_lock = threading.Lock()


@cache
def _factory() -> Any:
    from langdetect.detector_factory import PROFILES_DIRECTORY, DetectorFactory

    factory = DetectorFactory()
    factory.load_profile(PROFILES_DIRECTORY)
    factory.seed = 0
    return factory


def _detector(text: str) -> Any:
    with _lock:
        detector = _factory().create()
    detector.append(text)
    return detector


def detect(text: str) -> str | None:
    """Return langdetect's answer with seed 0, or ``None`` where it raises because it finds no features.

    The generator is seeded for each call, so the answer does not depend on the calls before it. langdetect
    reads 10,000 characters; cutting at 200,000 first only bounds its search for addresses.
    """
    from langdetect.lang_detect_exception import LangDetectException

    try:
        return str(_detector(text[:OFFICIAL_LIMIT]).detect())
    except LangDetectException:
        return None


def matches(prose: str, code: str) -> tuple[bool, str]:
    """Decide whether ``prose`` (free of formulas) is written in the language ``code``; return it and a reason.

    At least 80 % of the letters have to stand in the language's script. Where several languages share it,
    langdetect chooses among those only, and has to be 70 % sure. A text with fewer than 20 letters (8 in
    Chinese, Japanese, Korean and Thai) does not show its language, and so does not meet an obligation to use
    one.
    """
    letters = "".join(filter(str.isalpha, prose[:READ_LIMIT]))
    dense = code in ("ja", "ko", "th", "zh-cn", "zh-tw")
    if len(letters) < (MIN_LETTERS_DENSE if dense else MIN_LETTERS):
        return False, "too little text to tell the language"
    ranges, peers = _script(code)
    share = len(re.findall(f"[{ranges}]", letters)) / len(letters)
    if share < MIN_SHARE:
        return False, f"{share:.0%} of the letters are in the script of {LANGUAGES[code]}"
    if code == "ja":
        kana = bool(re.search("[\u3040-\u30ff]", letters))
        return kana, "Japanese" if kana else "no kana: not Japanese"
    if len(peers) == 1:
        return True, LANGUAGES[code]
    return _most_probable(prose[:READ_LIMIT], code, peers)


def _script(code: str) -> tuple[str, frozenset[str]]:
    for ranges, codes in SCRIPTS:
        if code in codes:
            return ranges, codes
    others = frozenset[str]().union(*(codes for _, codes in SCRIPTS))
    return "A-Za-z\u00c0-\u024f\u1e00-\u1eff", frozenset(LANGUAGES) - others


def _most_probable(prose: str, code: str, peers: frozenset[str]) -> tuple[bool, str]:
    from langdetect.lang_detect_exception import LangDetectException

    # langdetect skips words written in capitals, so an upper-case text would have no features.
    detector = _detector(prose.lower())
    detector.set_prior_map(dict.fromkeys(peers, 1.0))
    try:
        best = detector.get_probabilities()[:1]
    except LangDetectException:
        return False, "too little text to tell the language"
    if not best:
        return False, "the language cannot be identified"
    detail = f"{LANGUAGES[best[0].lang]} ({best[0].prob:.0%})"
    return best[0].lang == code and best[0].prob >= MIN_PROBABILITY, detail


def is_english(prose: str) -> tuple[bool, str]:
    """Decide whether ``prose`` is English even where it is short; return it and a reason.

    A quarter of the words being common English ones suffices: langdetect calls short lower-case sentences
    about numbers Somali. Otherwise ``matches`` decides.
    """
    words = re.findall(r"[^\W\d_]{2,}", prose[:READ_LIMIT].lower())
    if not words:
        return False, "no words outside the formulas"
    latin = sum(map(str.isascii, words)) / len(words)
    if latin >= MIN_SHARE and sum(map(ENGLISH_WORDS.__contains__, words)) >= len(words) / 4:
        return True, "English"
    return matches(prose, "en")
