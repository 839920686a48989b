"""The embedded discrete model keeps the contract of base models, with random and with shipped weights."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from silmm_benchmarks.shapes.world import RELATIONS
from silmm_plugins.models._shared import generation
from silmm_plugins.models.tiny import language_model as tiny_language_model
from silmm_plugins.models.tiny.language_model import SPLIT
from silmm_plugins.models.tiny.options import verify
from silmm_plugins.models.tiny.vocabulary import Vocabulary
from silmm_plugins.models.tiny_discrete.image_tokenizer import TinyImageTokenizer
from silmm_plugins.models.tiny_discrete.language_model import TinyDiscreteLM
from silmm_plugins.models.tiny_discrete.model import TinyDiscrete
from silmm_plugins.models.tiny_discrete.options import DEFAULTS, WEIGHTS

from silmm.contracts.models import ChatRequest, SamplingParams
from silmm.errors import DataError, UsageError
from silmm.lora.adapters import new_adapter, save_adapter
from silmm.lora.loading import load_adapter
from training.tiny_discrete import measure

WORDS = ["yes", "no", "a", "red", "blue", "circle", "square", "and", "is", "there", "?", ",", "."]
PROMPTS = [
    "a red circle",
    "a blue square and a red circle",
    "a square",
    "a blue circle and a square",
]
QUESTIONS = [
    ["is there a circle?"],
    ["is there a red square?", "is there a square?"],
    [],
    ["a circle?"],
]
FILES = ("config.json", "image_tokenizer.safetensors", "language_model.safetensors")
ATOL = 2e-4  # float32 sums in another order, after six layers


@pytest.fixture(scope="module")
def model():
    """A model of the real architecture with random weights, sharpened so that choices matter."""
    torch.manual_seed(0)
    language_model = TinyDiscreteLM(
        Vocabulary(WORDS), hidden=32, layers=2, heads=2, mlp=48, codes=20
    )
    with torch.no_grad():
        language_model.backbone.get_input_embeddings().weight *= 20
    tokenizer = TinyImageTokenizer(20)
    tokenizer.codebook[:] = torch.rand(20, 48)
    return TinyDiscrete(language_model, tokenizer)


@pytest.fixture(scope="module")
def shipped():
    """The model as users get it."""
    return TinyDiscrete.load()


@pytest.fixture(params=["model", "shipped"])
def either(request):
    """Each of the two in turn."""
    return request.getfixturevalue(request.param)


def sample(model, prompts, seeds, **sampling):
    """Return sampled codes as one array."""
    return np.stack(model.represent(prompts, seeds, SamplingParams(**sampling)))


@pytest.mark.parametrize("sampling", [{}, {"temperature": 0.8, "top_p": 0.9}, {"top_k": 5}], ids=str)
def test_a_candidate_does_not_depend_on_its_batch(either, sampling):
    """Codes sampled alone equal those sampled beside longer and shorter prompts, cut off or not."""
    together = sample(either, PROMPTS, [1, 2, 3, 4], **sampling)
    alone = np.concatenate(
        [sample(either, [p], [s], **sampling) for p, s in zip(PROMPTS, [1, 2, 3, 4], strict=True)]
    )
    assert np.array_equal(together, alone)


def test_the_seed_alone_makes_the_candidate(either):
    """The same seed samples the same codes, another seed samples others."""
    first = sample(either, [PROMPTS[1]] * 3, [7, 8, 7])
    assert np.array_equal(first[0], first[2])
    assert not np.array_equal(first[0], first[1])


def test_likelihood_does_not_depend_on_padding(either):
    """log pi(z | x) of a mixed batch equals that of each sequence alone."""
    codes = sample(either, PROMPTS, [1, 2, 3, 4])
    together = either.log_likelihood(PROMPTS, list(codes))
    alone = [either.log_likelihood([p], [z]).item() for p, z in zip(PROMPTS, codes, strict=True)]
    assert together.tolist() == pytest.approx(alone, abs=ATOL, rel=1e-5)


def test_likelihood_is_the_samplers_own_distribution(either, monkeypatch):
    """Summed log-probabilities of the sampled codes, as sampled step by step, equal log_likelihood."""
    seen = []
    real = generation.pick

    def recording(logits, uniform, sampling):
        chosen = real(logits, uniform, sampling)
        seen.append(logits.log_softmax(-1).gather(-1, chosen[:, None])[:, 0])
        return chosen

    monkeypatch.setattr(generation, "pick", recording)
    codes = sample(either, PROMPTS, [5, 6, 7, 8])
    expected = torch.stack(seen).sum(0)
    actual = either.log_likelihood(PROMPTS, list(codes))
    assert actual.tolist() == pytest.approx(expected.tolist(), abs=ATOL, rel=1e-5)


def test_answers_do_not_depend_on_the_batch(either):
    """p(yes), p(no) of an image are the same alone and among others with other questions."""
    images = either.decode(list(sample(either, PROMPTS, [1, 2, 3, 4])), [0] * 4)
    together = either.yes_no(images, QUESTIONS)
    assert [a.shape for a in together] == [(len(q), 2) for q in QUESTIONS]
    for image, questions, answers in zip(images, QUESTIONS, together, strict=True):
        for row, question in enumerate(questions):
            assert either.yes_no([image], [[question]])[0][0] == pytest.approx(
                answers[row], abs=ATOL
            )


def test_each_image_is_encoded_once_for_all_its_questions(model, monkeypatch):
    """However many questions there are, the image's tokens go through the model one time."""
    encoded = []
    real = model.language_model.image_prefix

    def counting(codes, **options):
        encoded.append(len(codes))
        return real(codes, **options)

    monkeypatch.setattr(model.language_model, "image_prefix", counting)
    images = model.decode(list(sample(model, PROMPTS, [1, 2, 3, 4])), [0] * 4)
    model.yes_no(images, [QUESTIONS[0] * 5] * 4)
    assert encoded == [4]


