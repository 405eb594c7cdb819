# ruff: noqa: RUF001 - the wide comma is the one that is meant
"""A request's words through real models of no size: translation, then enhancement, each only if asked for."""

import re
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers.models.mbart50.tokenization_mbart50 import FAIRSEQ_LANGUAGE_CODES

from shared.errors import GenerationFailed
from shared.missing import NO_TRANSLATOR
from tests.support.jobs import make_spec
from tests.support.sentences import SENTENCES
from tests.support.studio import running_studio
from tests.support.tiny_language import save_translator, save_writer
from worker.gpu.words import LANGUAGES, PromptWriter, Translator, Wording, Words, enhance
from worker.gpu.words.enhance import NEGATIVES
from worker.gpu.words.writer import tidy

CPU = torch.device("cpu")
FRENCH = "un vieux bateau de pêche sur la plage"
OFF = {"translate": False, "enhance": False}
TRANSLATED = {"translate": True, "enhance": False}
ENHANCED = {"translate": False, "enhance": True}


@pytest.fixture(scope="module")
def translator_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_translator(tmp_path_factory.mktemp("translator"))


@pytest.fixture(scope="module")
def writer_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_writer(tmp_path_factory.mktemp("writer"))


@pytest.fixture(scope="module")
def translator(translator_folder: Path) -> Translator:
    return Translator.load(str(translator_folder), CPU)


@pytest.fixture(scope="module")
def writer(writer_folder: Path) -> PromptWriter:
    return PromptWriter.load(str(writer_folder), CPU)


class Numbered(Translator):
    """Its translations are `english 0`, `english 1.` and so on."""

    def __init__(self) -> None:
        super().__init__(None, None, CPU)

    def _translate(self, pieces: list[str], language: str) -> list[str]:
        return [f" english {i}." for i, _ in enumerate(pieces)]


