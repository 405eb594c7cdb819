"""Prompts into embeddings: diffusers' own for plain prompts, and what diffusers lacks, computed by hand."""

from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from shared.errors import GenerationFailed
from tests.support import tiny
from tests.support.painting import assert_same, painted, request, stock_picture
from worker.gpu.engine import Ask, Engine
from worker.gpu.models.embeddings import read_embedding
from worker.gpu.models.loaded import from_pipeline
from worker.gpu.painting import Kit, PictureRequest
from worker.gpu.painting.chunks import MOST_CHUNKS, chunked
from worker.gpu.painting.conditions import Conditions, condition

LONG = "a red circle on a blue background, " * 12


@pytest.fixture
def sd() -> diffusers.StableDiffusionPipeline:
    return tiny.stable_diffusion()


@pytest.fixture
def xl() -> diffusers.StableDiffusionXLPipeline:
    return tiny.stable_diffusion_xl()


def conditions(kit: Kit, wanted: PictureRequest) -> Conditions:
    """What the denoiser is to hear, without an engine: all asks are answered at once."""
    program = condition(kit, wanted, None)
    asks: list[Ask[Any]] = next(program)
    with torch.inference_mode(), pytest.raises(StopIteration) as end:
        program.send(list(asks[0].answer(asks)))
    result: Conditions = end.value.value
    return result


def kit_of(pipeline: diffusers.DiffusionPipeline, **parts: Any) -> Kit:
    model = from_pipeline("tiny", pipeline)
    return Kit(model=model, vae=model.vae, **parts)


def last_hidden_states(pipeline: diffusers.StableDiffusionPipeline, text: str) -> Any:
    ids = pipeline.tokenizer(
        text, padding="max_length", max_length=77, truncation=True, return_tensors="pt"
    ).input_ids
    with torch.inference_mode():
        return pipeline.text_encoder(ids, output_hidden_states=True)


@pytest.mark.parametrize("prompt", ["", "a red circle", "A Red, circle."])
def test_a_plain_short_prompt_is_encoded_exactly_as_diffusers_does(
    sd: diffusers.StableDiffusionPipeline, prompt: str
) -> None:
    ours = conditions(kit_of(sd), request(prompt=prompt, negative_prompt="blurry"))

    expected = [last_hidden_states(sd, text).last_hidden_state for text in ("blurry", prompt)]

    assert torch.equal(ours.embeddings, torch.cat(expected))


def test_sdxl_hears_both_encoders_the_pooled_prompt_and_the_sizes(
    xl: diffusers.StableDiffusionXLPipeline,
) -> None:
    ours = conditions(kit_of(xl), request(prompt="a star", negative_prompt="blurry", width=96, height=72))

    with torch.inference_mode():
        prompt, negative, pooled, negative_pooled = xl.encode_prompt("a star", negative_prompt="blurry")
    assert torch.allclose(ours.embeddings, torch.cat([negative, prompt]), atol=1e-6)
    assert ours.pooled is not None
    assert torch.allclose(ours.pooled, torch.cat([negative_pooled, pooled]), atol=1e-6)
    assert ours.sizes is not None
    assert ours.sizes.tolist() == [[72, 96, 0, 0, 72, 96]] * 2


@pytest.mark.parametrize("clip_skip", range(1, 9))
def test_clip_skip_hears_an_earlier_layer_and_stops_at_the_first(
    sd: diffusers.StableDiffusionPipeline, clip_skip: int
) -> None:
    ours = conditions(kit_of(sd), request(prompt="a star", negative_prompt="", clip_skip=clip_skip))

    states = last_hidden_states(sd, "a star").hidden_states
    layer = max(1, len(states) - clip_skip)  # this encoder has three
    with torch.inference_mode():
        expected = sd.text_encoder.final_layer_norm(states[layer])
    assert torch.allclose(ours.embeddings[1:], expected, atol=1e-6)