def test_a_task_that_was_not_taught_gets_no_answer(shipped):
    """Rephrase and explain are empty, which callers count, instead of words that mean nothing."""
    tasks = ("decompose", "rephrase", "explain")
    replies = shipped.chat([ChatRequest(task, "a red circle") for task in tasks])
    assert [bool(reply) for reply in replies] == [True, False, False]


def test_a_image_of_another_size_is_refused(model):
    """Images that the tokenizer cannot cut into its patches are named by their shape."""
    with pytest.raises(DataError, match=r"\(32, 32, 3\), not \(64, 64, 3\)"):
        model.yes_no([np.zeros((64, 64, 3), np.uint8)], [["is there a circle?"]])


def test_no_question_about_any_image_is_no_answer(model):
    """Images without questions give empty answers, not an error."""
    image = np.zeros((32, 32, 3), np.uint8)
    assert [a.shape for a in model.yes_no([image, image], [[], []])] == [(0, 2), (0, 2)]


def test_an_image_code_sees_nothing_behind_it(model):
    """Changing a later code changes no earlier prediction."""
    language_model = model.language_model
    codes = torch.from_numpy(sample(model, ["a red circle"], [1]).astype(np.int64))
    changed = codes.clone()
    changed[:, 40:] = (changed[:, 40:] + 1) % 20
    ids = [model.prompt_ids("a red circle")]
    before, after = (language_model.sampling_outputs(ids, c).last_hidden_state[0, -64:] for c in (codes, changed))
    assert torch.allclose(before[:41], after[:41], atol=ATOL)
    assert not torch.allclose(before[41:], after[41:], atol=1e-2)


def test_gradients_reach_the_adapter_alone(model):
    """Backward through log pi leaves gradients on LoRA weights and nowhere else."""
    new_adapter(model, rank=4, alpha=4, seed=0)
    try:
        codes = sample(model, PROMPTS[:2], [1, 2])
        for name, parameter in model.backbone.named_parameters():
            parameter.requires_grad_("lora_" in name)
        model.log_likelihood(PROMPTS[:2], list(codes)).sum().backward()
        touched = {
            n
            for n, p in model.language_model.named_parameters()
            if p.grad is not None and p.grad.abs().sum() > 0
        }
        assert touched
        assert all("lora_B" in name for name in touched)  # B = 0 hides A from the first gradient
    finally:
        load_adapter(model, None)