def generated(translator: Translator, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The calls of the model's `generate` from now on."""
    calls: list[dict[str, Any]] = []
    generate = translator._model.generate

    def spied(**options: Any) -> Any:
        calls.append(options)
        return generate(**options)

    monkeypatch.setattr(translator._model, "generate", spied)
    return calls


class TestTranslation:
    def test_the_52_languages_are_those_of_mbart_50(self) -> None:
        assert set(LANGUAGES) == set(FAIRSEQ_LANGUAGE_CODES)

    def test_english_is_returned_as_it_came_and_the_model_is_not_called(
        self, translator: Translator, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        calls = generated(translator, monkeypatch)
        prompt = " a red circle  on a blue background, ((8K)), RAW, f/1.4,"

        assert translator.to_english(prompt) == prompt
        assert not calls

    @pytest.mark.parametrize("code", [code for code in SENTENCES if code != "en_XX"])
    def test_every_other_language_goes_through_the_model_into_english(
        self, translator: Translator, monkeypatch: pytest.MonkeyPatch, code: str
    ) -> None:
        calls = generated(translator, monkeypatch)
        english = translator.to_english(SENTENCES[code])

        ids = translator._tokenizer.convert_tokens_to_ids
        assert [call["forced_bos_token_id"] for call in calls] == [ids("en_XX")]
        assert set(calls[0]["input_ids"][:, 0].tolist()) == {ids(code)}
        assert english
        assert english != SENTENCES[code]

    def test_the_same_text_gives_the_same_english(self, translator: Translator) -> None:
        assert translator.to_english(FRENCH) == translator.to_english(FRENCH)

    def test_slots_that_translate_side_by_side_get_what_each_gets_alone(self, translator: Translator) -> None:
        prompts = [SENTENCES[code] for code in ("fr_XX", "ko_KR", "ru_RU", "th_TH")] * 3
        alone = [translator.to_english(prompt) for prompt in prompts]

        with ThreadPoolExecutor(4) as pool:
            assert list(pool.map(translator.to_english, prompts)) == alone

    def test_the_pieces_of_a_prompt_share_one_run(
        self, translator: Translator, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        calls = generated(translator, monkeypatch)
        translator.to_english("un vieux bateau, (la mer:1.3), un ciel clair, 8K")

        assert [len(call["input_ids"]) for call in calls] == [3]

    @pytest.mark.parametrize(
        ("prompt", "english"),
        [
            ("un vieux bateau de pêche (sur la plage:1.3), 8K", "english 0 (english 1:1.3), 8K"),
            ("((un vieux bateau)), [la mer] BREAK le soir.", "((english 0)), [english 1] BREAK english 2."),
            ("UN VIEUX BATEAU SUR LA MER, RAW", "english 0, RAW"),
            ("un vieux bateau, masterpiece, f/1.4, RAW", "english 0, masterpiece, f/1.4, RAW"),
            ("un vieux bateau sur la mer, <lora:mer:0.7>", "english 0, <lora:mer:0.7>"),
            (r"un vieux bateau \(la mer\) sur la plage", r"english 0 \(english 1\) english 2"),
            ("[un chien dans la neige:un chat noir:0.5]", "[english 0:english 1:0.5]"),
            (" un vieux bateau de pêche ,\n la mer  ", " english 0 ,\n english 1  "),
            ("一艘旧渔船，安静的海滩。masterpiece, blue sky", "english 0, english 1. masterpiece, blue sky"),
            ("قارب صيد قديم، شاطئ هادئ", "english 0,  english 1"),
        ],
    )
    def test_syntax_stays_where_it_is(self, prompt: str, english: str) -> None:
        assert re.sub("  +", " ", Numbered().to_english(prompt)) == re.sub("  +", " ", english)

    @pytest.mark.parametrize("made", ["", "   ", "()"])
    def test_a_piece_that_the_model_has_nothing_for_stays(
        self, monkeypatch: pytest.MonkeyPatch, made: str
    ) -> None:
        monkeypatch.setattr(Numbered, "_translate", lambda self, pieces, language: [made for _ in pieces])

        assert Numbered().to_english(FRENCH) == FRENCH

    def test_a_translation_brings_no_syntax_of_its_own(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(Numbered, "_translate", lambda self, pieces, language: ["an (old] <boat>"])

        assert Numbered().to_english(FRENCH) == "an old boat"

    def test_a_checkpoint_as_it_is_on_the_hub_is_read_too(
        self, tmp_path: Path, translator: Translator
    ) -> None:
        as_on_hub = Translator.load(str(save_translator(tmp_path, as_on_hub=True)), CPU)

        assert as_on_hub.to_english(FRENCH) == translator.to_english(FRENCH)

    def test_a_source_that_is_no_translator_fails_with_a_sentence(
        self, tmp_path: Path, writer_folder: Path
    ) -> None:
        for source in (tmp_path / "nothing", tmp_path, writer_folder):
            with pytest.raises(GenerationFailed, match=r"translation model can't be loaded"):
                Translator.load(str(source), CPU)


class TestWriting:
    @pytest.mark.parametrize("prompt", ["a car", "((a car:1.3)), ", "a car,", "", "一辆车", "a car\n"])
    @pytest.mark.parametrize("seed", range(5))
    def test_the_users_words_come_first_and_the_rest_is_one_plain_line(
        self, writer: PromptWriter, prompt: str, seed: int
    ) -> None:
        written = writer.write(prompt, seed)
        added = written[len(prompt) :]

        assert written.startswith(prompt)
        assert added.isprintable()
        assert not set("()[]{}<>:|\\_") & set(added)

    def test_the_same_seed_gives_the_same_text_and_others_give_others(self, writer: PromptWriter) -> None:
        written = [writer.write("a car", seed) for seed in range(8)]

        assert [writer.write("a car", seed) for seed in range(8)] == written
        assert len(set(written)) == 8

    def test_slots_that_write_side_by_side_get_what_each_gets_alone(self, writer: PromptWriter) -> None:
        alone = [writer.write("a car", seed) for seed in range(8)]

        with ThreadPoolExecutor(4) as pool:
            assert list(pool.map(lambda seed: writer.write("a car", seed), range(8))) == alone

    def test_the_random_numbers_of_other_threads_are_neither_used_nor_changed(
        self, writer: PromptWriter
    ) -> None:
        torch.manual_seed(1)
        before, first = torch.get_rng_state(), writer.write("a car", 7)
        untouched = torch.equal(before, torch.get_rng_state())
        torch.manual_seed(2)

        assert untouched
        assert writer.write("a car", 7) == first

    def test_a_prompt_longer_than_the_model_sees_is_gone_on_from_its_end(self, writer: PromptWriter) -> None:
        prompt = "a very long road " * 100

        assert writer.write(prompt, 1).startswith(prompt)

    def test_no_more_is_added_than_asked_for(self, writer: PromptWriter) -> None:
        assert len(writer.write("a car", 3, most_new_tokens=5)) <= len("a car ") + 5

    @pytest.mark.parametrize(
        ("prompt", "added", "kept"),
        [
            ("a car", "toon, sharp focus, 8K", ", sharp focus, 8K"),
            ("a car", " in the rain", " in the rain"),
            ("a car,", "in the rain", " in the rain"),
            ("a car, ", " in the rain", "in the rain"),
            ("a car", ", rain\nPrompt: next", ", rain"),
            ("a car", "\n, rain", ", rain"),
            ("a car", ", ((rain:1.2)), <lora:x:1>,, fog, ", ", rain1.2, lorax1, fog"),
            ("a car", "", ""),
            ("", ", a car", "a car"),
        ],
    )
    def test_what_the_model_adds_is_tidied(self, prompt: str, added: str, kept: str) -> None:
        assert tidy(added, prompt, ended=True) == kept

    def test_a_last_phrase_that_the_limit_cut_off_is_dropped(self) -> None:
        assert tidy(", rain, sharp fo", "a car", ended=False) == ", rain"

    def test_a_source_that_is_no_language_model_fails_with_a_sentence(self, tmp_path: Path) -> None:
        with pytest.raises(GenerationFailed, match=r"prompt writer can't be loaded"):
            PromptWriter.load(str(tmp_path), CPU)


class TestPreparing:
    def test_what_is_off_changes_nothing(self, translator: Translator, writer: PromptWriter) -> None:
        words = Wording(translator, writer).prepare(f" {FRENCH},", " laid ", seed=1, **OFF)

        assert words == Words(f" {FRENCH},", " laid ")

    def test_enhancement_is_the_built_in_one_without_a_writer(self) -> None:
        words = Wording().prepare("a cat", "ugly", seed=7, **ENHANCED)

        assert words == enhance("a cat", "ugly", 7)

    def test_a_translation_without_a_translator_fails_with_what_to_do_instead(self) -> None:
        with pytest.raises(GenerationFailed) as failure:
            Wording().prepare(FRENCH, "", seed=1, translate=True, enhance=True)

        assert failure.value.detail == NO_TRANSLATOR
        assert "kind translator" in NO_TRANSLATOR

    def test_empty_prompts_need_no_translator(self) -> None:
        assert Wording().prepare(" ", "", seed=1, **TRANSLATED) == Words(" ", "")

    def test_both_prompts_are_translated_and_then_enhanced(self, translator: Translator) -> None:
        wording = Wording(translator)
        negative = "une photo floue et sombre"
        english = Words(translator.to_english(FRENCH), translator.to_english(negative))

        assert wording.prepare(FRENCH, negative, seed=3, **TRANSLATED) == english
        assert wording.prepare(FRENCH, negative, seed=3, translate=True, enhance=True) == enhance(
            english.prompt, english.negative_prompt, 3
        )

    def test_the_writer_takes_the_place_of_the_style_phrases_only(self, writer: PromptWriter) -> None:
        words = Wording(None, writer).prepare("a car", "ugly", seed=3, **ENHANCED)

        assert words.prompt == writer.write("a car", 3)
        assert words.negative_prompt == ", ".join(("ugly", *NEGATIVES))


class TestBorrowing:
    def test_a_job_borrows_what_its_words_need_and_all_jobs_share_it(
        self, translator_folder: Path, writer_folder: Path
    ) -> None:
        start = threading.Barrier(8)

        def prepare(_: int) -> tuple[object, object]:
            start.wait()
            with studio.library.wording(make_spec(multi_lingual=True, enhance_prompt=True)) as wording:
                return wording.translator, wording.writer

        folders = {"translator": translator_folder, "prompt_writer": writer_folder}
        with running_studio(**folders) as studio, ThreadPoolExecutor(8) as pool:
            with studio.library.wording(make_spec()) as wording:
                assert wording == Wording()
            borrowed = set(pool.map(prepare, range(8)))

        assert len(borrowed) == 1
        assert [type(each) for each in borrowed.pop()] == [Translator, PromptWriter]

    def test_a_load_that_failed_is_tried_again(self, tmp_path: Path) -> None:
        spec = make_spec(multi_lingual=True)
        with running_studio(translator=tmp_path) as studio:
            with pytest.raises(GenerationFailed), studio.library.wording(spec):
                pass
            save_translator(tmp_path)
            with studio.library.wording(spec) as wording:
                assert wording.prepare(FRENCH, "", seed=1, **TRANSLATED).prompt != FRENCH
