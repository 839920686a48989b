"""Finding the parts of a model, and saying which file is wrong where one is."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from silmm_plugins.models.emu3.locate import Parts, locate

from silmm.errors import DataError, UsageError
from tests.plugins.models.emu3.loading import load, tiny
from tests.plugins.models.emu3.tiny_checkpoint import vocabulary


def test_parts_beside_the_policy(written: Path, tmp_path: Path) -> None:
    """Chat and the vision tokenizer are found beside the policy, or within the folder that holds all."""
    gen, hf, chat = (written / name for name in ("Emu3-Gen", "Emu3-Gen-hf", "Emu3-Chat"))
    assert locate(str(hf), "", "") == Parts(hf, chat, hf)
    assert locate(str(written), "self", str(hf)) == Parts(gen, None, hf)
    with pytest.raises(UsageError, match=r"no Emu3-VisionTokenizer beside .*model\.vision=DIR"):
        locate(str(gen), "", "")
    alone = Path(shutil.copytree(hf, tmp_path / "alone" / "Emu3-Gen-hf"))
    with pytest.raises(UsageError, match=r"Emu3-Chat-hf or Emu3-Chat beside .*model\.judge=self"):
        locate(str(alone), "", "")


def test_no_path() -> None:
    """Without a path the error says what to give."""
    with pytest.raises(UsageError, match=r"--set model\.path=DIR"):
        load("")


def test_an_unknown_id(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is neither a folder nor a repository that can be had is said to be so, by name."""
    with pytest.raises(DataError, match=r"no folder '/nowhere/at/all', and it is no hub id"):
        load("/nowhere/at/all")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(DataError, match=r"no folder 'nobody/emu3-of-none', and the hub does not give"):
        load("nobody/emu3-of-none")


def test_a_folder_of_another_model(own: Path) -> None:
    """Another model's folder, or none, is told from a damaged one."""
    file = own / "Emu3-Gen-hf" / "config.json"
    file.write_text(json.dumps({"model_type": "llama"}))
    with pytest.raises(DataError, match=r"config\.json is of a model of type 'llama'"):
        tiny(own)
    file.write_text("{")
    with pytest.raises(DataError, match=r"config\.json is not JSON"):
        tiny(own)
    (own / "empty").mkdir()
    with pytest.raises(DataError, match=r"empty holds neither a config\.json nor"):
        load(own / "empty")


def test_a_missing_shard(own: Path) -> None:
    """A shard that the index names and that is not there is named."""
    shard = sorted((own / "Emu3-Gen").glob("model-*.safetensors"))[-1]
    shard.unlink()
    with pytest.raises(DataError, match=rf"{shard.name} is missing"):
        tiny(own, "Emu3-Gen")


@pytest.mark.parametrize("layout", ["Emu3-Gen", "Emu3-Gen-hf"])
def test_a_truncated_shard(own: Path, layout: str) -> None:
    """A file that is cut off is named before anything is loaded from it."""
    shard = sorted((own / layout).glob("model*.safetensors"))[0]
    shard.write_bytes(shard.read_bytes()[:-100])
    with pytest.raises(DataError, match=rf"{shard.name} cannot be read as weights"):
        tiny(own, layout, vision=str(own / "Emu3-Gen-hf"))


def test_a_missing_tensor(own: Path) -> None:
    """Weights that lack a tensor are refused instead of leaving it random."""
    file = own / "Emu3-Gen-hf" / "model.safetensors"
    weights = load_file(file)
    lost = next(name for name in weights if name.endswith("layers.1.mlp.up_proj.weight"))
    save_file({name: weight for name, weight in weights.items() if name != lost}, file, {"format": "pt"})
    with pytest.raises(DataError, match=r"Emu3-Gen-hf lacks 1 weights .*layers\.1\.mlp\.up_proj"):
        tiny(own)
    del weights[next(name for name in weights if "vqmodel.decoder.conv_out" in name)]
    save_file(weights, file, {"format": "pt"})
    with pytest.raises(DataError, match=r"lacks 1 weights .*'decoder\.conv_out"):
        tiny(own)


def test_a_config_of_another_size(own: Path) -> None:
    """A config that does not fit the weights is refused."""
    file = own / "Emu3-Gen" / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"intermediate_size": 40}))
    told = r"Emu3-Gen: .*other shapes than config\.json says, .*mlp.*48.*40"
    with pytest.raises(DataError, match=told):
        tiny(own, "Emu3-Gen")


def test_no_preprocessor(own: Path) -> None:
    """Without the preprocessor's file nothing is guessed: the class defaults are another model's."""
    (own / "Emu3-Gen-hf" / "preprocessor_config.json").unlink()
    with pytest.raises(DataError, match=r"has no preprocessor_config\.json"):
        tiny(own)


def test_the_probe_tells_what_the_checkpoint_says(written: Path, own: Path) -> None:
    """`silmm probe` is given ids, templates and sizes as JSON, and a judge of other ids is a problem."""
    told = json.loads(json.dumps(tiny(written).probe()))
    names = vocabulary()
    assert told["token ids"]["boi"] == names["<|image start|>"]
    assert set(told["yes ids"]) == {" yes", " Yes"}
    assert (told["rows and columns"], told["tokens per image"], told["problems"]) == ([4, 4], 20, [])
    file = own / "Emu3-Chat" / "emu3_vision_tokens.txt"
    first, second, *rest = file.read_text().splitlines()
    file.write_text("\n".join([second, first, *rest]))
    assert "differ in their ids" in tiny(own).probe()["problems"][0]


def test_images_that_do_not_fit(written: Path) -> None:
    """More image tokens than positions is an error at the start; so is a ratio that is none."""
    with pytest.raises(UsageError, match=r"Lower model\.image_area"):
        tiny(written, image_area=512 * 512)
    with pytest.raises(UsageError, match=r"'wide' is no ratio"):
        tiny(written, ratio="wide")


def test_an_unusable_device(written: Path) -> None:
    """A device that torch does not have is a usage error."""
    with pytest.raises(UsageError, match="cannot use the device 'nowhere'"):
        tiny(written, device="nowhere")


def test_precision(written: Path) -> None:
    """bfloat16 is for the language models; the vision tokenizer stays in float32, where codes are stable."""
    model = tiny(written, dtype="bfloat16")
    assert {p.dtype for p in model.backbone.parameters()} == {torch.bfloat16}
    assert {p.dtype for p in model.judge.model.backbone.parameters()} == {torch.bfloat16}
    exact = tiny(written)
    (z,) = exact.represent(["a cat"], [1], exact_sampling())
    with torch.no_grad():
        near = float(model.log_likelihood(["a cat"], [z])) / len(z)
        assert near == pytest.approx(float(exact.log_likelihood(["a cat"], [z])) / len(z), abs=0.05)
    image = exact.decode([z], [1])[0]
    assert (model.vision.encode(image) == exact.vision.encode(image)).all()
    p, q = (one.yes_no([image], [["Is it a cat?"]])[0] for one in (model, exact))
    assert abs(p - q).max() < 0.02


def exact_sampling():
    """Return plain sampling."""
    from silmm.contracts.models import SamplingParams

    return SamplingParams()
