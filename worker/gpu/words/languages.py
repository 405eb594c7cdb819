"""The 52 languages of `multi_lingual`, and which of them a prompt is written in.

A script that only one of them is written in decides; else py3langid chooses among those of the script. It
knows all 52, and a sentence in any of them is told. What can't be told: Japanese in Chinese characters only
is taken for Chinese; a few words that neighbours share (Spanish, Galician and Portuguese; Hindi, Nepali and
Marathi) may be taken for the neighbour's; one or two words in Latin letters that could be English (`dragon`,
`rotes Auto`) are taken for English. A language that is none of the 52 is taken for its nearest relative in
the same script, and if it has none (Greek, Armenian) for English, which is to leave it alone.
"""

import re
import unicodedata
from collections import Counter

from py3langid.langid import MODEL_FILE, LanguageIdentifier  # type: ignore[import-untyped]

from worker.gpu.words.enhance import GROUPS, NEGATIVES, WEIGHT, plain
from worker.gpu.words.lazy import Lazy

ENGLISH = "en_XX"

LANGUAGES = {
    "af_ZA": ("Afrikaans", "af"),
    "ar_AR": ("Arabic", "ar"),
    "az_AZ": ("Azerbaijani", "az"),
    "bn_IN": ("Bengali", "bn"),
    "my_MM": ("Burmese", "my"),
    "zh_CN": ("Chinese", "zh"),
    "hr_HR": ("Croatian", "hr"),
    "cs_CZ": ("Czech", "cs"),
    "nl_XX": ("Dutch", "nl"),
    "en_XX": ("English", "en"),
    "et_EE": ("Estonian", "et"),
    "fi_FI": ("Finnish", "fi"),
    "fr_XX": ("French", "fr"),
    "gl_ES": ("Galician", "gl"),
    "ka_GE": ("Georgian", "ka"),
    "de_DE": ("German", "de"),
    "gu_IN": ("Gujarati", "gu"),
    "he_IL": ("Hebrew", "he"),
    "hi_IN": ("Hindi", "hi"),
    "id_ID": ("Indonesian", "id"),
    "it_IT": ("Italian", "it"),
    "ja_XX": ("Japanese", "ja"),
    "kk_KZ": ("Kazakh", "kk"),
    "km_KH": ("Khmer", "km"),
    "ko_KR": ("Korean", "ko"),
    "lv_LV": ("Latvian", "lv"),
    "lt_LT": ("Lithuanian", "lt"),
    "mk_MK": ("Macedonian", "mk"),
    "ml_IN": ("Malayalam", "ml"),
    "mr_IN": ("Marathi", "mr"),
    "mn_MN": ("Mongolian", "mn"),
    "ne_NP": ("Nepali", "ne"),
    "ps_AF": ("Pashto", "ps"),
    "fa_IR": ("Persian", "fa"),
    "pl_PL": ("Polish", "pl"),
    "pt_XX": ("Portuguese", "pt"),
    "ro_RO": ("Romanian", "ro"),
    "ru_RU": ("Russian", "ru"),
    "si_LK": ("Sinhala", "si"),
    "sl_SI": ("Slovene", "sl"),
    "es_XX": ("Spanish", "es"),
    "sw_KE": ("Swahili", "sw"),
    "sv_SE": ("Swedish", "sv"),
    "tl_XX": ("Tagalog", "tl"),
    "ta_IN": ("Tamil", "ta"),
    "te_IN": ("Telugu", "te"),
    "th_TH": ("Thai", "th"),
    "tr_TR": ("Turkish", "tr"),
    "uk_UA": ("Ukrainian", "uk"),
    "ur_PK": ("Urdu", "ur"),
    "vi_VN": ("Vietnamese", "vi"),
    "xh_ZA": ("Xhosa", "xh"),
}
"""mBART-50's code of each language: its English name and its ISO 639-1 code."""

UNDETECTABLE: frozenset[str] = frozenset()
"""The languages that no sentence can be recognised in; with py3langid 0.4 there are none."""

SCRIPTS = {
    "ARABIC": ("ar_AR", "fa_IR", "ps_AF", "ur_PK"),
    "BENGALI": ("bn_IN",),
    "CJK": ("zh_CN",),
    "CYRILLIC": ("kk_KZ", "mk_MK", "mn_MN", "ru_RU", "uk_UA"),
    "DEVANAGARI": ("hi_IN", "mr_IN", "ne_NP"),
    "GEORGIAN": ("ka_GE",),
    "GUJARATI": ("gu_IN",),
    "HANGUL": ("ko_KR",),
    "HEBREW": ("he_IL",),
    "HIRAGANA": ("ja_XX",),
    "KATAKANA": ("ja_XX",),
    "KHMER": ("km_KH",),
    "MALAYALAM": ("ml_IN",),
    "MYANMAR": ("my_MM",),
    "SINHALA": ("si_LK",),
    "TAMIL": ("ta_IN",),
    "TELUGU": ("te_IN",),
    "THAI": ("th_TH",),
}
"""The first word of a letter's Unicode name: the languages that are written so. All others write Latin."""

LATIN = tuple(code for code in LANGUAGES if not any(code in written for written in SCRIPTS.values()))

