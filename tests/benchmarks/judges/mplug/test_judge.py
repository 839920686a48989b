"""The judge mplug: batches change nothing, images are encoded once, and its identity tells all."""

import hashlib
import json

import pytest
import torch
from silmm_benchmarks.judges.mplug.judge import MPlugJudge

from silmm.contracts.judges import Question, VqaJudge
from silmm.errors import DataError, UsageError
from silmm.registry.registry import Registry
from tests.benchmarks.judges.mplug import tiny

ASKED = [Question(text) for text in tiny.QUESTIONS]


@pytest.fixture(scope="module")
def judge(folder):
    """A small judge."""
    return MPlugJudge(folder)


def test_thirteen_questions_at_once_are_thirteen_one_by_one(judge):
    """The answers of one image's questions are equal, asked together or each alone."""
    assert len(ASKED) == 13
    (image,) = tiny.images(1)
    (together,) = judge.answer([image], [ASKED])
    assert together == [judge.answer([image], [[question]])[0][0] for question in ASKED]
    assert len(set(together)) > 2


def test_beams_do_not_depend_on_the_batch(judge):
    """All ranked token sequences are equal, and their scores to 1e-5."""
    tokens, mask = judge.questions.encode(tiny.QUESTIONS)
    image = judge.encode(tiny.images(1)[0])
    for row, together in enumerate(judge.model.answer(image, tokens, mask)):
        (alone,) = judge.model.answer(image, tokens[row : row + 1], mask[row : row + 1])
        assert [one.tokens for one in alone] == [one.tokens for one in together]
        assert [one.score for one in alone] == pytest.approx([one.score for one in together], abs=1e-5)


@pytest.mark.parametrize("batch", [1, 5, 13])
def test_answers_do_not_depend_on_the_batch_option(judge, folder, batch):
    """A smaller batch gives the same answers."""
    images = tiny.images(2)
    assert MPlugJudge(folder, batch_size=batch).answer(images, [ASKED, ASKED]) == judge.answer(images, [ASKED] * 2)


def test_answers_do_not_depend_on_other_images(judge):
    """Images asked in one call answer as each alone, whatever number of questions each has."""
    images, asked = tiny.images(3), [ASKED[:1], ASKED, ASKED[4:7]]
    alone = [judge.answer([image], [one])[0] for image, one in zip(images, asked, strict=True)]
    assert judge.answer(images, asked) == alone
    assert judge.answer(images[::-1], asked[::-1]) == alone[::-1]


def test_a_image_is_encoded_once_for_all_its_questions(judge):
    """The image tower runs once for each image that has questions, and not for one without."""
    runs = []
    hook = judge.model.visual_encoder["visual"].register_forward_hook(lambda *_: runs.append(1))
    try:
        answers = judge.answer(tiny.images(3), [ASKED, [], ASKED[:2]])
    finally:
        hook.remove()
    assert [len(one) for one in answers] == [13, 0, 2]
    assert len(runs) == 2


def test_asking_leaves_the_image_as_it_was(judge):
    """The states of an image are the same after its questions: the original changes them in place."""
    image = judge.encode(tiny.images(1)[0])
    before = image.clone()
    judge.model.answer(image, *judge.questions.encode(tiny.QUESTIONS))
    assert torch.equal(image, before)


def test_an_equal_question_has_an_equal_answer_and_choices_change_nothing(judge):
    """Case, choices and repetition of a question do not change its answer."""
    text = ASKED[0].text
    asked = [Question(text), Question(text.upper(), ("yes", "no")), Question("two cats?"), Question(text)]
    (answers,) = judge.answer(tiny.images(1), [asked])
    assert answers[0] == answers[1] == answers[3]


