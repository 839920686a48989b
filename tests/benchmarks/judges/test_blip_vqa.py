"""BLIP-VQA answers as the original does, from both layouts, alone and in batches."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
import torch
from PIL import Image
from silmm_benchmarks.judges.loading import Placement
from silmm_benchmarks.judges.options import BlipVqaOptions
from silmm_benchmarks.judges.vqa.blip_checkpoint import load_parts
from silmm_benchmarks.judges.vqa.blip_vqa import LONGEST, BlipVqa, clean

from silmm.contracts.judges import TwoChoiceJudge
from silmm.errors import DataError
from tests.benchmarks.judges import tiny_models

QUESTIONS = (
    ["a red circle?", "a big green car on the left?", "the small metal cube?"],
    ["dog?"],
    ["is there a red circle on the left of the big blue metal cube?", "a car?"],
)


@pytest.fixture(scope="module")
def judge(tiny):
    """A tiny random judge from a file of the original layout."""
    return BlipVqa.load(BlipVqaOptions(weights=str(tiny("blip_original")), device="cpu"))


@pytest.fixture(scope="module")
def golden(goldens, tmp_path_factory):
    """The recorded pairs, a judge on the recorded weights, its images and its vocabulary."""
    folder = goldens / "checkpoints" / "blip-vqa"
    placement = Placement(torch.device("cpu"), torch.float32, 16)
    vocabulary = tiny_models.recorded_blip(goldens, tmp_path_factory.mktemp("blip")) / "vocab.txt"
    judge = BlipVqa(load_parts(folder / "original", placement, vision_heads=3), vocabulary, placement, {})
    pairs = json.loads((folder / "expected.json").read_text())["pairs"]
    seen = [Image.open(folder / "inputs" / pair["image"]).convert("RGB") for pair in pairs]
    return pairs, judge, seen, vocabulary


def test_the_recorded_answers_alone(golden):
    """Token ids, both logits, p and the four decimals equal the original's, one question at a time."""
    pairs, judge, seen, _ = golden
    for pair, image in zip(pairs, seen, strict=True):
        assert judge.token_ids([pair["question"]]) == [pair["input_ids"]]
        ((logits,),) = judge.yes_no_logits([image], [[pair["question"]]])
        ((p,),) = judge.p_yes([image], [[pair["question"]]])
        np.testing.assert_allclose(logits, [pair["logit_yes"], pair["logit_no"]], atol=1e-4)
        assert p == pytest.approx(pair["p"], abs=1e-5)
        assert f"{p:.4f}" == pair["p_formatted"]


def test_the_recorded_answers_in_a_batch(golden):
    """All recorded images and questions at once give the same, whatever else is asked beside them."""
    pairs, judge, seen, _ = golden
    questions = [pair["question"] for pair in pairs]
    found = judge.p_yes(seen, [questions] * len(seen))
    for place, pair in enumerate(pairs):
        assert found[place][place] == pytest.approx(pair["p_in_one_padded_batch"], abs=1e-5)


HARD = [
    "the old man's café, naïve and déjà vu; what (colour)?!",
    "red " * 60 + "?",
    "an " + "incomprehensibilities " * 30,
    "",
    "?",
    "  two   spaces  ",
    "中文 and 🙂 emoji #tag",
    "[SEP] [DEC] [ENC] [CLS]?",
    "Is there a \"RED\" cube: yes/no?",
]
"""More than 50 words, more than 35 tokens, nothing, accents, other scripts, special tokens as text."""


def test_hard_questions_are_those_of_the_plain_way(golden):
    """transformers' own tokenizer and one plain forward pass give the same tokens and probabilities.

    Asked alone and all at once: cut at 50 words and 35 tokens, accents taken off, special tokens as text.
    """
    from transformers import BertTokenizer

    _, judge, seen, vocabulary = golden
    tokenizer = BertTokenizer(str(vocabulary))
    together = judge.p_yes(seen[:1], [HARD])[0]
    assert {len(ids) for ids in judge.token_ids(HARD)} >= {2, 3, 35}
    for text, found in zip(HARD, together, strict=True):
        words = re.sub(r"[.!\"()*#:;~]", "", text.lower()).rstrip(" ").split(" ")
        ids = tokenizer(" ".join(words[:50]), truncation=True, max_length=35).input_ids
        ids[0] = 30523
        assert judge.token_ids([text]) == [ids]
        assert found == pytest.approx(plainly(judge, seen[0], ids), abs=1e-6)
        assert judge.p_yes(seen[:1], [[text]])[0][0] == pytest.approx(found, abs=1e-6)


