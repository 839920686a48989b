"""Options of trainers that validate while they train (registered with ``accepts=["validate"]``)."""

from __future__ import annotations

from pydantic import Field

from silmm.contracts.options import Options


class ValidationOptions(Options):
    """How often and on how much the policy is scored while it is trained, and what follows from it.

    The core holds the prompts back and hands the trainer a :data:`~silmm.contracts.models.Validate`; the
    trainer calls it and decides.
    """

    validate_every: int = Field(
        default=0,
        ge=0,
        description="steps between validations by the model's own score on prompts that are not trained on; "
        "0 is off. Each one samples and asks about validation_prompts × validation_images images: with "
        "the defaults as much as 6 prompts of 10 candidates, and one more is for the reference",
        json_schema_extra={"paper": "ours", "unit": "steps"},
    )
    validation_prompts: int = Field(
        default=32,
        ge=2,
        description="prompts at the end of the iteration's table that validation takes out of training; "
        "at most a quarter of all. The standard error falls with their square root",
        json_schema_extra={"paper": "ours", "unit": "prompts"},
    )
    validation_images: int = Field(
        default=2,
        ge=1,
        description="images of each of these prompts, of seeds that stay the same: samples of a discrete "
        "model, decoder noises of a continuous one",
        json_schema_extra={"paper": "ours", "unit": "images"},
    )
    patience: int = Field(
        default=0,
        ge=0,
        description="stop when the best validation is this many validations old; the reference's own "
        "counts as the first; 0 never stops",
        json_schema_extra={"paper": "ours", "unit": "validations"},
    )
    keep_best: bool = Field(
        default=True,
        description="where there is validation, write the weights with the best validation score (of equal "
        "ones the later), which may be the reference's; else the last weights",
        json_schema_extra={"paper": "ours", "unit": ""},
    )