def test_only_the_first_25_tokens_of_a_question_count(judge):
    """What stands behind the 25th token changes nothing; what stands before it does."""
    start = "is " + "the " * 21
    texts = [start + end for end in ("cat dog", "cat on the left", "cat", "dog")]
    tokens, _ = judge.questions.encode(texts)
    assert tokens.shape == (4, 25)
    assert torch.equal(tokens[0], tokens[1])
    assert torch.equal(tokens[0], tokens[2])
    assert not torch.equal(tokens[0], tokens[3])
    (answers,) = judge.answer(tiny.images(1), [[Question(text) for text in texts]])
    assert answers[0] == answers[1] == answers[2]


@pytest.mark.parametrize("mode", ["L", "RGBA", "P"])
def test_images_of_other_modes_are_read_as_rgb(judge, mode):
    """A grey, transparent or palette image answers as its RGB form."""
    image = tiny.images(1)[0].convert(mode)
    assert judge.answer([image], [ASKED[:3]]) == judge.answer([image.convert("RGB")], [ASKED[:3]])


def test_lists_of_other_lengths_are_refused(judge):
    """Each image needs its list of questions."""
    with pytest.raises(ValueError, match="shorter"):
        judge.answer(tiny.images(2), [ASKED])


def test_the_identity_names_the_weights_by_their_hash(judge, folder, make_folder):
    """sha256 of all four files and the precision are in it; other weights, another identity."""
    assert isinstance(judge, VqaJudge)
    identity = judge.identity
    assert json.loads(json.dumps(dict(identity))) == dict(identity)
    for key, name in (("weights", "pytorch_model.bin"), ("config", "config.yaml"),
                      ("bert_config", "config_bert.json"), ("vocabulary", "vocab.txt")):
        assert identity[key] == hashlib.sha256((folder / name).read_bytes()).hexdigest()
    assert identity["dtype"] == "float32"
    assert MPlugJudge(folder, dtype="bfloat16").identity != identity
    assert MPlugJudge(make_folder(seed=1)).identity["weights"] != identity["weights"]


def test_bfloat16_computes_in_bfloat16(folder):
    """The option changes every weight's type, and answers still come out."""
    half = MPlugJudge(folder, dtype="bfloat16")
    assert {parameter.dtype for parameter in half.model.parameters()} == {torch.bfloat16}
    assert len(half.answer(tiny.images(1), [ASKED])[0]) == 13


def test_weights_that_are_not_finite_stop_the_run(make_folder):
    """No answer is made up from NaN: the error says so."""
    folder = make_folder()
    state = torch.load(folder / "pytorch_model.bin", weights_only=True)
    state["model"]["visn_fc.bias"][0] = float("nan")
    torch.save(state, folder / "pytorch_model.bin")
    with pytest.raises(DataError, match="not finite"):
        MPlugJudge(folder).answer(tiny.images(1), [ASKED])


def test_the_registry_builds_it_by_name(folder):
    """`mplug` with the folder as `weights` is the judge, and nothing in it can be trained."""
    judge = Registry.load().build("judge", "mplug", {"weights": str(folder), "device": "cpu"})
    assert judge.answer(tiny.images(1), [ASKED]) == MPlugJudge(folder).answer(tiny.images(1), [ASKED])
    assert not any(parameter.requires_grad for parameter in judge.model.parameters())
    assert not judge.model.training


def test_missing_weights_are_an_error_that_helps(tmp_path, monkeypatch):
    """Without weights the message has the files, the place, the home, the licence and the size."""
    monkeypatch.setenv("SILMM_DATA", str(tmp_path))
    with pytest.raises(DataError) as caught:
        Registry.load().build("judge", "mplug", {})
    message = str(caught.value)
    for part in ("pytorch_model.bin", "config.yaml", "config_bert.json", "vocab.txt", str(tmp_path / "mplug"),
                 "modelscope.cn", "Licence", "GB", "weights"):
        assert part in message


def test_a_device_that_torch_cannot_use_is_refused(folder):
    """The message names the device."""
    with pytest.raises(UsageError, match="nowhere"):
        MPlugJudge(folder, device="nowhere")