def test_clip_skip_counts_from_sdxls_penultimate_layer(xl: diffusers.StableDiffusionXLPipeline) -> None:
    first, second, third = (
        conditions(kit_of(xl), request(clip_skip=clip_skip)).embeddings for clip_skip in (1, 2, 3)
    )

    with torch.inference_mode():
        expected, *_ = xl.encode_prompt("a red circle", negative_prompt="", clip_skip=1)
    assert not torch.allclose(first, second)
    assert torch.allclose(second[1:], expected, atol=1e-6)
    assert torch.equal(second, third)  # there is none before it


def test_a_weight_scales_its_words_and_keeps_the_prompts_mean(sd: diffusers.StableDiffusionPipeline) -> None:
    sd.text_encoder.final_layer_norm.bias.data.fill_(
        0.3
    )  # trained encoders have a mean, random ones have none
    plain, heavy = (
        conditions(kit_of(sd), request(prompt=prompt)).embeddings[1] for prompt in ("x y z", "x (y:1.5) z")
    )

    ratio = heavy / plain
    usual = ratio[1].median()  # what the mean's restoring does to every word
    assert torch.allclose(ratio[2] / usual, torch.tensor(1.5), atol=1e-3)
    assert torch.allclose(ratio[3] / usual, torch.tensor(1.0), atol=1e-3)
    assert torch.allclose(heavy.mean(), plain.mean(), atol=1e-6)


def test_a_prompt_without_a_mean_is_weighed_all_the_same(sd: diffusers.StableDiffusionPipeline) -> None:
    plain, heavy = (
        conditions(kit_of(sd), request(prompt=prompt)).embeddings[1] for prompt in ("x y z", "x (y:1.5) z")
    )

    assert torch.isfinite(heavy).all()
    assert torch.allclose(heavy[2], plain[2] * 1.5, atol=1e-5)


def test_a_long_prompt_is_heard_to_its_end(sd: diffusers.StableDiffusionPipeline) -> None:
    one, other = (conditions(kit_of(sd), request(prompt=LONG + ending)) for ending in ("star", "ring"))

    assert one.embeddings.shape[1] % 77 == 0
    assert one.embeddings.shape[1] > 77
    assert torch.equal(one.embeddings[:, :77], other.embeddings[:, :77])
    assert not torch.equal(one.embeddings[1, -77:], other.embeddings[1, -77:])


def test_break_puts_what_follows_into_a_chunk_of_its_own(sd: diffusers.StableDiffusionPipeline) -> None:
    broken = conditions(kit_of(sd), request(prompt="a star BREAK a ring")).embeddings[1]

    parts = [conditions(kit_of(sd), request(prompt=text)).embeddings[1] for text in ("a star", "a ring")]
    assert torch.allclose(broken, torch.cat(parts), atol=1e-6)


def test_a_long_prompt_makes_the_picture_that_its_embeddings_make_in_diffusers(
    engine: Engine, sd: diffusers.StableDiffusionPipeline
) -> None:
    kit, wanted = kit_of(sd), request(prompt=LONG)
    heard = conditions(kit, wanted).embeddings.clone()

    stock = stock_picture(
        sd,
        wanted,
        prompt=None,
        negative_prompt=None,
        prompt_embeds=heard[1:],
        negative_prompt_embeds=heard[:1],
    )

    assert_same(painted(engine, kit, wanted), stock)


def test_a_prompt_of_nothing_but_breaks_and_one_beyond_all_measure_stay_bounded(
    sd: diffusers.StableDiffusionPipeline,
) -> None:
    many, endless = (
        conditions(kit_of(sd), request(prompt=text)) for text in ("a BREAK " * 1400, "ab " * 9000)
    )

    assert many.embeddings.shape[1] == endless.embeddings.shape[1] == 77 * MOST_CHUNKS


def save_embedding(folder: Path, name: str, tensors: dict[str, Tensor]) -> Path:
    file = folder / f"{name}.safetensors"
    save_file(tensors, file)
    return file


