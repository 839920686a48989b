"""Words and templates: ids, what may not be written by users, and how each release is talked to."""

import pytest
from silmm_plugins.models.seed_llama.prompts import TEMPLATES, template_of
from silmm_plugins.models.seed_llama.tokenizer import SeedTokenizer

from silmm.contracts.models import ChatRequest, SamplingParams
from silmm.errors import DataError
from tests.plugins.models.seed_llama.tiny_checkpoint import TOKENIZER


@pytest.fixture(scope="module")
def text(checkpoint):
    """Return the tiny tokenizer."""
    return SeedTokenizer.load(checkpoint / TOKENIZER)


def test_stretches_between_added_tokens_stand_alone(text):
    """Added tokens swallow the spaces around them, <s> does not, and each stretch starts like a text."""
    words = text.encode("a cat")
    assert text.encode("a cat <img> a cat") == [*words, text.boi, *words]
    assert text.encode("a cat\n<img_00003></img>\n") == [*words, text.first_code + 3, text.eoi]
    assert text.encode("<s>a cat") == [text.bos, *words]
    assert text.encode("<s> a cat") == [text.bos, *text.encode(" a cat")] != [text.bos, *words]


def test_text_comes_back(text):
    """Decoding gives the text again, bytes of unknown letters included, and leaves out special tokens."""
    for written in ("a red cube", "zwölf Käfer, 猫"):
        assert text.decode([text.bos, *text.encode(written), text.boi, text.first_code, text.eos]) == written


def test_answers_are_all_spellings_that_are_one_piece(text):
    """Yes and no are read with and without a capital and the space marker, where they are one piece."""
    assert {"▁Yes", "▁yes"} <= set(text.shown(text.yes))
    assert {"▁No", "▁no"} <= set(text.shown(text.no))
    assert not set(text.yes) & set(text.no)


@pytest.mark.parametrize(
    ("folder", "width", "name"),
    [
        ("seed-llama-8b-sft", 4096, "8b"),
        ("seed-llama-14b-sft", 5120, "14b"),
        ("mine", 5120, "14b"),
        ("mine", 4096, "8b"),
        ("AILab-CVC/seed-llama-8b-pretrain", 4096, "pretrain"),
    ],
)
def test_the_template_follows_the_release(folder, width, name):
    """The folder's name and the width of the language model tell the release."""
    assert template_of(folder, width) is TEMPLATES[name]


def test_each_release_is_talked_to_in_its_own_way():
    """Drawings, questions and requests are worded by the template."""
    sampled_images = {name: template.sampling("a cat.") for name, template in TEMPLATES.items()}
    request = "Please generate an image of a cat."
    assert sampled_images == {
        "8b": f"<s>USER: {request}\nASSISTANT: Here is an image.<img>",
        "14b": f"<s>[INST] {request} [/INST]\n Here is an image.<img>",
        "pretrain": "<s>a cat.<img>",
    }
    assert TEMPLATES["14b"].image_turn([1]) + TEMPLATES["14b"].question("a cat?") == (
        "<s>[INST] <img><img_00001></img>a cat? [/INST]\n"
    )
    assert TEMPLATES["pretrain"].question("a cat?") == "Question: a cat?\nAnswer:"
    asked = ChatRequest("question", "a dog", "Ask.", (("a cat", "is there a cat?"),))
    assert TEMPLATES["8b"].chat(asked) == (
        "<s>USER: Ask.\nInput: a cat\nOutput: is there a cat?\nInput: a dog\nOutput:\nASSISTANT:"
    )


@pytest.mark.parametrize("words", ["a cat <img_00001>", "a </s> cat", "<img>", " "])
def test_special_tokens_are_not_for_users(model, words):
    """A prompt or question that holds a special token is refused and named; a chat answer is empty."""
    assert not model.reads(words)
    if words.strip():
        with pytest.raises(DataError, match="take it out"):
            model.represent([words], [1], SamplingParams())
        assert model.chat([ChatRequest("decompose", words)]) == [""]


def test_a_prompt_that_is_too_long_is_refused(model):
    """A prompt beyond the positions of the language model is an error that says how many; chat is empty."""
    long = "a red cube " * 120
    assert not model.reads(long)
    with pytest.raises(DataError, match="at most 256"):
        model.represent([long], [1], SamplingParams())
    assert model.chat([ChatRequest("decompose", long)]) == [""]


def test_chat_writes_text_alone(model):
    """No answer holds an image token, and none is longer than asked."""
    requests = [ChatRequest("write", "a cat", temperature=2.0, seed=seed, max_words=6) for seed in range(8)]
    answers = model.chat(requests)
    assert any(answers)
    assert all(model.text.special_in(answer) is None and len(answer.split()) <= 6 for answer in answers)
