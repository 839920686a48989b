"""Options of trainers that validate while they train; those of other trainers do not derive from them."""

from __future__ import annotations

from silmm.contracts.options import Options, option


class ValidationOptions(Options):
    """How often and on how much the policy is scored while it is trained, and what follows from it.

    The core holds the prompts back and hands the trainer a :data:`~silmm.contracts.models.Validate`; the
    trainer calls it and decides.
    """

    validate_every: int = option(
        0,
        "steps between validations by the model's own score on prompts that are not trained on; 0 is off. Each "
        "one samples and asks about validation_prompts × validation_images images: with the defaults as much as 6 "
        "prompts of 10 candidates, and one more is for the reference",
        ge=0, unit="steps",
    )
    validation_prompts: int = option(
        32,
        "prompts at the end of the iteration's table that validation takes out of training; at most a quarter of "
        "all. The standard error falls with their square root",
        ge=2, unit="prompts",
    )
    validation_images: int = option(
        2,
        "images of each of these prompts, of seeds that stay the same: samples of a discrete model, decoder "
        "noises of a continuous one",
        ge=1, unit="images",
    )
    patience: int = option(
        0,
        "stop when the best validation is this many validations old; the reference's own counts as the first; 0 "
        "never stops",
        ge=0, unit="validations",
    )
    keep_best: bool = option(
        True,
        "where there is validation, write the weights with the best validation score (of equal ones the later), "
        "which may be the reference's; else the last weights",
    )