def test_an_adapter_survives_the_round_trip(model, tmp_path):
    """A saved adapter, loaded again, gives the same likelihoods; taking it off gives the base."""
    codes = list(sample(model, PROMPTS, [1, 2, 3, 4]))
    base = model.log_likelihood(PROMPTS, codes)
    new_adapter(model, rank=4, alpha=4, seed=0)
    with torch.no_grad():
        for name, parameter in model.backbone.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.1, generator=torch.Generator().manual_seed(1))
    tuned = model.log_likelihood(PROMPTS, codes)
    save_adapter(model, tmp_path / "adapter")
    load_adapter(model, None)
    assert torch.equal(model.log_likelihood(PROMPTS, codes), base)
    load_adapter(model, tmp_path / "adapter")
    assert torch.equal(model.log_likelihood(PROMPTS, codes), tuned)
    assert not torch.allclose(base, tuned)
    load_adapter(model, None)


def test_greedy_text_does_not_depend_on_the_batch(shipped):
    """The shipped model decomposes each prompt alike alone and among others."""
    requests = [ChatRequest("decompose", p) for p in PROMPTS]
    assert shipped.chat(requests) == [shipped.chat([r])[0] for r in requests]


def test_unknown_words_are_refused_by_name(model):
    """A foreign word is an error that names it and the known ones; a chat answer is empty."""
    with pytest.raises(DataError, match=r"giraffe.*circle square"):
        model.represent(["a red giraffe"], [1], SamplingParams())
    with pytest.raises(DataError, match="giraffe"):
        model.yes_no([np.zeros((32, 32, 3), np.uint8)], [["is there a giraffe?"]])
    assert model.chat([ChatRequest("decompose", "a giraffe")]) == [""]


def test_a_prompt_that_is_too_long_is_refused(model):
    """More words than there are places for are an error that says how many; a chat answer is empty."""
    text = " and ".join(["a red circle"] * 10)
    with pytest.raises(DataError, match=f"at most {SPLIT - 2}"):
        model.represent([text], [1], SamplingParams())
    assert model.chat([ChatRequest("question", text)]) == [""]


@pytest.mark.parametrize(
    ("prompt", "readable"),
    [
        ("A red circle, and a square.", True),
        (" ".join(["circle"] * (SPLIT - 2)), True),
        (" ".join(["circle"] * (SPLIT - 1)), False),
        ("a dog and a square", False),
        ("two reds", False),
    ],
)
def test_the_model_says_what_it_can_read(model, prompt, readable):
    """`reads` is true of just those prompts that can be sampled, chatted about and asked about."""
    assert model.reads(prompt) is readable
    if readable:
        codes = model.represent([prompt], [1], SamplingParams())
        model.chat([ChatRequest("decompose", prompt, max_words=2)])
        answers = model.yes_no(model.decode(codes, [1]), [[f"{prompt}?"]])
        assert np.isfinite(answers[0]).all()
    else:
        with pytest.raises(DataError):
            model.represent([prompt], [1], SamplingParams())


@pytest.mark.parametrize("method", ["decode", "log_likelihood"])
def test_image_tokens_of_another_model_are_refused(model, method):
    """Tokens of a wrong number or range are an error that names the prompt and the value."""
    given = {"decode": [0, 0], "log_likelihood": PROMPTS[:2]}[method]
    named = {"decode": "image 1", "log_likelihood": f"prompt '{PROMPTS[1]}'"}[method]
    right = np.zeros(64, np.int32)

    def call(other):
        both = [right, other]
        return model.decode(both, given) if method == "decode" else model.log_likelihood(given, both)

    call(right)
    for value in (20, -1):
        wrong = right.copy()
        wrong[5] = value
        with pytest.raises(DataError, match=f"{value} is among the image tokens of {named}"):
            call(wrong)
    for shape in ((3,), (65,), (64, 2)):
        with pytest.raises(DataError, match=named):
            call(np.zeros(shape, np.int32))


