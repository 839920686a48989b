"""A folder of mPLUG is read strictly, and nothing in it is run."""

import json
import pickle
from pathlib import Path

import pytest
import torch
from silmm_benchmarks.judges.mplug.judge import MPlugJudge

from silmm.contracts.judges import Question
from silmm.errors import DataError
from tests.benchmarks.judges.mplug import tiny

ASKED = [[Question(text) for text in tiny.QUESTIONS]]
HEAD = "text_decoder.cls.predictions."


class Intruder:
    """Touches a file when it is unpickled."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        """Say what unpickling shall do."""
        return Path.touch, (self.mark,)


def answers(folder):
    return MPlugJudge(folder).answer(tiny.images(1), ASKED)


def state_of(folder):
    return torch.load(folder / "pytorch_model.bin", weights_only=True)["model"]


def change(folder, name, **values):
    path = folder / name
    if name.endswith("json"):
        path.write_text(json.dumps(json.loads(path.read_text()) | values))
    else:
        path.write_text(path.read_text() + "".join(f"{key}: {value}\n" for key, value in values.items()))


@pytest.mark.parametrize("name", ["config.yaml", "config_bert.json", "vocab.txt", "pytorch_model.bin"])
def test_a_missing_file_is_named(make_folder, name):
    """Whichever of the four files is missing, the error names it and no other."""
    folder = make_folder()
    (folder / name).unlink()
    with pytest.raises(DataError, match=f"needs {name} in"):
        MPlugJudge(folder)


@pytest.mark.parametrize("wrap", [
    lambda state: state,
    lambda state: {"module": state},
    lambda state: {"model": {"module": state}, "epoch": 3},
    lambda state: {"model": {f"model.{name}": tensor for name, tensor in state.items()}},
])
def test_wrappers_and_prefixes_of_the_file_do_not_matter(make_folder, folder, wrap):
    """The forms that the original accepts give the same answers."""
    own = make_folder()
    torch.save(wrap(state_of(own)), own / "pytorch_model.bin")
    assert answers(own) == answers(folder)


def test_the_old_format_of_torch_is_read(make_folder, folder):
    """A file that is no zip archive, as old releases are, gives the same answers."""
    own = make_folder()
    state = {"model": state_of(own)}
    torch.save(state, own / "pytorch_model.bin", _use_new_zipfile_serialization=False)
    assert answers(own) == answers(folder)


def test_what_answering_does_not_need_is_left_alone(make_folder, folder):
    """Momentum copies, CLIP's text half, unused fusion layers and position numbers change nothing."""
    own = make_folder()
    extra = {
        "text_encoder_m.embeddings.LayerNorm.weight": torch.zeros(32),
        "visn_fc_m.weight": torch.zeros(32, 64),
        "visual_encoder.token_embedding.weight": torch.zeros(32, 16),
        "visual_encoder.logit_scale": torch.ones(()),
        "visual_encoder.visual.proj": torch.zeros(64, 16),
        "image_queue": torch.zeros(4),
        "fusion_encoder.encoder.layer.0.attention.self.query.weight": torch.zeros(32, 32),
        "text_decoder.bert.embeddings.position_ids": torch.arange(40)[None],
    }
    torch.save({"model": state_of(own) | extra}, own / "pytorch_model.bin")
    assert answers(own) == answers(folder)


def test_the_output_bias_has_two_names(make_folder, folder):
    """Either name alone serves; where both stand in the file, the linear map's own counts."""
    own = make_folder()
    state = state_of(own)
    bias = state.pop(HEAD + "decoder.bias")
    torch.save(state | {HEAD + "bias": bias}, own / "pytorch_model.bin")
    assert answers(own) == answers(folder)
    torch.save(state | {HEAD + "bias": bias * 0, HEAD + "decoder.bias": bias}, own / "pytorch_model.bin")
    assert answers(own) == answers(folder)


