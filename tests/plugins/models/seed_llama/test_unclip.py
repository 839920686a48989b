"""The de-tokenizer gives the images of diffusers' own pipeline, one seed for each image."""

import diffusers
import numpy as np
import pytest
import torch
from silmm_plugins.models.seed_llama.unclip import Unclip

from silmm.errors import DataError
from tests.plugins.models.seed_llama.tiny_checkpoint import EMBEDDING, UNCLIP, write_unclip

SEEDS = [3, 4, 5]
STEPS, GUIDANCE = 4, 10.0


@pytest.fixture(scope="module")
def embeddings():
    """Return three image embeddings."""
    return torch.randn(3, EMBEDDING, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module", params=["PNDMScheduler", "DDIMScheduler", "DDPMScheduler"])
def folder(request, checkpoint, tmp_path_factory):
    """Return a pipeline with each of three schedulers, one of them with noise at each step."""
    if request.param == "PNDMScheduler":
        return checkpoint / UNCLIP
    folder = tmp_path_factory.mktemp("unclip") / "pipeline"
    kind = getattr(diffusers, request.param)
    write_unclip(folder, kind(prediction_type="v_prediction", clip_sample=False))
    return folder


def stock(folder, embeddings, seeds):
    """Return the images of the stock pipeline, uint8."""
    pipeline = diffusers.StableUnCLIPImg2ImgPipeline.from_pretrained(folder)
    pipeline.set_progress_bar_config(disable=True)
    out = pipeline(
        prompt=[""] * len(seeds), image_embeds=embeddings, num_inference_steps=STEPS, noise_level=0,
        guidance_scale=GUIDANCE, generator=[torch.Generator().manual_seed(seed) for seed in seeds],
        output_type="np",
    )
    return (out.images * 255).round().astype(np.uint8)


def sample(folder, embeddings, seeds):
    """Return our images."""
    return np.stack(
        Unclip.load(folder, torch.float32).decode(embeddings, seeds, steps=STEPS, guidance=GUIDANCE)
    )


def test_images_are_the_stock_pipelines(folder, embeddings):
    """From the same embeddings and seeds come the same images, within one level of 255."""
    sampled, expected = sample(folder, embeddings, SEEDS), stock(folder, embeddings, SEEDS)
    assert sampled.shape == expected.shape == (3, 16, 16, 3)
    assert np.abs(sampled.astype(int) - expected).max() <= 1
    assert sampled.std() > 5  # not one flat colour


def test_an_image_has_its_own_seed(folder, embeddings):
    """An image alone equals itself in a batch; another seed, and another embedding, sample another one."""
    together = sample(folder, embeddings, SEEDS)
    alone = sample(folder, embeddings[1:2], SEEDS[1:2])
    assert np.abs(together[1].astype(int) - alone[0]).max() <= 1
    assert not np.array_equal(sample(folder, embeddings[1:2], [9])[0], alone[0])
    assert not np.array_equal(sample(folder, embeddings[:1], SEEDS[1:2])[0], alone[0])


def test_a_part_that_is_missing_is_named(checkpoint, tmp_path):
    """Without its UNet a pipeline is refused with the part and the folder."""
    for child in (checkpoint / UNCLIP).iterdir():
        if child.name != "unet":
            (tmp_path / child.name).symlink_to(child)
    with pytest.raises(DataError, match=rf"{tmp_path}.*unet"):
        Unclip.load(tmp_path, torch.float32)
