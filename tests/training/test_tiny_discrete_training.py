"""The training script of the embedded model makes what it says, and resumes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from silmm_benchmarks.shapes.facts import parse_question
from silmm_benchmarks.shapes.holdout import is_fact_held_out
from silmm_benchmarks.shapes.language import CATEGORIES, parse_caption
from silmm_benchmarks.shapes.splits import contaminated, training_spec
from silmm_benchmarks.shapes.world import Object, Scene
from silmm_plugins.models.tiny_discrete.model import TinyDiscrete

from silmm.contracts.models import ChatRequest
from training.tiny_discrete import __main__ as script
from training.tiny_discrete import checkpoint, pools
from training.tiny_discrete import train_language_model as language
from training.tiny_discrete.export import export
from training.tiny_discrete.text_tasks import TextTask, make_vocabulary
from training.tiny_discrete.train_tokenizer import fit

LOUD = pools.Noise(swap=1.0, turn=1.0, count=1.0, attribute=0.0)
QUIET = pools.Noise(swap=0.0, turn=0.0, count=0.0, attribute=0.0)
PLAN = language.Plan(
    steps=4, sample_from=1, polish_from=3, images=4, questions=3, sampled_images=4, texts=4, text_every=1
)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Small pools, a tokenizer and the text tasks."""
    folder = tmp_path_factory.mktemp("pools")
    files = {}
    for kind, job in {"understanding": (0, 40), "sampling": (0, 40, LOUD)}.items():
        worker = {"understanding": pools.understanding_pool, "sampling": pools.image_pool}[kind]
        files[kind] = folder / f"{kind}.npz"
        np.savez(files[kind], **worker(job))
    tokenizer = fit(np.load(files["sampling"])["images"], codes=64)
    tasks = TextTask(make_vocabulary())
    loaded = language.load_pools(
        files["understanding"], files["sampling"], tokenizer, tasks.vocabulary
    )
    return files, loaded, tokenizer, tasks


def test_noise_changes_what_is_shown_and_no_noise_does_not():
    """Without noise the image is the caption's; full noise changes most two-object captions."""
    rng = np.random.default_rng(0)
    specs = [training_spec(rng, category) for category in CATEGORIES for _ in range(20)]
    assert all(pools.mutate(rng, spec, QUIET) == spec for spec in specs)
    spatial = [spec for spec in specs if spec.category == "spatial"]
    changed = [pools.mutate(rng, spec, LOUD) != spec for spec in spatial]
    assert sum(changed) >= 0.7 * len(spatial)


def test_no_training_text_is_held_out(data):
    """Neither captions, questions nor chat tasks hold a combination of the evaluation prompts."""
    files, _, _, tasks = data
    questions = [str(q) for q in np.load(files["understanding"])["questions"].ravel()]
    captions = [str(c) for c in np.load(files["sampling"])["captions"]]
    rng = np.random.default_rng(1)
    texts = [tasks.texts(rng) for _ in range(200)]
    written = [answer for task, _, answer in texts if task == "write"]
    split = [text for task, text, _ in texts if task == "decompose"]
    for text in (*captions, *written, *split):
        parse_caption(text)
        assert not contaminated(text)
    for text in (*questions, *(answer for task, _, answer in texts if task == "question")):
        assert not is_fact_held_out(parse_question(text))


def test_question_objects_are_those_that_fit_alone():
    """A question points at an object only where exactly one fits its description."""
    scene = Scene(
        (
            Object("circle", "red", "plain", 0, 0, 2),
            Object("circle", "blue", "plain", 4, 0, 2),
            Object("square", "green", "plain", 4, 4, 2),
        )
    )
    fact = parse_question("is the circle above the square?")
    assert pools.question_objects(scene, fact) == (None, 2)
    fact = parse_question("is the red circle above the ring?")
    assert pools.question_objects(scene, fact) == (0, None)


def test_looking_is_learnt_from_the_right_patches():
    """The look loss is 0 when all attention is on the target, and large when none is."""
    attention = torch.zeros(1, 4, 2, 8)
    attention[0, :, 1, 3] = 1.0  # key 3 is patch 2: <boi> is key 0
    nouns = torch.tensor([[1, -1]])
    target = torch.zeros(1, 2, 5, dtype=torch.bool)
    target[0, 0, 2] = True
    assert language.look_loss(attention, nouns, target).item() == pytest.approx(0)
    assert language.look_loss(attention, nouns, ~target).item() > 5
    nothing = torch.zeros_like(target)
    attention[0, :, 1] = 0
    attention[0, :, 1, 0] = 1.0
    assert language.look_loss(attention, nouns, nothing).item() == pytest.approx(0)