@pytest.mark.parametrize(("damage", "message"), [
    (lambda state: state.pop("visn_fc.weight"), "lacks: visn_fc.weight"),
    (lambda state: state.update({"text_encoder.encoder.layer.7.x": torch.ones(1)}), "unknown: text_encoder"),
    (lambda state: state.update({"visn_fc.bias": torch.ones(5)}), r"sizes: visn_fc.bias \(5,\) for \(32,\)"),
    (lambda state: state.update({"visn_fc.bias": 3}), "does not map names to tensors"),
    (lambda state: state.clear(), "lacks: .* and [0-9]+ more"),
])
def test_weights_of_another_shape_are_refused(make_folder, damage, message):
    """A missing, unknown or misshapen tensor is named; nothing is left at random."""
    folder = make_folder()
    state = state_of(folder)
    damage(state)
    torch.save({"model": state}, folder / "pytorch_model.bin")
    with pytest.raises(DataError, match=message):
        MPlugJudge(folder)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_that_runs_code_is_refused(make_folder, tmp_path, zipped):
    """The weights are read as weights alone, in both formats of torch: the code in the file never runs."""
    folder, mark = make_folder(), tmp_path / "touched"
    torch.save(
        {"model": {"a": Intruder(mark)}}, folder / "pytorch_model.bin", _use_new_zipfile_serialization=zipped
    )
    with pytest.raises(DataError, match="could run code"):
        MPlugJudge(folder)
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Intruder(mark), protocol=2))
    with pytest.raises(DataError, match="could run code"):
        MPlugJudge(folder)
    assert not mark.exists()


@pytest.mark.parametrize("part", [0.0, 0.01, 0.5, 0.99])
def test_a_cut_file_is_refused(make_folder, part):
    """An interrupted download is an error of ours that names the file."""
    path = make_folder() / "pytorch_model.bin"
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * part)])
    with pytest.raises(DataError, match=r"pytorch_model\.bin"):
        MPlugJudge(path.parent)


@pytest.mark.parametrize(("name", "values", "message"), [
    ("config.yaml", {"task": "image-captioning"}, "task"),
    ("config.yaml", {"image_res": "'big'"}, "image_res"),
    ("config.yaml", {"image_res": 7}, "smaller than a patch"),
    ("config.yaml", {"clip_vision_width": 96}, "multiple of 64"),
    ("config.yaml", {"vision_width": 128}, "vision_width 128"),
    ("config.yaml", {"bert_config": "../config_bert.json"}, "file name"),
    ("config.yaml", {"beam_size": 500}, "beam_size 500"),
    ("config.yaml", {"max_length": 41}, "positions"),
    ("config.yaml", {"x": "!!python/object/apply:os.getcwd []"}, "cannot be read"),
    ("config.yaml", {"x": "["}, "cannot be read"),
    ("config_bert.json", {"num_attention_heads": 5}, "no multiple of 5 heads"),
    ("config_bert.json", {"hidden_act": "relu"}, "hidden_act"),
    ("config_bert.json", {"encoder_width": 16}, "encoder_width"),
    ("config_bert.json", {"text_encoder_layers": None}, "text_encoder_layers"),
    ("config_bert.json", {"vocab_size": 120}, "vocab"),
])
def test_a_config_that_cannot_be_is_refused(make_folder, name, values, message):
    """Wrong, contradictory or executable settings are errors that say which."""
    folder = make_folder()
    change(folder, name, **values)
    with pytest.raises(DataError, match=message):
        MPlugJudge(folder)


@pytest.mark.parametrize("text", ["", "{", "[1]", "[" * 100000, "\xff"])
def test_a_config_that_is_no_table_is_refused(make_folder, text):
    """Empty, broken, deep or undecodable JSON is an error that names the file."""
    folder = make_folder()
    (folder / "config_bert.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(DataError, match=r"config_bert\.json"):
        MPlugJudge(folder)


def test_a_vocabulary_of_another_model_is_refused(make_folder):
    """[CLS] and [SEP] must be where the official code has them."""
    folder = make_folder()
    words = (folder / "vocab.txt").read_text().splitlines()
    (folder / "vocab.txt").write_text("\n".join(["[other]", *words]) + "\n")
    with pytest.raises(DataError, match="101 and 102"):
        MPlugJudge(folder)
