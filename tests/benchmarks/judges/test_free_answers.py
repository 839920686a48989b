"""TIFA's question-answering models answer in words, each image seen once, whatever is asked beside it."""

from __future__ import annotations

import pytest
import torch
from silmm_benchmarks.judges.vqa.blip2_answers import prompt

from silmm.contracts.judges import Question, VqaJudge
from silmm.registry.registry import Registry

NAMES = {"blip": "blip-vqa-large", "git": "git-base", "vilt": "vilt", "blip2": "blip2-flant5xl"}
MODELS = {"blip": ("blip_converted", 32, 60), "git": ("git",), "vilt": ("vilt",), "blip2": ("blip2",)}
QUESTIONS = (
    [Question("what color is the circle?", ("red", "blue")), Question("is there a dog?"), Question("a car?")],
    [],
    [Question("is there a big red circle on the left of the small green metal cube?")],
)


@pytest.fixture(params=sorted(NAMES))
def family(request):
    """The family of a judge."""
    return request.param


@pytest.fixture
def judge(tiny, family):
    """A tiny random judge of the family, loaded from a folder of the real layout."""
    return load(tiny, family)


def load(tiny, family, **options):
    """Load a judge as the registry does."""
    given = {"weights": str(tiny(*MODELS[family])), "device": "cpu", **options}
    return Registry.load().build("judge", NAMES[family], given)


def test_answers_do_not_depend_on_the_batch(judge, images):
    """All images and questions at once give the words that each gives alone; no question, no answer."""
    together = judge.answer(images, QUESTIONS)
    assert [len(one) for one in together] == [3, 0, 1]
    for image, asked, found in zip(images, QUESTIONS, together, strict=True):
        assert found == [judge.answer([image], [[question]])[0][0] for question in asked]


def test_the_batch_size_changes_nothing(tiny, family, images):
    """Images seen one by one and all at once are answered alike."""
    one, many = (load(tiny, family, batch_size=size).answer(images, QUESTIONS) for size in (1, 8))
    assert one == many


def test_answers_depend_on_the_image_and_the_question(judge, images):
    """Noise images and questions get more than one answer from random weights, or nothing is read."""
    texts = ["what color is the circle?", "is there a dog?", "two?", "a big car on the left?"]
    asked = [Question(text, ("yes", "no")) for text in texts]
    found = judge.answer([image.resize((40, 40)) for image in images], [asked] * 3)
    assert len({answer for group in found for answer in group}) > 1


def test_the_judge_fits_the_contract(judge, family):
    """Identity names judge, weights, precision and decoding as text."""
    assert isinstance(judge, VqaJudge)
    assert judge.identity["judge"] == NAMES[family]
    assert {"weights_sha256", "files_sha256", "dtype", "decoding"} <= set(judge.identity)
    assert all(isinstance(value, str) for value in judge.identity.values())


@pytest.mark.parametrize(("family", "path"), [
    ("blip", "vision_model"), ("git", "git.image_encoder"), ("blip2", "vision_model"),
])
def test_each_image_is_encoded_once(tiny, family, path, images):
    """Questions of three lengths about an image run its encoder once."""
    judge = load(tiny, family)
    runs = []
    hook = judge.model.get_submodule(path).register_forward_hook(lambda *_: runs.append(1))
    judge.answer(images[:1], QUESTIONS[:1])
    hook.remove()
    assert len(runs) == 1


def test_blip_answers_as_transformers_alone(tiny, images):
    """One question, where nothing is padded, gives the words of transformers' own generate."""
    judge = load(tiny, "blip")
    text = "what color is the circle?"
    ids = judge.tokenizer([text], return_tensors="pt")
    with torch.no_grad():
        written = judge.model.generate(
            pixel_values=judge.pixels(images[:1]), input_ids=ids["input_ids"],
            attention_mask=ids["attention_mask"], max_length=50, do_sample=False,
        )
    assert judge.answer(images[:1], [[Question(text)]]) == [judge.words(written)]


def test_git_answers_as_transformers_alone(tiny, images):
    """One question about one image gives the words of transformers' own generate behind the question."""
    judge = load(tiny, "git")
    text = "what color is the circle?"
    ids = [judge.tokenizer.cls_token_id, *judge.tokenizer(text, add_special_tokens=False)["input_ids"]]
    with torch.no_grad():
        written = judge.model.generate(
            pixel_values=judge.pixels(images[:1]), input_ids=torch.tensor([ids]),
            attention_mask=torch.ones(1, len(ids), dtype=torch.long), max_length=50, do_sample=False,
        )
    assert judge.answer(images[:1], [[Question(text)]]) == [judge.words(written[:, len(ids):])]


def test_blip2_is_shown_the_choices():
    """The prompt lists the choices with commas, and has none where the question has none."""
    assert prompt(Question("what is it?", ("dog", "car"))) == (
        "Answer the multiple-choice question. Question: what is it? Choices: dog, car Answer:"
    )
    assert prompt(Question("what is it?")) == "Answer the question. Question: what is it? Answer:"


def test_vilt_leaves_the_random_state_alone(tiny, images):
    """The model's shuffle of patches has a seed of its own: answers repeat and the caller's samples go on."""
    judge = load(tiny, "vilt")
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    first = judge.answer(images, QUESTIONS)
    assert torch.equal(torch.rand(2), expected)
    assert judge.answer(images, QUESTIONS) == first