def test_training_goes_on_from_a_checkpoint_to_the_same_weights(data, tmp_path, monkeypatch):
    """Four steps in one go, and two steps, a stop and two more, end in equal weights; they export."""
    monkeypatch.setattr(language, "HIDDEN", 16)
    monkeypatch.setattr(language, "MLP", 24)
    _, loaded, tokenizer, tasks = data
    whole = language.train(loaded, tokenizer, tasks, tmp_path / "whole", PLAN)

    class Stop(Exception):
        pass

    real = checkpoint.save
    steps = []

    def stopping(folder, module, optimizer, step):
        real(folder, module, optimizer, step)
        steps.append(step)
        if step == 2:
            raise Stop

    monkeypatch.setattr(checkpoint, "save", stopping)
    monkeypatch.setattr(language, "SAVE_EVERY", 2)
    with pytest.raises(Stop):
        language.train(loaded, tokenizer, tasks, tmp_path / "parts", PLAN)
    parts = language.train(loaded, tokenizer, tasks, tmp_path / "parts", PLAN)
    assert steps == [2, 4]
    for name, value in whole.state_dict().items():
        assert torch.equal(value, parts.state_dict()[name]), name
    export(whole, tokenizer, tmp_path / "export")
    model = TinyDiscrete.load(tmp_path / "export")
    actual = TinyDiscrete(whole, tokenizer)
    codes = [np.arange(64, dtype=np.int32)]
    request = [ChatRequest("list", "shapes")]
    assert torch.equal(
        model.log_likelihood(["a red circle"], codes), actual.log_likelihood(["a red circle"], codes)
    )
    assert model.chat(request) == actual.chat(request)


def test_the_words_of_each_mention_are_found_from_the_end():
    """Noun, colour and texture are counted back from the caption's end; what is not said is the noun."""
    vocabulary = make_vocabulary()
    paths = language.word_places(vocabulary.encode("a red circle above two striped rings"), vocabulary)
    assert paths[0].tolist() == [5, 6, 5]
    assert paths[1].tolist() == [1, 1, 2]


def test_the_word_loss_is_zero_only_for_a_look_at_the_right_word():
    """A patch of mention 1 that looks at mention 1's word costs nothing, at mention 0's much."""
    owned = torch.tensor([[[False, False, False], [False, True, True]]])  # (1, 2 mentions, 3 patches)
    words = torch.tensor([[3, 1]])
    attention = torch.zeros(1, 7, 7)  # four words, three patches
    attention[0, 5:, 3] = 1
    assert language.word_loss(attention, owned, words).item() == 0
    attention = attention.roll(-2, 2)
    assert language.word_loss(attention, owned, words).item() > 5


def test_the_pool_knows_which_patches_each_mention_covers(data):
    """Every caption's first mention covers some patches, and no pool row has patches beyond its mentions."""
    files, loaded, _, _ = data
    captions = np.load(files["sampling"])["captions"]
    assert loaded.sample_owned.shape == (len(captions), pools.MENTIONS, 64)
    assert loaded.sample_owned[:, 0].any(1).mean() > 0.95  # a thing inside or behind may be hidden
    mentions = [len(parse_caption(str(c)).mentions) for c in captions]
    assert all(not owned[n:].any() for owned, n in zip(loaded.sample_owned, mentions, strict=True))


def test_a_work_directory_belongs_to_one_recipe(tmp_path):
    """Another seed or plan on old pools and checkpoints is refused, the same goes on."""
    path = tmp_path / "recipe.json"
    script.keep_recipe(path, 0, PLAN)
    script.keep_recipe(path, 0, PLAN)
    for seed, plan in ((1, PLAN), (0, language.Plan())):
        with pytest.raises(SystemExit, match="another recipe"):
            script.keep_recipe(path, seed, plan)


def test_the_tokenizer_is_fitted_once(data, tmp_path, monkeypatch):
    """A second start reads the kept tokenizer: its codes are those that the model learns."""
    files, _, _, _ = data
    first = script.keep_tokenizer(tmp_path / "t.safetensors", tuple(files.values()))
    monkeypatch.setattr(script, "fit", None)
    second = script.keep_tokenizer(tmp_path / "t.safetensors", tuple(files.values()))
    assert torch.equal(first.codebook, second.codebook)
