"""Promises of the seeded dropout: each row has its own masks, at the chosen place, and no trace is left."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from silmm_plugins.models._shared.mlp_dropout import (
    MlpDropoutOptions,
    chosen_layers,
    drop_masks,
    mlp_dropout,
)

from silmm.errors import PluginError, UsageError
from tests.toy.tiny_continuous_random import HIDDEN, LAYERS, MLP, PROMPTS, QUERIES, TinyContinuousRandom


@pytest.fixture(scope="module")
def model() -> TinyContinuousRandom:
    return TinyContinuousRandom()


def sample(model, prompts, seeds, **options):
    with torch.no_grad(), mlp_dropout(model, seeds, MlpDropoutOptions(**options), QUERIES):
        return model.features(prompts)


@pytest.mark.parametrize("site", ["mlp_out", "mlp_inner"])
@pytest.mark.parametrize("positions", ["queries", "all"])
def test_a_row_does_not_depend_on_company_or_padding(model, site, positions):
    """Alone or among longer prompts in any order, a prompt and a seed give one H (promise 4)."""
    options = {"site": site, "positions": positions, "layers": "all"}
    together = sample(model, PROMPTS, [5, 6, 7, 8], **options)
    backwards = sample(model, PROMPTS[::-1], [8, 7, 6, 5], **options).flip(0)
    for row, (prompt, seed) in enumerate(zip(PROMPTS, [5, 6, 7, 8], strict=True)):
        alone = sample(model, [prompt], [seed], **options)[0]
        torch.testing.assert_close(alone, together[row], atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(alone, backwards[row], atol=1e-4, rtol=1e-4)


def test_seeds_differ_and_rate_0_is_the_plain_model(model):
    """Other seeds give other H; rate 0 gives the model's own H bit for bit."""
    rows = sample(model, [PROMPTS[0]] * 3, [1, 2, 1])
    torch.testing.assert_close(rows[0], rows[2], atol=1e-4, rtol=1e-4)
    assert (rows[0] - rows[1]).abs().max() > 1e-2
    assert torch.equal(sample(model, PROMPTS, [1, 2, 3, 4], rate=0.0), model.features(PROMPTS))


def test_dropout_is_by_the_rate_and_keeps_the_mean():
    """A share `rate` of the values is dropped, layers and seeds apart from each other."""
    for rate in (0.1, 0.3, 0.5):
        assert drop_masks(range(64), 0, rate, 16, 64).mean() == pytest.approx(rate, abs=0.01)
    first, other_layer = (drop_masks([9], layer, 0.5, 16, 64) for layer in (0, 1))
    other_seed = drop_masks([10], 0, 0.5, 16, 64)
    for second in (other_layer, other_seed):
        assert (first == second).mean() == pytest.approx(0.5, abs=0.08)


def test_masks_are_counted_from_the_end():
    """More positions add masks at the front and leave those behind as they are."""
    short, long = drop_masks([3], 2, 0.4, 5, 7), drop_masks([3], 2, 0.4, 11, 7)
    assert np.array_equal(short, long[:, -5:])


@pytest.mark.parametrize(
    ("layers", "expected"),
    [("last:1", {3}), ("last:3", {1, 2, 3}), ("first-half", {0, 1}), ("second-half", {2, 3}),
     ("all", {0, 1, 2, 3})],
)
@pytest.mark.parametrize("site", ["mlp_out", "mlp_inner"])
def test_it_is_where_the_options_say(model, layers, expected, site):
    """Of the chosen layers and the queries' positions alone, values are 0 or divided by 1 - rate."""
    calls: dict[tuple[int, str], torch.Tensor] = {}
    handles = []
    with torch.no_grad(), mlp_dropout(
        model, [4, 5], MlpDropoutOptions(layers=layers, site=site, rate=0.25), QUERIES
    ):
        for number, block in enumerate(model.mlp_blocks()):  # these hooks come after those of the dropout
            handles += [
                block.register_forward_hook(
                    lambda _, __, out, number=number: calls.update({(number, "mlp_out"): out})
                ),
                block.down_proj.register_forward_pre_hook(
                    lambda _, arguments, number=number: calls.update({(number, "mlp_inner"): arguments[0]})
                ),
            ]
        model.features(PROMPTS[:1] * 2)
    for handle in handles:
        handle.remove()
    width = {"mlp_out": HIDDEN, "mlp_inner": MLP}[site]
    for number in range(LAYERS):
        zero = calls[number, site] == 0
        assert not zero[:, :-QUERIES].any()
        if number in expected:
            masks = drop_masks([4, 5], number, 0.25, QUERIES, width)
            assert np.array_equal(zero[:, -QUERIES:].numpy(), masks)
        else:
            assert not zero.any()


