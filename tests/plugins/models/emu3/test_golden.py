"""Recorded checkpoints give the numbers of the original code: alone, in unequal company, and after PEFT."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from PIL import Image
from silmm_plugins.models.emu3 import grammar
from silmm_plugins.models.emu3.image_sampling import Canvas, sample
from silmm_plugins.models.emu3.model import Emu3
from transformers import Emu3ForCausalLM, Emu3ForConditionalGeneration, Emu3TextConfig

from silmm.contracts.models import SamplingParams
from silmm.lora.loading import load_adapter
from tests.plugins.models.emu3.loading import load

# peft's warning, not ours to mend
pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing.:FutureWarning")
UNDER_PEFT = "under an adapter of plain peft"
CLOSE = {"rtol": 1e-5, "atol": 1e-5}  # what the recording asks for


@pytest.fixture(scope="module", params=["", "Emu3-Gen", "Emu3-Gen-hf", UNDER_PEFT])
def model(
    request: pytest.FixtureRequest, golden: Path, tmp_path_factory: pytest.TempPathFactory
) -> Emu3:
    """The folder of all parts, the original layout, and that of transformers, given by the path alone.

    And the policy after a round trip through peft: a fresh adapter has B = 0, so all numbers hold under it.
    """
    if request.param != UNDER_PEFT:
        options = {} if request.param == "Emu3-Gen-hf" else {"image_area": 0}
        return load(golden / request.param, **options)
    model, folder = load(golden), tmp_path_factory.mktemp("adapter")
    settings = LoraConfig(r=2, target_modules=model.lora_targets)
    get_peft_model(_stock(golden / "Emu3-Gen"), settings).save_pretrained(str(folder))
    load_adapter(model, folder)
    return model


@pytest.fixture(scope="module")
def expected(golden: Path) -> dict[str, Any]:
    """The recorded texts and numbers."""
    return json.loads((golden / "expected.json").read_text())


@pytest.fixture(scope="module")
def arrays(golden: Path) -> Any:
    """The recorded tensors."""
    return np.load(golden / "expected.npz")


def golden_image(golden: Path, name: str) -> Any:
    """Return an input image."""
    return np.asarray(Image.open(golden / "inputs" / name).convert("RGB"))


def codes(case: dict[str, Any]) -> Any:
    """Return the recorded codes of a case."""
    return np.array(case["codes"], dtype=np.int32)


def prefixes(model: Emu3, expected: dict[str, Any]) -> list[list[int]]:
    """Return the ids of all prompts, as the adapter makes them."""
    return [
        model.image_ids(case["prompt"] + case["positive_suffix"], (case["height"], case["width"]))
        for case in expected["gen"]
    ]


def test_sizes_come_from_ratio_and_area(expected: dict[str, Any]) -> None:
    """A ratio and an area give the recorded rows and columns."""
    for case in expected["gen"]:
        assert grammar.grid(case["ratio"], case["image_area"]) == (case["height"], case["width"])


def test_the_area_is_that_of_the_checkpoint(model: Emu3, expected: dict[str, Any]) -> None:
    """An original folder says how large its images are; nothing else has to be given."""
    assert model.grid == (expected["gen"][0]["height"], expected["gen"][0]["width"])


def test_token_ids(model: Emu3, expected: dict[str, Any]) -> None:
    """Prompts, negative prompts, control tokens and answers have the recorded ids."""
    assert prefixes(model, expected) == [case["input_ids"] for case in expected["gen"]]
    for case, sampled in zip(expected["cfg"], expected["gen"], strict=True):
        shape = sampled["height"], sampled["width"]
        assert model.image_ids(case["negative_prompt"], shape) == case["negative_ids"]
    tokens = model.tokenizer.tokens
    special = {name: getattr(tokens, name.replace("visual0", "visual")) for name in expected["special"]}
    assert special == expected["special"]
    assert (model.judge.yes, model.judge.no) == (expected["yes_ids"], expected["no_ids"])


def test_pixels_and_codes_of_images(
    model: Emu3, golden: Path, expected: dict[str, Any], arrays: Any
) -> None:
    """Preprocessing gives the recorded pixels, and the vision tokenizer the recorded codes."""
    for index, case in enumerate(expected["encode"]):
        image = golden_image(golden, case["image"])
        np.testing.assert_allclose(model.vision.pixels(image), arrays[f"pixel_values{index}"], **CLOSE)
        np.testing.assert_array_equal(model.vision.encode(image), codes(case))


def test_images_of_codes(model: Emu3, expected: dict[str, Any], arrays: Any) -> None:
    """Codes give the recorded pixels, and the same 8-bit image."""
    for index, case in enumerate(expected["decode"]):
        np.testing.assert_allclose(
            model.vision.decode_pixels(codes(case)), arrays[f"decoded{index}"], **CLOSE
        )
        np.testing.assert_array_equal(model.vision.decode(codes(case)), arrays[f"decoded{index}_uint8"])


@torch.no_grad()
def test_likelihoods(model: Emu3, expected: dict[str, Any]) -> None:
    """Each code has the recorded log-probability, alone and beside an image of another size."""
    cases = expected["gen"]
    ids, grids = prefixes(model, expected), [codes(case) for case in cases]
    together = model.policy.code_log_probabilities(ids, grids)
    for index, case in enumerate(cases):
        (alone,) = model.policy.code_log_probabilities([ids[index]], [grids[index]])
        for values in (alone, together[index]):
            np.testing.assert_allclose(values, case["logp_codes_only_visual"], **CLOSE)
    assert model.grid == grids[0].shape
    (whole,) = model.log_likelihood([cases[0]["prompt"]], [grids[0].reshape(-1)])
    assert float(whole) == pytest.approx(cases[0]["logp_codes_only_visual_sum"], abs=1e-4)


def test_guided_sampling(model: Emu3, expected: dict[str, Any]) -> None:
    """The likeliest codes under guidance 3 are the recorded sequences, alone and in unequal company."""
    canvases = [
        Canvas(ids, case["negative_ids"], codes(sampled).shape, seed=1)
        for ids, case, sampled in zip(
            prefixes(model, expected), expected["cfg"], expected["gen"], strict=True
        )
    ]
    tokens = model.tokenizer.tokens
    greedy = SamplingParams(temperature=0.0)
    together = sample(model.policy, canvases, greedy, guidance=3.0)
    for canvas, case, beside in zip(canvases, expected["cfg"], together, strict=True):
        for sampled in (sample(model.policy, [canvas], greedy, guidance=3.0)[0], beside):
            ids = [*grammar.body(tokens, sampled), *grammar.closing(tokens), tokens.eos]
            assert ids == case["argmax_token_ids"]


def test_answers(model: Emu3, golden: Path, expected: dict[str, Any], arrays: Any) -> None:
    """Questions have the recorded ids, logits and p(yes), p(no), alone and beside the other questions."""
    asked = [case["question"] for case in expected["vqa"]]
    for index, case in enumerate(expected["vqa"]):
        image = golden_image(golden, case["image"])
        seen = model.vision.encode(image)
        ids = [*model.judge.image_ids(seen), *model.judge.question_ids(case["question"])]
        assert ids == case["input_ids"]
        with torch.no_grad():
            prefix = model.judge.image_prefix(seen)
            (alone,) = prefix.logits([[model.judge.question_ids(case["question"])]])
            (beside,) = prefix.logits([list(map(model.judge.question_ids, asked))])
        for logits in (alone[0], beside[index]):
            np.testing.assert_allclose(logits, arrays[f"vqa{index}_logits"], **CLOSE)
        (answers,) = model.yes_no([image], [asked])
        np.testing.assert_allclose(answers[index], [case["p_yes"], case["p_no"]], **CLOSE)


@torch.no_grad()
@pytest.mark.parametrize("layout", ["Emu3-Gen", "Emu3-Gen-hf"])
def test_an_adapter_of_plain_peft(
    golden: Path, expected: dict[str, Any], layout: str, tmp_path: Path
) -> None:
    """A LoRA of plain peft on the stock class of a layout gives that class's numbers here, and goes again."""
    ours = load(golden / layout)
    stock = _stock(golden / layout)
    settings = LoraConfig(r=4, target_modules=ours.lora_targets, lora_dropout=0.0)
    torch.manual_seed(0)
    wrapped = get_peft_model(stock, settings).eval()
    for name, parameter in wrapped.named_parameters():
        if "lora_B" in name:
            parameter.normal_(std=0.1)
    wrapped.save_pretrained(str(tmp_path / "adapter"))
    case = expected["gen"][0]
    before = case["logp_codes_only_visual_sum"]
    ids = torch.tensor([[*case["input_ids"], *case["image_token_ids"]]])
    first = ours.tokenizer.tokens.visual
    logits = wrapped(input_ids=ids).logits[0, :-1, first : first + expected["codebook"]]
    places = [len(case["input_ids"]) - 1 + i for i in grammar.code_positions(*codes(case).shape)]
    chosen = torch.from_numpy(codes(case).reshape(-1)).long()
    theirs = float(logits[places].log_softmax(-1).gather(1, chosen[:, None]).sum())
    assert abs(theirs - before) > 0.1
    load_adapter(ours, tmp_path / "adapter")
    z = codes(case).reshape(-1)
    assert float(ours.log_likelihood([case["prompt"]], [z])) == pytest.approx(theirs, abs=1e-4)
    load_adapter(ours, None)
    assert float(ours.log_likelihood([case["prompt"]], [z])) == pytest.approx(before, abs=1e-4)
    again = PeftModel.from_pretrained(_stock(golden / layout), str(tmp_path / "adapter")).eval()
    torch.testing.assert_close(again(input_ids=ids).logits, wrapped(input_ids=ids).logits)


def _stock(folder: Path) -> Any:
    """Return the class of transformers with which a layout's users load it."""
    if folder.name.endswith("-hf"):
        return Emu3ForConditionalGeneration.from_pretrained(str(folder)).eval()
    raw = json.loads((folder / "config.json").read_text())
    own = {key: value for key, value in raw.items() if key not in {"model_type", "auto_map"}}
    return Emu3ForCausalLM.from_pretrained(str(folder), config=Emu3TextConfig(**own)).eval()
