# ruff: noqa: RUF001 - other scripts have letters that look like Latin ones
"""The language of a prompt is told from its words, whatever syntax and English style words are around."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.sentences import SENTENCES
from worker.gpu.words.languages import ENGLISH, LANGUAGES, LATIN, SCRIPTS, UNDETECTABLE, detect

STYLE = "masterpiece, best quality, highly detailed, sharp focus, 8K, RAW"


def test_there_are_52_languages_with_a_name_and_a_code_each() -> None:
    assert len(LANGUAGES) == len({iso for _, iso in LANGUAGES.values()}) == 52
    assert all(code.startswith(f"{iso}_") for code, (_, iso) in LANGUAGES.items())


def test_every_language_has_its_scripts() -> None:
    assert {code for written in SCRIPTS.values() for code in written} | set(LATIN) == set(LANGUAGES)


def test_a_sentence_in_each_language_is_told_except_in_those_that_are_said_to_be_undetectable() -> None:
    assert set(SENTENCES) == set(LANGUAGES)
    missed = {code for code, sentence in SENTENCES.items() if detect(sentence) != code}

    assert missed == UNDETECTABLE


@pytest.mark.parametrize("code", SENTENCES)
def test_style_words_in_english_and_weights_hide_no_language(code: str) -> None:
    assert detect(f"(({SENTENCES[code]})), {STYLE}, <lora:more-details:0.7>") == code
    assert detect(f"({SENTENCES[code]}:1.3), photo by canon eos, f/1.4") == code


@pytest.mark.parametrize("code", SENTENCES)
def test_capitals_hide_no_language(code: str) -> None:
    assert detect(SENTENCES[code].upper()) == code


@pytest.mark.parametrize(
    "prompt",
    [
        "a red circle on a blue background, 8K, RAW, f/1.4",
        "red circle",
        "two green triangles",
        "cat",
        "a cat",
        "dragon",
        "portrait",
        "cute anime cat, studio ghibli",
        "samurai, katana, fog",
        "woman in kimono, sakura, kyoto",
        "cyberpunk city, neon, rain",
        "masterpiece, best quality, 1girl, solo, long hair",
        "(masterpiece:1.2), detailed, vintage car",
        "by makoto shinkai, stanley artgerm lau, wlop, rossdraws, concept art",
        "ultra realistic close up portrait ((beautiful pale cyberpunk female with heavy black eyeliner)), "
        "blue eyes, shaved side haircut, hyper detail, cinematic lighting, Canon EOS R3, f/1.4, ISO 200",
        "painting, extra fingers, mutated hands, poorly drawn hands, poorly drawn face, deformed, ugly",
        "lowres, bad anatomy, watermark",
        "café in montmartre, rainy evening",
        "tattoo with the kanji 愛",
        "A RED CAR",
        STYLE,
    ],
)
def test_english_is_told_from_a_few_words(prompt: str) -> None:
    assert detect(prompt) == ENGLISH


@pytest.mark.parametrize(
    "prompt", ["", "  ", "8K, 4:3, f/1.4", "((!!!))", "<lora:gato:1>", "γάτα στο παράθυρο", "Ⅻ"]
)
def test_what_has_no_words_of_the_52_is_left_alone_as_english(prompt: str) -> None:
    assert detect(prompt) == ENGLISH


@pytest.mark.parametrize(
    ("prompt", "code"),
    [
        ("schwarze Katze", "de_DE"),
        ("roter Kreis auf blauem Hintergrund", "de_DE"),
        ("un gato negro duerme en la ventana", "es_XX"),
        ("cercle rouge sur fond bleu", "fr_XX"),
        ("czarny kot", "pl_PL"),
        ("kırmızı araba", "tr_TR"),
        ("pulang bilog sa asul na background", "tl_XX"),
        ("ikati emnyama ilele efestileni", "xh_ZA"),
        ("красный круг на синем фоне", "ru_RU"),
        ("червоне коло на синьому тлі", "uk_UA"),
        ("دایره قرمز روی پس‌زمینه آبی", "fa_IR"),
        ("دائرة حمراء على خلفية زرقاء", "ar_AR"),
        ("猫", "zh_CN"),
        ("ねこ", "ja_XX"),
        ("窓辺で眠る黒猫", "ja_XX"),
        ("고양이", "ko_KR"),
        ("แมว", "th_TH"),
        ("1girl, solo, long hair, 红色汽车", "zh_CN"),
    ],
)
def test_short_prompts_are_told_by_script_or_by_their_letters(prompt: str, code: str) -> None:
    assert detect(prompt) == code


@given(st.text())
def test_any_text_is_taken_for_one_of_the_52(text: str) -> None:
    assert detect(text) in LANGUAGES


def test_a_long_prompt_is_told_as_a_short_one_is() -> None:
    assert detect("a black cat and a white dog in the rain, " * 500) == ENGLISH
    assert detect("eine schwarze Katze und ein weißer Hund im Regen, " * 500) == "de_DE"


def test_threads_agree() -> None:
    start = threading.Barrier(8)

    def told() -> list[str]:
        start.wait()
        return [detect(sentence) for sentence in SENTENCES.values()]

    with ThreadPoolExecutor(8) as pool:
        found = [task.result() for task in [pool.submit(told) for _ in range(8)]]

    assert found == [list(SENTENCES)] * 8