def test_kept_values_are_divided(model):
    """Inverted dropout: what is kept is the block's own output divided by 1 - rate."""
    block = model.mlp_blocks()[-1]
    values = torch.ones(2, 6, HIDDEN)
    plain = block(values)
    with mlp_dropout(model, [1, 2], MlpDropoutOptions(layers="last:1", rate=0.2), QUERIES):
        dropped = block(values)
    kept = dropped[:, -QUERIES:] != 0
    torch.testing.assert_close(dropped[:, -QUERIES:][kept], plain[:, -QUERIES:][kept] / 0.8)
    assert torch.equal(dropped[:, :-QUERIES], plain[:, :-QUERIES])


def test_positions_all_reaches_the_prompt_too(model):
    """`positions=all` drops at every position, with the queries' masks unchanged."""
    block, values = model.mlp_blocks()[-1], torch.ones(1, 9, HIDDEN)
    actual = {}
    for positions in ("queries", "all"):
        options = MlpDropoutOptions(layers="last:1", positions=positions, rate=0.5)
        with mlp_dropout(model, [1], options, QUERIES):
            actual[positions] = block(values) == 0
    assert actual["all"][:, :-QUERIES].any()
    assert torch.equal(actual["all"][:, -QUERIES:], actual["queries"][:, -QUERIES:])


@pytest.mark.parametrize("positions", ["queries", "all"])
def test_one_mask_a_candidate_drops_the_same_channels_everywhere(model, positions):
    """`mask=candidate`: all positions of a row lose the same channels, other rows lose others."""
    block, values = model.mlp_blocks()[-1], torch.ones(2, 9, HIDDEN)
    options = MlpDropoutOptions(layers="last:1", positions=positions, rate=0.5, mask="candidate")
    with mlp_dropout(model, [1, 2], options, QUERIES):
        dropped = block(values) == 0
    touched = dropped if positions == "all" else dropped[:, -QUERIES:]
    assert 0.2 < touched.float().mean() < 0.8
    assert torch.equal(touched, touched[:, :1].expand_as(touched))
    assert not torch.equal(touched[0], touched[1])
    assert positions == "all" or not dropped[:, :-QUERIES].any()


def test_gradients_pass_and_autocast_works(model):
    """A dropped forward pass is differentiable, and under bfloat16 autocast it stays near float32."""
    weight = model.mlp_blocks()[0].up_proj.weight
    weight.requires_grad_(True)
    try:
        options = MlpDropoutOptions(layers="all")
        with mlp_dropout(model, [1], options, QUERIES):
            exact = model.features(PROMPTS[:1])
            (gradient,) = torch.autograd.grad(exact.square().sum(), weight)
            with torch.autocast("cpu", torch.bfloat16):
                rough = model.features(PROMPTS[:1])
    finally:
        weight.requires_grad_(False)
    assert gradient.abs().sum() > 0
    assert torch.nn.functional.cosine_similarity(exact.flatten(), rough.flatten().float(), 0) > 0.95


def test_no_hook_is_left_behind(model):
    """After the body, and after an error in it, the model is as it was."""
    plain = model.features(PROMPTS)
    with pytest.raises(RuntimeError, match="in the body"), mlp_dropout(
        model, [1] * 4, MlpDropoutOptions(layers="all"), QUERIES
    ):
        raise RuntimeError("in the body")
    assert torch.equal(model.features(PROMPTS), plain)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.lm.modules())


def test_what_cannot_work_is_an_error(model):
    """Too many layers, an unknown choice and a batch of other rows are reported, not guessed at."""
    with pytest.raises(UsageError, match="4 MLP blocks"), mlp_dropout(
        model, [1], MlpDropoutOptions(layers="last:5"), QUERIES
    ):
        pass
    with pytest.raises(ValidationError, match="first-half"):
        MlpDropoutOptions(layers="last:0")
    with pytest.raises(UsageError, match="second-half"):
        chosen_layers("middle", 4)
    with pytest.raises(PluginError, match="1 seeds met values of shape"):
        sample(model, PROMPTS, [1])