def vectors(width: int = tiny.WIDTH, seed: int = 0) -> Tensor:
    return torch.randn(2, width, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("word", ["<mint>", "emb_params"], ids=["diffusers", "webui"])
def test_an_embedding_means_what_diffusers_makes_of_it(
    sd: diffusers.StableDiffusionPipeline, tmp_path: Path, word: str
) -> None:
    file = save_embedding(tmp_path, "mint", {word: vectors()})
    ours = conditions(kit_of(sd, embeddings=(read_embedding("mint", file),)), request(prompt="a Mint star"))

    theirs = tiny.stable_diffusion()
    theirs.load_textual_inversion({"<mint>": vectors()})
    text = theirs.maybe_convert_prompt("a <mint> star", theirs.tokenizer)
    expected = last_hidden_states(theirs, text).last_hidden_state

    assert torch.allclose(ours.embeddings[1:], expected, atol=1e-6)


def test_an_embedding_is_not_heard_by_jobs_that_did_not_name_it(
    sd: diffusers.StableDiffusionPipeline, tmp_path: Path
) -> None:
    embedding = read_embedding("mint", save_embedding(tmp_path, "mint", {"<mint>": vectors()}))
    wanted = request(prompt="a mint star, <mint>")
    before = conditions(kit_of(sd), wanted).embeddings

    with_it = conditions(kit_of(sd, embeddings=(embedding,)), wanted).embeddings
    after = conditions(kit_of(sd), wanted).embeddings

    assert not torch.equal(before, with_it)
    assert torch.equal(before, after)


def test_an_sdxl_embedding_speaks_to_both_encoders_and_leaves_the_summary_at_the_end_mark(
    xl: diffusers.StableDiffusionXLPipeline, tmp_path: Path
) -> None:
    file = save_embedding(tmp_path, "mint", {"clip_l": vectors(), "clip_g": vectors(seed=1)})
    kit = kit_of(xl, embeddings=(read_embedding("mint", file),))

    plain, ours = (conditions(kit, request(prompt=prompt)) for prompt in ("a star", "a star mint"))

    halves = (ours.embeddings - plain.embeddings).abs().sum((0, 1)).chunk(2)
    assert all(half.sum() > 0 for half in halves)
    assert ours.pooled is not None
    with torch.inference_mode():  # the encoder's own summary takes the first of the highest ids for the end
        ids = torch.tensor([chunked(kit.model.encoders[1].tokenizer, "a star mint", words_of(kit))[0].ids])
        states = xl.text_encoder_2(ids).last_hidden_state
        expected = xl.text_encoder_2.text_projection(states[0, list(ids[0]).index(xl.tokenizer.eos_token_id)])
    assert torch.allclose(ours.pooled[1], expected, atol=1e-5)


def words_of(kit: Kit) -> dict[str, tuple[int, ...]]:
    embedding = kit.embeddings[0]
    return {"mint": kit.model.encoders[1].vocabulary.ids(embedding, embedding.vectors_for(1))}


@pytest.mark.parametrize(
    ("tensors", "words"),
    [
        pytest.param({"<mint>": vectors(width=8)}, "does not fit this model", id="another width"),
        pytest.param({"a": vectors(), "b": vectors()}, "no format that is known", id="another format"),
    ],
)
def test_an_embedding_that_does_not_fit_is_refused_with_a_sentence(
    sd: diffusers.StableDiffusionPipeline, tmp_path: Path, tensors: dict[str, Tensor], words: str
) -> None:
    file = save_embedding(tmp_path, "mint", tensors)

    with pytest.raises(GenerationFailed, match=words):
        conditions(kit_of(sd, embeddings=(read_embedding("mint", file),)), request(prompt="mint"))


def test_a_file_that_is_no_embedding_is_refused_with_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "x.safetensors").write_bytes(b"not one")

    with pytest.raises(GenerationFailed, match="can't be read"):
        read_embedding("x", tmp_path / "x.safetensors")