ENGLISH_WORDS = frozenset(
    """
    the and with from near behind between through without into wearing holding standing sitting
    sleeping asleep walking running riding flying looking smiling
    cat cats kitten dog dogs puppy horse bird birds fish wolf fox bear knight warrior wizard witch
    girl boy woman women child people old young lady king queen face eyes hair hands body skin
    red green blue yellow purple pink white black gray grey brown golden silver
    dark bright light lights shadow shadows fog rain snow fire smoke river ocean beach sky
    clouds sun sunset sunrise moon stars night morning evening summer autumn spring
    tree trees forest flower flowers leaf leaves grass garden field hill hills mountain mountains desert
    city street road house castle tower bridge bedroom kitchen window chair
    car cars ship boat plane spaceship rocket space world food bread cheese tea party
    small large big tiny huge left right bottom middle background foreground
    circle square triangle star heart cross
    beautiful cute ancient futuristic realistic picture painting drawing landscape
    """.split()  # noqa: SIM905 - a list of strings would be a page long
)
"""English words of prompts: a short prompt is too little for statistics over letters."""

KNOWN_WORD_ODDS = 300.0
"""How much more likely a word of ENGLISH_WORDS makes English."""
MOST_KNOWN_WORDS = 20
"""More of them say no more, and would be too large a number."""
CLOSE_TO_ENGLISH = 0.05
UNSURE = 0.4
"""Below this the best guess gives way to an English that is close to it."""
FOREIGN_SHARE = 0.1
"""Of the letters; so few make a prompt foreign, as tags in English often follow a line in another script."""

TAG = re.compile(r"<[^<>]*>")
"""`<lora:name:1>`"""

STYLE_PHRASES = (
    *("8k", "4k", "hd", "uhd", "hdr", "raw photo", "photorealistic", "hyperrealistic", "ultra realistic"),
    *("masterpiece", "best quality", "high quality", "ultra detailed", "depth of field", "bokeh"),
    *("octane render", "unreal engine", "unreal engine 5", "trending on artstation", "concept art"),
    *("digital art", "digital painting", "oil painting", "cinematic", "1girl", "1boy", "solo"),
    *("detailed", "realistic", "raw"),
)
STYLE = frozenset(
    plain(phrase)
    for phrase in (*STYLE_PHRASES, *NEGATIVES, *(phrase for group in GROUPS for phrase in group.phrases))
)
"""English that prompts of all languages end with, so it tells nothing about theirs."""


def detect(text: str) -> str:
    """The mBART-50 code of the language that most of a prompt is in; English if there is nothing to go by."""
    words = telling(text)
    if not any(letter.isalpha() for letter in words):
        return ENGLISH
    candidates = by_script(words)
    if len(candidates) == 1:
        return candidates[0]
    likely = likelihoods(words, candidates)
    best = max(likely, key=likely.__getitem__)
    return ENGLISH if ENGLISH in likely and _may_be_english(words, likely, best) else best


def _may_be_english(words: str, likely: dict[str, float], best: str) -> bool:
    known = min(sum(word in ENGLISH_WORDS for word in words.lower().split()), MOST_KNOWN_WORDS)
    english = likely[ENGLISH] * KNOWN_WORD_ODDS**known
    return english >= likely[best] or (likely[best] < UNSURE and english >= CLOSE_TO_ENGLISH * likely[best])


def telling(text: str) -> str:
    """The parts of a prompt that show its language: no weights, tags, figures or words of style."""
    bare = WEIGHT.sub("", TAG.sub("", unicodedata.normalize("NFKC", text)))
    parts = (part.strip() for part in re.split(r"[,;|\n()\[\]{}]", bare))
    return " ".join(part for part in parts if not is_style(part))


def is_style(part: str) -> bool:
    """Whether what stands between two commas is style or figures only, such as `sharp focus` and `f/1.4`."""
    said = plain(part)
    return said in STYLE or (part.isascii() and not any(w.isalpha() and len(w) > 1 for w in said.split()))


def by_script(text: str) -> tuple[str, ...]:
    """The languages that write as `text` is written."""
    letters = Counter(script(letter) for letter in text if letter.isalpha())
    for kana in ("HIRAGANA", "KATAKANA"):
        letters[kana] += letters["CJK"] if letters[kana] else 0
    foreign = {name: count for name, count in letters.items() if name in SCRIPTS}
    most = max(foreign, key=foreign.__getitem__, default="")
    if most and foreign[most] >= FOREIGN_SHARE * letters.total():
        return SCRIPTS[most]
    return LATIN if letters["LATIN"] else (ENGLISH,)


def script(letter: str) -> str:
    return unicodedata.name(letter, "").partition(" ")[0]


def likelihoods(text: str, codes: tuple[str, ...]) -> dict[str, float]:
    found: dict[str, float] = dict(_identifier.get().rank(text))
    return {code: found[LANGUAGES[code][1]] for code in codes}


def _load_identifier() -> LanguageIdentifier:
    """Our own: that of the module's functions is restricted to the languages that anyone named last."""
    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    identifier.set_languages([iso for _, iso in LANGUAGES.values()])
    return identifier


_identifier: Lazy[LanguageIdentifier] = Lazy(_load_identifier)
"""Takes a second to load; read by many threads without a lock, as nothing is written to it."""
