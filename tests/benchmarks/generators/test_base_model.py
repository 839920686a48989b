"""Base models of silmm sample a benchmark's images, with their adapters, in their own words or not at all."""

from __future__ import annotations

import json

import numpy as np
import pytest

from silmm.bench.open_generator import choose_generator
from silmm.bench.protocol_card import sampling_of
from silmm.contracts.generators import GenerationFailure, Generator
from silmm.errors import DataError, UsageError
from silmm.lora.adapters import new_adapter, save_adapter, trainable_parameters
from silmm.registry.registry import Registry

PROMPTS = ("a red circle", "a blue square on the left of a green triangle")


def opened(spec, **options):
    registry = Registry.load()
    texts = {name: str(value) for name, value in options.items()}
    return choose_generator(spec, {"generator": texts}, registry).open(registry)


def arrays(images):
    return [np.asarray(image, dtype=np.int16) for image in images]


@pytest.mark.parametrize("name", ["tiny-discrete", "tiny-continuous"])
def test_an_embedded_model_samples_each_image_from_its_own_seed(name):
    """Alone or together, a prompt with its seed gives the same image; the identity names the weights."""
    generator = opened(name)
    assert isinstance(generator, Generator)
    together = arrays(generator.generate(PROMPTS, [1, 2]))
    assert abs(together[1] - arrays(generator.generate(PROMPTS[1:], [2]))[0]).max() <= 1
    identity = generator.identity
    assert json.loads(json.dumps(identity)) == identity
    assert identity["model"] == f"silmm/{name}"
    assert identity["weights"]


def test_an_adapter_changes_images_and_identity(tmp_path):
    """With --adapter the tuned model samples, and the card pins the adapter's files by hash."""
    plain = opened("tiny-discrete")
    new_adapter(plain.model, rank=2, alpha=64.0, seed=0)
    for name, parameter in trainable_parameters(plain.model).items():
        if "lora_B" in name:
            parameter.data.fill_(0.5)
    save_adapter(plain.model, tmp_path / "adapter")
    tuned = opened("tiny-discrete", adapter=tmp_path / "adapter")
    assert tuned.identity["adapter"].keys() == {"adapter_config.json", "adapter_model.safetensors"}
    base = opened("tiny-discrete")
    assert base.identity["adapter"] is None
    prompts, seeds = [PROMPTS[0]] * 4, [1, 2, 3, 4]
    before, after = arrays(base.generate(prompts, seeds)), arrays(tuned.generate(prompts, seeds))
    assert any((base_image != tuned_image).any() for base_image, tuned_image in zip(before, after, strict=True))


def test_a_prompt_that_the_model_cannot_read_is_recorded():
    """A prompt of another world has no image but a reason, and the others have theirs."""
    first, second = opened("tiny-discrete").generate(["zeppelins over Ünïcödé", PROMPTS[0]], [1, 2])
    assert isinstance(first, GenerationFailure)
    assert (first.reason, first.final) == ("unreadable", True)
    assert second.size[0] > 0


def test_sampling_options_reach_a_discrete_model_alone():
    """Temperature and nucleus are named in the identity; a continuous model refuses them."""
    assert opened("tiny-discrete", top_p=0.2, temperature=2.0).identity["sampling"] == {
        "temperature": 2.0, "top_p": 0.2, "top_k": 0,
    }
    with pytest.raises(UsageError, match="does not sample tokens"):
        opened("tiny-continuous", top_p=0.2)


@pytest.mark.parametrize(
    ("spec", "options", "error", "message"),
    [
        ("tiny-discret", {}, UsageError, "tiny-discrete"),
        ("tiny-discrete:/tmp", {}, UsageError, "brings its own files"),
        ("tiny-discrete", {"steps": 3}, UsageError, "no option 'steps'"),
        ("tiny-discrete", {"adapter": "no-such-folder"}, DataError, "not a PEFT adapter folder"),
    ],
)
def test_what_cannot_work_is_an_error_before_anything_is_sampled(spec, options, error, message):
    """Unknown names, folders, options and adapters are reported with a way out."""
    with pytest.raises(error, match=message):
        opened(spec, **options)


STEPPING = """
from silmm import hookimpl
from silmm.contracts.options import Options, option


class Stepping:
    def load_adapter(self, folder):
        pass


class SteppingOptions(Options):
    device: str = option("cpu", "Where the model runs.")
    steps: int = option(4, "Denoising steps.")


@hookimpl
def silmm_register_models(register):
    register("stepping", lambda options: Stepping(), options=SteppingOptions, summary="Takes steps.", kind="continuous")
"""


def test_model_options_stand_in_identity_and_card(fake_distribution):
    """`--set model.OPTION` is in the images' record and in the protocol card; the device is in neither."""
    fake_distribution("silmm-stepping", {"stepping": "silmm_stepping"}, {"silmm_stepping": STEPPING})
    registry = Registry.load()
    choice = choose_generator("stepping", {"model": {"steps": "9"}, "generator": {"device": "cpu"}}, registry)
    identity = choice.open(registry).identity
    assert identity["options"] == {"steps": 9}
    seeds = "image k of every prompt: seed + k"
    assert sampling_of({"identity": identity}, [(32, 32)], seeds)["model_options"] == {"steps": 9}
    assert sampling_of(None, [(32, 32)], seeds)["model_options"] == "unknown"
