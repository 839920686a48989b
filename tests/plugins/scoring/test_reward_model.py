"""Promises of `reward-model`: the model's own logit of image and whole prompt, safetensors alone, nothing cut."""

from __future__ import annotations

import json
from itertools import pairwise

import numpy as np
import pytest
import torch
from PIL import Image
from silmm_plugins.scoring.options import RewardModelOptions
from silmm_plugins.scoring.reward_model import RewardModel
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    AutoModel,
    AutoProcessor,
    CLIPConfig,
    CLIPImageProcessor,
    CLIPModel,
    CLIPProcessor,
    CLIPTokenizer,
    PreTrainedTokenizerFast,
    SiglipConfig,
    SiglipImageProcessor,
    SiglipModel,
    SiglipProcessor,
)

from silmm import testing as kit
from silmm.contracts.candidates import Candidate, Prompt
from silmm.errors import DataError, UsageError

LETTERS = "abcdefghijklmnopqrstuvwxyz"
WORDS = ["<pad>", "</s>", "<unk>", "a", "red", "blue", "cat", "dog"]
TEXT = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
VISION = TEXT | {"image_size": 16, "patch_size": 8}


def clip(folder):
    """Write a tiny random model in CLIP's layout, which is PickScore's too."""
    words = ["<|startoftext|>", "<|endoftext|>", *LETTERS, *(f"{letter}</w>" for letter in LETTERS)]
    (folder / "vocab.json").write_text(json.dumps({word: index for index, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = CLIPTokenizer.from_pretrained(folder, model_max_length=20)
    text = {"vocab_size": len(words), "max_position_embeddings": 20, "bos_token_id": 0, "eos_token_id": 1}
    config = CLIPConfig(text_config=TEXT | text | {"pad_token_id": 1}, vision_config=VISION, projection_dim=8)
    images = CLIPImageProcessor(size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16})
    return CLIPModel(config), CLIPProcessor(images, tokenizer)


def siglip(folder):
    """Write a tiny random model in SigLIP's layout."""
    vocabulary = {word: index for index, word in enumerate(WORDS)}
    words = Tokenizer(models.WordLevel(vocabulary, **{"unk_token": "<unk>"}))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words, model_max_length=12,
        **{"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"},
    )
    config = SiglipConfig(
        text_config=TEXT | {"vocab_size": len(WORDS), "max_position_embeddings": 12}, vision_config=VISION
    )
    return SiglipModel(config), SiglipProcessor(SiglipImageProcessor(size={"height": 16, "width": 16}), tokenizer)


@pytest.fixture(scope="module", params=[clip, siglip], ids=["clip", "siglip"])
def checkpoint(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param.__name__)
    torch.manual_seed(1)
    model, processor = request.param(folder)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.3)
    model.save_pretrained(folder, safe_serialization=True)
    processor.save_pretrained(folder)
    return folder


@pytest.fixture
def scorer(checkpoint):
    return RewardModel(RewardModelOptions(checkpoint=str(checkpoint), device="cpu"))


def candidates(text, decodes=1, count=3):
    rng = np.random.default_rng(7)
    made = [
        [rng.integers(0, 256, (24, 20, 3), dtype=np.uint8) for _ in range(decodes)] for _ in range(count)
    ]
    return [Candidate(Prompt(text, "x"), i, i, i, np.zeros(3), images) for i, images in enumerate(made)]


def test_the_score_is_the_models_logit(checkpoint, scorer):
    """Of image and prompt, as transformers computes it by itself; the mean over the decodes of a candidate."""
    group = candidates("a red cat", decodes=2)
    model, processor = AutoModel.from_pretrained(checkpoint), AutoProcessor.from_pretrained(checkpoint)
    longest = model.config.text_config.max_position_embeddings
    for candidate, score in zip(group, scorer.score(group), strict=True):
        images = [Image.fromarray(image) for image in candidate.images]
        inputs = processor(
            text=["a red cat"], images=images, padding="max_length", max_length=longest, return_tensors="pt"
        )
        with torch.no_grad():
            logits = model(**inputs).logits_per_image[:, 0]
        assert score == pytest.approx(float(logits.double().mean()), abs=1e-4)


def test_prompts_and_images_both_count(scorer):
    """Another prompt gives other scores, and the candidates of a prompt differ."""
    cat, dog = scorer.score(candidates("a red cat")), scorer.score(candidates("a blue dog"))
    assert all(abs(candidate - other) > 1e-4 for candidate, other in zip(cat, dog, strict=True))
    assert all(abs(candidate - other) > 1e-5 for candidate, other in pairwise(cat))


def test_it_keeps_the_contract(scorer):
    """What the kit asks of every scorer that needs images."""
    kit.check_scorer(scorer, {"images"})


def test_a_prompt_beyond_the_context_has_no_score(scorer):
    """Nothing is cut: its candidates are unscored."""
    assert scorer.score(candidates("a red cat " * 20)) == [None] * 3


def test_pickles_are_not_opened(checkpoint, tmp_path):
    """Weights in a pickle beside a sound configuration are refused."""
    for path in checkpoint.iterdir():
        if path.suffix == ".json" or path.name == "merges.txt":
            (tmp_path / path.name).write_bytes(path.read_bytes())
    torch.save(AutoModel.from_pretrained(checkpoint).state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(DataError, match="safetensors"):
        RewardModel(RewardModelOptions(checkpoint=str(tmp_path), device="cpu"))


def test_a_device_that_is_not_there_is_refused(checkpoint):
    """With the name of the scorer."""
    with pytest.raises(UsageError, match="reward-model cannot use the device"):
        RewardModel(RewardModelOptions(checkpoint=str(checkpoint), device="nowhere"))
