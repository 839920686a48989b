"""Our mPLUG gives what the original gives, run beside it on random weights of several sizes."""

import pytest
import torch
from silmm_benchmarks.judges.mplug.decoder import Decoding
from silmm_benchmarks.judges.mplug.inputs import pixels
from silmm_benchmarks.judges.mplug.judge import MPlugJudge

from tests.benchmarks.judges.mplug import oracle, tiny

SIZES = {
    "as the large model": {},
    "joins in every layer but the first": {"stride_layer": 1, "num_hidden_layers": 5, "fusion_layers": 5},
    "never joins": {"stride_layer": 100, "fusion_layers": 4},
    "joins last": {"stride_layer": 3, "num_hidden_layers": 6, "fusion_layers": 4, "text_encoder_layers": 1},
    "one width": {"hidden_size": 64, "encoder_width": 64, "num_attention_heads": 2},
    "more layers to fuse than there are": {"fusion_layers": 9, "text_decode_layers": 3},
    "other rule": {"beam_size": 3, "max_length": 4, "min_length": 0},
    "long answers": {"max_length": 20, "min_length": 3, "image_res": 70},
}


@pytest.fixture(scope="module")
def original():
    """The original's module."""
    path = oracle.root()
    if path is None:
        pytest.skip("the package modelscope is not here; SILMM_MODELSCOPE names a folder that holds it")
    with oracle.original(path) as module:
        yield module


@pytest.mark.parametrize("name", SIZES)
def test_the_original_agrees(original, tmp_path, name):
    """Questions asked together have the original's tokens, scores to 1e-4 and first logits to 1e-5."""
    tiny.write_config(tmp_path, **SIZES[name])
    expected = original.MPlug.from_pretrained(str(tmp_path), load_checkpoint=False).eval()
    expected.load_state_dict(tiny.randomise(expected, seed=len(name)))
    torch.save({"model": expected.state_dict()}, tmp_path / "pytorch_model.bin")
    judge = MPlugJudge(tmp_path)
    for image in tiny.images(2):
        encoded, pixel_values = judge.encode(image), pixels(image, judge.config.image_res)[None]
        tokens, mask = judge.questions.encode(tiny.QUESTIONS)
        with torch.inference_mode():
            decoding = Decoding(judge.model.text_decoder, *judge.model.fuse(encoded, tokens, mask))
            logits = decoding.logits(torch.full((len(tokens), 1), 101))[:, 0]
        together = judge.model.answer(encoded, tokens, mask)
        for row, ranked in enumerate(together):
            (sequences, scores), first = oracle.ask(expected, pixel_values, tokens[row : row + 1], mask[row : row + 1])
            torch.testing.assert_close(logits[row], first, rtol=1e-5, atol=1e-5)
            assert [list(item.tokens) for item in ranked] == [sequence.tolist() for sequence in sequences[0]]
            torch.testing.assert_close(
                torch.tensor([item.score for item in ranked]), torch.stack(scores[0]), rtol=0, atol=1e-4
            )


def test_the_random_models_do_not_all_answer_alike(tmp_path):
    """Answers differ between questions and in length, or the comparison would show little."""
    judge = MPlugJudge(tiny.write_folder(tmp_path))
    tokens, mask = judge.questions.encode(tiny.QUESTIONS)
    answers = judge.model.answer(judge.encode(tiny.images(1)[0]), tokens, mask)
    best = {ranked[0].tokens for ranked in answers}
    assert len(best) > 2
    assert len({len(tokens) for tokens in best}) > 1
