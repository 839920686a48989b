"""CLIP gives plain cosines of whole texts, whatever else is in the batch."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from PIL import Image
from silmm_benchmarks.judges.clip_similarity import MODEL, ClipSimilarity
from silmm_benchmarks.judges.loading import Placement
from silmm_benchmarks.judges.options import JudgeOptions
from silmm_benchmarks.judges.pixels import CLIP_MEAN, CLIP_STD, centre_squares

from silmm.contracts.judges import BadText, SimilarityJudge
from silmm.errors import DataError
from tests.benchmarks.judges import tiny_models

TEXTS = ["a red circle", "a small green cube on the left of a car.", "dog"]


@pytest.fixture(scope="module")
def judge():
    """A tiny random CLIP of open_clip's class with the real tokenizer."""
    return tiny_judge(8)


def tiny_judge(batch: int) -> ClipSimilarity:
    """Return a tiny judge."""
    import open_clip

    placement = Placement(torch.device("cpu"), torch.float32, batch)
    return ClipSimilarity(tiny_models.clip(), open_clip.get_tokenizer(MODEL), placement, {})


def test_the_cosine_is_that_of_the_model(judge, images):
    """Image and text through the model's own encoders, normalised and multiplied, give the same number."""
    import open_clip

    with torch.no_grad():
        pixels = centre_squares(images[:1], 32, Image.Resampling.BICUBIC, CLIP_MEAN, CLIP_STD)
        calls = judge._model.encode_image(pixels, normalize=True)
        read = judge._model.encode_text(open_clip.get_tokenizer(MODEL)(TEXTS[:1]), normalize=True)
    assert judge.similarity(images[:1], TEXTS[:1])[0] == pytest.approx(float(calls[0] @ read[0]), abs=1e-6)


def test_cosines_do_not_depend_on_the_batch(judge, images):
    """Pairs alone, in batches of one and all at once are equal, and in [-1, 1]."""
    similarities = judge.similarity(images, TEXTS)
    alone = [judge.similarity([image], [text])[0] for image, text in zip(images, TEXTS, strict=True)]
    np.testing.assert_allclose(similarities, alone, atol=1e-6)
    np.testing.assert_allclose(tiny_judge(1).similarity(images, TEXTS), alone, atol=1e-6)
    assert (np.abs(similarities) <= 1).all()
    assert len(set(similarities.round(6))) == 3
    assert judge.similarity([], []).shape == (0,)


def test_repeats_are_read_once(judge, images):
    """A text for ten images is encoded once, and an image with several texts too."""
    counted = {"text": 0, "image": 0}
    model = judge._model
    hooks = [
        model.token_embedding.register_forward_hook(
            lambda _, args, __: counted.update(text=counted["text"] + len(args[0]))),
        model.visual.register_forward_hook(
            lambda _, args, __: counted.update(image=counted["image"] + len(args[0]))),
    ]
    judge.similarity([images[0]] * 3 + [images[1]], [TEXTS[0], TEXTS[1], TEXTS[0], TEXTS[0]])
    for hook in hooks:
        hook.remove()
    assert counted == {"text": 2, "image": 2}


def test_a_text_that_is_too_long_is_not_cut(judge, images):
    """75 words fill the 77 tokens with both ends; one more raises, as in the official script."""
    assert np.isfinite(judge.similarity(images[:1], ["car " * 75])).all()
    with pytest.raises(BadText, match=r"77 tokens.*has 78"):
        judge.similarity(images[:2], ["a car", "car " * 76])


@pytest.mark.parametrize("size", [(224, 224), (640, 427), (427, 640), (301, 300), (512, 512)])
def test_images_are_prepared_as_open_clip_prepares_them(size):
    """Resize and crop equal open_clip's transforms of OpenAI's weights to the last bit of float32."""
    import open_clip

    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    expected = open_clip.image_transform(
        224, is_train=False, mean=CLIP_MEAN, std=CLIP_STD, interpolation="bicubic", resize_mode="shortest"
    )(image)
    actual = centre_squares([image], 224, Image.Resampling.BICUBIC, CLIP_MEAN, CLIP_STD)[0]
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-6)


def test_a_script_archive_is_not_opened(tmp_path):
    """OpenAI's own .pt holds code; it is refused with the way to the same weights as safetensors."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # torch advises against new archives of this kind
        script = torch.jit.trace(torch.nn.Linear(2, 2), torch.zeros(1, 2))
        torch.jit.save(script, tmp_path / "ViT-B-32.pt")
    with pytest.raises(DataError, match=r"TorchScript archive.*open_clip_model\.safetensors"):
        ClipSimilarity.load(JudgeOptions(weights=str(tmp_path / "ViT-B-32.pt")))


@pytest.mark.slow
def test_the_real_architecture_loads_from_safetensors(tmp_path, images):
    """Random weights of ViT-B-32-quickgelu in open_clip's layout load and score; fewer are refused."""
    import open_clip
    from safetensors.torch import load_file, save_file

    path = tmp_path / "open_clip_model.safetensors"
    torch.manual_seed(0)
    save_file(open_clip.create_model(MODEL, pretrained=None, load_weights=False).state_dict(), path)
    judge = ClipSimilarity.load(JudgeOptions(weights=str(tmp_path), device="cpu"))
    assert isinstance(judge, SimilarityJudge)
    assert np.isfinite(judge.similarity(images, TEXTS)).all()
    assert judge.identity["input"] == "short side 224 bicubic, centre crop"
    state = load_file(path)
    save_file({name: value for name, value in state.items() if name != "text_projection"}, path)
    with pytest.raises(DataError, match="text_projection"):
        ClipSimilarity.load(JudgeOptions(weights=str(tmp_path)))
