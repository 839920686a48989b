"""The comparison with TRL on Emu3's images compares like with like."""

from __future__ import annotations

import copy

import pytest

from benchmarks.perf import dpo_steps, trl_emu3
from benchmarks.perf.emu3_random import RandomEmu3, Sizes

pytest.importorskip("trl", reason="TRL is not installed")
pytest.importorskip("datasets", reason="datasets is not installed")
# TRL and transformers warn of their own coming changes; they are not ours to mend
pytestmark = pytest.mark.filterwarnings("ignore")
SMALL = Sizes(hidden=16, layers=1, heads=2, kv_heads=1, mlp=16, texts=200, codes=24, side=3)


@pytest.fixture
def model():
    """Emu3 at its smallest, with an adapter."""
    made = RandomEmu3(SMALL)
    made.base = copy.deepcopy(made.backbone)
    dpo_steps.attach_adapter(made)
    return made


def test_both_ways_are_one_step(model, tmp_path):
    """TRL's gradients on the same pairs are ours, or the comparison would refuse."""
    trainer = trl_emu3.trl_trainer(model, model.base, str(tmp_path))
    row = trl_emu3.compare(model, trainer, k=2, repeats=1)
    assert row.items == len(trl_emu3.PROMPTS) * 4
    assert len(row.seconds) == 4


def test_another_step_is_refused(model, tmp_path):
    """With ends of rows counted, as TRL would by itself, the gradients are others."""
    trainer = trl_emu3.trl_trainer(model, model.base, str(tmp_path))
    own = trainer.data_collator

    def with_ends_of_rows(rows):
        batch = own(rows)
        batch["completion_mask"] = batch["completion_mask"] | (batch["input_ids"] == model.tokens.eol).long()
        return batch

    trainer.data_collator = with_ends_of_rows
    with pytest.raises(RuntimeError, match="cannot be compared"):
        trl_emu3.compare(model, trainer, k=1, repeats=1)


def test_the_timed_sizes_have_emu3s_structure():
    """Thousands of codes behind text, hundreds of them an image, and single pairs among the cases."""
    sizes = trl_emu3.SIZES
    assert sizes.codes >= 4096
    assert sizes.side**2 >= 256
    assert sizes.heads // sizes.kv_heads == 4
    assert 1 in trl_emu3.CASES