def test_a_device_that_is_not_there_is_a_usage_error(tmp_path):
    """A misspelt device, and one beyond what the machine has, say so before weights are read."""
    for device in ("cpuu", "cuda:99"):
        with pytest.raises(UsageError, match=f"'{device}'.*model.device=cpu"):
            TinyDiscrete.load(tmp_path, device)


def test_the_image_cache_is_spread_on_its_own_device(monkeypatch):
    """Owners are compared with numbers on their device, wherever that is."""
    compared = []
    monkeypatch.setattr(torch, "equal", lambda a, b: compared.append((a.device, b.device)) or True)
    x, owner = torch.empty(2, 5, device="meta"), torch.arange(2, device="meta").repeat_interleave(3)
    assert tiny_language_model._spread(x, owner).shape == (6, 5)
    assert compared == [(owner.device, owner.device)]


def test_the_tokenizer_keeps_its_own_patches(model):
    """Encoding what was decoded gives the same codes back."""
    codes = torch.arange(20).repeat(4)[:64][None]
    assert torch.equal(model.tokenizer.encode(model.tokenizer.decode(codes)), codes)


@pytest.mark.parametrize("cut", [*FILES, None])
def test_damaged_weights_are_refused(tmp_path, cut):
    """Each file cut short, or all of them missing: an error that names the folder and what to do."""
    for name in FILES if cut else ():
        content = (WEIGHTS / name).read_bytes()
        (tmp_path / name).write_bytes(content[: len(content) - 100 * (name == cut)])
    with pytest.raises(DataError, match="train them again"):
        TinyDiscrete.load(tmp_path)


def test_the_shipped_weights_are_the_carded_ones_and_small():
    """Hashes match sha256.json, and all files together stay within 12 MB."""
    assert "verified" in verify(WEIGHTS)
    files = list(WEIGHTS.iterdir())
    assert {f.name for f in files} == {*FILES, "sha256.json"}
    assert sum(f.stat().st_size for f in files) <= 12e6
    listed = json.loads((WEIGHTS / "sha256.json").read_text())
    for name in FILES:
        assert listed[name] == hashlib.sha256((WEIGHTS / name).read_bytes()).hexdigest()


MEASURED = Path(__file__).parents[3] / "docs" / "results" / "tiny-discrete.json"


def test_what_the_card_says_was_measured_on_these_weights():
    """The figures belong to the shipped files, keep the promises, and the defaults are their best."""
    measured = json.loads(MEASURED.read_text())
    card = WEIGHTS / "sha256.json"
    assert measured["weights"] == hashlib.sha256(card.read_bytes()).hexdigest()
    answered = measured["VQA accuracy"]
    assert answered["overall"]["right"] >= 0.92
    assert min(answered["kinds"][name]["right"] for name in RELATIONS) >= 0.80
    sampled = measured["sampling at temperature 1, ten images"]
    assert 0.35 <= sampled["facts"] <= 0.75
    assert sampled["best"] >= sampled["facts"] + 0.15
    grid = measured["grid on the tune prompts, four images"]
    best = max(grid, key=lambda name: grid[name]["facts"])
    chosen = (DEFAULTS[f"benchmark/shapes.{name}"] for name in ("temperature", "top_p"))
    assert best == "temperature {:g}, top_p {:g}".format(*chosen)


@pytest.mark.slow
def test_the_shipped_model_answers_and_samples_as_measured(shipped):
    """A small part of the measurement, done anew, agrees with the figures on file."""
    measured = json.loads(MEASURED.read_text())
    again = measure.answering(shipped, scenes=200)["overall"]["right"]
    assert again == pytest.approx(measured["VQA accuracy"]["overall"]["right"], abs=0.03)
    sampled = measure.sampling(shipped, SamplingParams(), 2)["facts"]
    assert sampled == pytest.approx(
        measured["sampling at temperature 1, ten images"]["facts"], abs=0.04
    )