def plainly(judge: BlipVqa, image: Image.Image, ids: list[int]) -> float:
    """Return P(yes) by one pass of each part, without padding and without sharing anything."""
    resized = np.asarray(image.resize((480, 480), Image.Resampling.BICUBIC), dtype=np.float32) / 255
    mean = np.array([0.48145466, 0.4578275, 0.40821073], np.float32)
    std = np.array([0.26862954, 0.26130258, 0.27577711], np.float32)
    pixels = torch.from_numpy((resized - mean) / std).permute(2, 0, 1)[None]
    parts = judge._parts
    with torch.no_grad():
        states = parts.vision(pixel_values=pixels).last_hidden_state
        asked = parts.encoder(
            input_ids=torch.tensor([ids]), attention_mask=torch.ones(1, len(ids)),
            encoder_hidden_states=states, encoder_attention_mask=torch.ones(states.shape[:2]),
        ).last_hidden_state
        logits = parts.decoder(input_ids=torch.tensor([[30522]]), encoder_hidden_states=asked).logits[0, -1]
    probability = logits.softmax(0)
    return float(probability[2748] / (probability[2748] + probability[2053]))


def test_the_question_is_read_as_the_official_script_reads_it():
    """Lower case, the ten punctuation marks gone but for the question mark, fifty words, no outer spaces."""
    assert clean('A (Red) "Cube": #1; ~now*!. ?') == "a red cube 1 now ?"
    assert clean("the Cube's lid?  ") == "the cube's lid?"
    assert clean("word " * 60) == " ".join(["word"] * 50)


def test_a_question_starts_with_enc_and_is_cut_at_35_tokens(judge):
    """The first token is [ENC] in place of [CLS], and a long question keeps 35 with its end."""
    (short, long) = judge.token_ids(["a dog?", "red " * 45])
    assert (short[0], short[-1]) == (30523, 102)
    assert (len(long), long[0], long[-1]) == (LONGEST, 30523, 102)


def test_answers_do_not_depend_on_the_batch(judge, images):
    """An image's answers alone, one by one, equal those in a batch of mixed sizes and lengths."""
    together = judge.p_yes(images, QUESTIONS)
    for image, asked, found in zip(images, QUESTIONS, together, strict=True):
        assert found.shape == (len(asked),)
        alone = [judge.p_yes([image], [[text]])[0][0] for text in asked]
        np.testing.assert_allclose(found, alone, atol=1e-6)
        assert ((found > 0) & (found < 1)).all()
    assert len({round(float(p), 6) for found in together for p in found}) == 6


def test_each_image_is_encoded_once(judge, images):
    """Eight questions about an image run its encoder once, and images without questions not at all."""
    seen = []
    hook = judge._parts.vision.register_forward_pre_hook(
        lambda _, __, kwargs: seen.append(len(kwargs["pixel_values"])), with_kwargs=True
    )
    found = judge.p_yes(images, [["a dog?"] * 8, [], ["a car?"]])
    hook.remove()
    assert seen == [2]
    assert [len(one) for one in found] == [8, 0, 1]


