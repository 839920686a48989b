"""Pipelines of the real diffusers classes sample each image from its own prompt and seed, and say how."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch

from silmm.bench.open_generator import choose_generator
from silmm.contracts.generators import GenerationFailure, Generator
from silmm.errors import DataError, UsageError
from silmm.registry.registry import Registry
from tests.benchmarks.generators import tiny_pipelines

pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy:DeprecationWarning",  # schedulers on numpy 2
)
FAMILIES = ("stable_diffusion", "stable_diffusion_xl", "pixart")
PROMPTS = ("a red cube", "two blue balls, left of a dog", "tea")


def opened(folder, **options):
    texts = {name: str(value) for name, value in ({"steps": 2} | options).items()}
    registry = Registry.load()
    return choose_generator(f"diffusers:{folder}", {"generator": texts}, registry).open(registry)


def pixels(generator, prompts, seeds):
    return [np.asarray(image, dtype=np.int16) for image in generator.generate(prompts, seeds)]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Saved pipelines, one of each family."""
    return {name: getattr(tiny_pipelines, name)(tmp_path_factory.mktemp(name)) for name in FAMILIES}


@pytest.fixture(scope="module")
def generators(folders):
    return {name: opened(folder) for name, folder in folders.items()}


@pytest.mark.parametrize("family", FAMILIES)
def test_a_image_does_not_depend_on_its_batch(generators, family):
    """Sampled together, in another order or alone, a prompt with its seed gives the same image."""
    generator = generators[family]
    together = pixels(generator, PROMPTS, [42, 43, 44])
    turned = pixels(generator, PROMPTS[::-1], [44, 43, 42])[::-1]
    alone = [pixels(generator, [PROMPTS[index]], [42 + index])[0] for index in range(3)]
    for first, second, third in zip(together, turned, alone, strict=True):
        assert first.shape == (32, 32, 3)
        assert abs(first - second).max() <= 1
        assert abs(first - third).max() <= 1


@pytest.mark.parametrize("family", FAMILIES)
def test_prompt_and_seed_both_count(generators, family):
    """Another seed, or another prompt, is another image."""
    first, seed, prompt = pixels(generators[family], ["a cup", "a cup", "many trees"], [1, 2, 1])
    assert abs(first - seed).max() > 1
    assert abs(first - prompt).max() >= 1


@pytest.mark.parametrize(
    ("family", "pipeline", "scheduler", "guidance", "tokens"),
    [
        ("stable_diffusion", "StableDiffusionPipeline", "DDIMScheduler", 7.5, 77),
        ("stable_diffusion_xl", "StableDiffusionXLPipeline", "EulerDiscreteScheduler", 5.0, 77),
        ("pixart", "PixArtAlphaPipeline", "DPMSolverMultistepScheduler", 4.5, 120),
    ],
)
def test_the_identity_says_how_it_was_sampled(
    generators, folders, family, pipeline, scheduler, guidance, tokens
):
    """The card's part is JSON, names defaults by their values, and pins local weights by their hashes."""
    generator = generators[family]
    assert isinstance(generator, Generator)
    identity = generator.identity
    assert json.loads(json.dumps(identity)) == identity
    assert identity["pipeline"] == pipeline
    assert identity["scheduler"] == scheduler
    assert identity["guidance"] == guidance
    assert identity["text_tokens"] == tokens
    assert (identity["steps"], identity["size"], identity["dtype"]) == (2, [32, 32], "float32")
    assert identity["prompt_rewriting"] == "none"
    files = {path.relative_to(folders[family]).as_posix() for path in folders[family].rglob("*.safetensors")}
    assert files <= identity["files"].keys()
    assert str(folders[family].parent) not in json.dumps(identity)


def test_options_reach_the_pipeline(folders):
    """Size, scheduler, precision, guidance and steps are those that were asked for."""
    generator = opened(
        folders["stable_diffusion"], width=48, height=24, scheduler="EulerAncestralDiscreteScheduler",
        dtype="bfloat16", guidance=1.5, steps=3, negative_prompt="mud",
    )
    (image,) = generator.generate(["a cup"], [7])
    assert image.size == (48, 24)
    identity = generator.identity
    assert (identity["size"], identity["steps"], identity["guidance"]) == ([48, 24], 3, 1.5)
    assert (identity["scheduler"], identity["dtype"]) == ("EulerAncestralDiscreteScheduler", "bfloat16")
    assert generator.pipeline.unet.dtype == torch.bfloat16


