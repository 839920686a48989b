"""Masks as COCO's run-length encoding."""

import numpy as np
import pytest
from silmm_benchmarks.judges.run_length import decode_mask, encode_mask

from silmm.errors import DataError


@pytest.mark.parametrize(
    ("mask", "text"),
    [([[0, 1], [0, 1]], "22"), ([[0, 0], [0, 0]], "4"), ([[1, 1], [1, 1]], "04"), ([[1, 0], [0, 1]], "0120")],
)
def test_small_masks_have_the_text_of_the_format(mask, text):
    """Runs go down the columns and begin with background; from the fourth on a difference to the one before last."""
    assert encode_mask(np.array(mask, dtype=bool)) == text


@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (7, 1), (480, 640)])
@pytest.mark.parametrize("share", [0, 0.02, 0.5, 1])
def test_every_mask_comes_back(shape, share):
    """Decoding what was encoded gives the mask."""
    mask = np.random.default_rng(0).random(shape) < share
    assert (decode_mask(encode_mask(mask), *shape) == mask).all()


@pytest.mark.parametrize("text", ["", "5", "2", "\n4", "O", "3N5", "~"])
def test_another_text_is_refused(text):
    """A text that is cut off, foreign or of another size is an error, not another mask."""
    with pytest.raises(DataError, match="2 x 2 pixels"):
        decode_mask(text, 2, 2)