def test_the_conversion_at_480_pixels_is_the_same_model(tiny, images):
    """A converted folder with 30x30 positions equals transformers' own forward pass on the same input."""
    folder = tiny("blip_converted", 480)
    judge = BlipVqa.load(BlipVqaOptions(weights=str(folder), device="cpu"))
    assert judge.identity["layout"] == "HF conversion, 30x30 positions"
    from transformers import BlipForQuestionAnswering

    model = BlipForQuestionAnswering.from_pretrained(folder).eval()
    with torch.no_grad():
        seen = model.vision_model(judge_pixels(judge, images[0])).last_hidden_state
        ids = torch.tensor(judge.token_ids(["a red circle?"]))
        asked = model.text_encoder(input_ids=ids, encoder_hidden_states=seen).last_hidden_state
        logits = model.text_decoder(
            input_ids=torch.tensor([[30522]]), encoder_hidden_states=asked
        ).logits[0, 0].softmax(0)
    ((p,),) = judge.p_yes(images[:1], [["a red circle?"]])
    assert p == pytest.approx(float(logits[2748] / (logits[2748] + logits[2053])), abs=1e-6)


def judge_pixels(judge: BlipVqa, image: Image.Image) -> torch.Tensor:
    """Return what the judge shows its encoder."""
    shown = []
    hook = judge._parts.vision.register_forward_pre_hook(
        lambda _, __, kwargs: shown.append(kwargs["pixel_values"]), with_kwargs=True
    )
    judge.p_yes([image], [["a?"]])
    hook.remove()
    assert shown[0].shape == (1, 3, 480, 480)
    return shown[0]


def test_an_interpolated_position_embedding_is_told(tiny, images):
    """A folder at 384 pixels, as published, answers at 480 and says that it is not the official model."""
    judge = BlipVqa.load(BlipVqaOptions(weights=str(tiny("blip_converted", 384)), device="cpu"))
    assert "24x24 positions interpolated to 30x30: not the official numbers" in judge.identity["layout"]
    assert np.isfinite(np.concatenate(judge.p_yes(images, QUESTIONS))).all()


def test_another_precision_is_another_judge(tiny, judge, images, record_property):
    """bfloat16 says so in the identity; its answers are near, and by how much is reported."""
    half = BlipVqa.load(BlipVqaOptions(weights=str(tiny("blip_original")), dtype="bfloat16", device="cpu"))
    assert (judge.identity["dtype"], half.identity["dtype"]) == ("float32", "bfloat16")
    full, rough = (np.concatenate(one.p_yes(images, QUESTIONS)) for one in (judge, half))
    difference = float(np.abs(full - rough).max())
    record_property("bfloat16_difference", difference)
    assert 0 < difference < 0.15


def test_the_identity_names_the_weights(tiny, judge):
    """The sha256 of the weights and of the vocabulary are in the identity, and it fits the contract."""
    import hashlib

    path = tiny("blip_original")
    assert judge.identity["weights_sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert len(judge.identity["tokenizer_sha256"]) == 64
    assert isinstance(judge, TwoChoiceJudge)
    assert all(isinstance(value, str) for value in judge.identity.values())


def test_another_vocabulary_is_refused(tmp_path):
    """A vocab.txt in which yes and no stand elsewhere would give silent nonsense."""
    path = tiny_models.blip_original(tmp_path)
    tiny_models.bert_vocabulary(tmp_path, 60)
    with pytest.raises(DataError, match="not the vocabulary of bert-base-uncased"):
        BlipVqa.load(BlipVqaOptions(weights=str(path)))


def damaged(state: dict[str, torch.Tensor], how: str) -> dict[str, torch.Tensor]:
    """Return the weights with one thing wrong."""
    if how == "foreign name":
        return {**state, "itm_head.weight": torch.zeros(2)}
    if how == "lost weight":
        return {name: value for name, value in state.items() if not name.endswith("fc2.bias")}
    return {**state, "visual_encoder.pos_embed": torch.zeros(1, 577, 24)}


@pytest.mark.parametrize(
    ("how", "message"),
    [("foreign name", "itm_head"), ("lost weight", r"fc2\.bias"), ("grid", "576 positions")],
)
def test_weights_of_another_model_are_refused(tmp_path, how, message):
    """A foreign name, a lost weight and another grid of positions each stop the loading with a reason."""
    path = tiny_models.blip_original(tmp_path)
    state = torch.load(path, weights_only=True)["model"]
    torch.save({"model": damaged(state, how)}, path)
    with pytest.raises(DataError, match=message):
        BlipVqa.load(BlipVqaOptions(weights=str(path)))