def test_noise_within_the_steps_is_the_images_own_too(folders):
    """A scheduler that samples noise at each step keeps images apart as well."""
    generator = opened(folders["stable_diffusion"], scheduler="EulerAncestralDiscreteScheduler", steps=3)
    together = pixels(generator, PROMPTS, [42, 43, 44])
    assert abs(together[2] - pixels(generator, PROMPTS[2:], [44])[0]).max() <= 1


def test_images_of_pixart_have_the_asked_size(folders):
    """PixArt's own rounding to trained shapes is off: what the card says is what is sampled."""
    generator = opened(folders["pixart"], width=64, height=32)
    (image,) = generator.generate(["a cup"], [7])
    assert image.size == (64, 32)
    assert generator.identity["size"] == [64, 32]


def test_a_blacked_out_image_is_reported(tmp_path):
    """What the safety checker flags has no image but a reason; without the checker it is sampled."""
    folder = tiny_pipelines.stable_diffusion(tmp_path, offended=True)
    guarded = opened(folder)
    assert guarded.identity["safety_checker"] is True
    failure, other = guarded.generate(["a cup", "a dog"], [1, 2])
    assert isinstance(failure, GenerationFailure)
    assert isinstance(other, GenerationFailure)
    assert (failure.reason, failure.final) == ("nsfw", True)
    free = opened(folder, safety_checker=False)
    assert free.identity["safety_checker"] is False
    assert not isinstance(free.generate(["a cup"], [1])[0], GenerationFailure)


def test_a_image_that_is_no_number_is_reported(folders):
    """A decoder that overflows (as SDXL's in half precision) gives no black image to be scored."""
    generator = opened(folders["stable_diffusion_xl"])
    with torch.no_grad():
        generator.pipeline.vae.decoder.conv_out.bias.fill_(float("nan"))
    (failure,) = generator.generate(["a cup"], [1])
    assert isinstance(failure, GenerationFailure)
    assert failure.reason == "failed"


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("diffusers:", "names no model"),
        ("diffusers:{empty}", "no model_index.json"),
        ("diffusers:no such", "there is no such folder"),
        ("diffusers:../../no/such", "there is no such folder"),
    ],
)
def test_a_wrong_place_is_an_error_that_says_so(tmp_path, spec, message):
    """Nothing is loaded or fetched for a name that cannot be a pipeline."""
    with pytest.raises(UsageError, match=message):
        registry = Registry.load()
        choose_generator(spec.format(empty=tmp_path), {}, registry).open(registry)


def test_an_unknown_scheduler_names_fitting_ones(folders):
    """The message lists schedulers that go with the pipeline; a class of another kind is none."""
    for name in ("NoScheduler", "AutoencoderKL"):
        with pytest.raises(UsageError, match="EulerDiscreteScheduler"):
            opened(folders["stable_diffusion"], scheduler=name)


def test_an_option_without_effect_is_refused(folders):
    """An adapter for a base model is not silently ignored."""
    with pytest.raises(UsageError, match="no option 'quality'"):
        opened(folders["stable_diffusion"], quality="high")


def test_pickled_weights_are_not_read(folders, tmp_path):
    """A folder whose weights are .bin alone is refused: they could run code."""
    folder = tmp_path / "copy"
    shutil.copytree(folders["stable_diffusion_xl"], folder)
    (weights,) = (folder / "unet").glob("*.safetensors")
    weights.rename(weights.with_suffix(".bin"))
    with pytest.raises(DataError, match="safetensors"):
        opened(folder)


def test_another_kind_of_pipeline_is_refused(folders, tmp_path):
    """A pipeline that needs an image to start from cannot sample a benchmark."""
    folder = tmp_path / "copy"
    shutil.copytree(folders["stable_diffusion_xl"], folder)
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps(index | {"_class_name": "DDPMPipeline"}))
    with pytest.raises((UsageError, DataError)):
        opened(folder)
