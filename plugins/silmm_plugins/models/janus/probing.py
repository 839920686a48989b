"""What `silmm probe` tells of a Janus checkpoint: ids, templates, sizes, and what does not fit together."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from silmm_plugins.models.janus.checkpoint import Checkpoint


def facts(checkpoint: Checkpoint) -> dict[str, Any]:
    """Return JSON-able facts; `problems` holds what a user has to look at before a run."""
    words, config = checkpoint.prompts, checkpoint.network.config
    ids = {role: getattr(words, role) for role in ("bos", "eos", "pad", "image", "start", "end")}
    tower, coder, text = config.vision_config, config.vq_config, config.text_config
    problems = []
    if checkpoint.layout == "janus" and config.image_token_id != words.image:
        problems.append(
            f"config.json gives image_token_id {config.image_token_id}, the tokenizer {words.image}: one of "
            "the two files is of another release"
        )
    if tower.num_image_tokens * (tower.patch_size**2) != tower.image_size**2:
        problems.append(
            f"{tower.num_image_tokens} image tokens do not tile {tower.image_size} pixels in patches of "
            f"{tower.patch_size}"
        )
    return {
        "layout": checkpoint.layout,
        "token ids": ids,
        "yes ids": {words.spelled([one]): one for one in words.yes},
        "no ids": {words.spelled([one]): one for one in words.no},
        "template of a sampling": words.spelled(words.sampling("PROMPT")),
        "template of a question": words.spelled([*words.before_image(), *words.question("QUESTION")]),
        "language model": {
            "hidden": text.hidden_size, "layers": text.num_hidden_layers, "heads": text.num_attention_heads,
            "vocabulary": text.vocab_size, "positions": text.max_position_embeddings,
            "output matrix of its own": not config.tie_word_embeddings,
        },
        "vision tower": {
            "width": tower.hidden_size, "layers": tower.num_hidden_layers, "heads": tower.num_attention_heads,
            "pixels": tower.image_size, "tokens of an image": tower.num_image_tokens,
        },
        "image tokenizer": {
            "codes": coder.num_embeddings, "codes of an image": coder.num_patches**2,
            "channels": [coder.base_channels * factor for factor in coder.channel_multiplier],
        },
        "preprocessing": asdict(checkpoint.processor),
        "unused tensors": list(checkpoint.unused),
        "problems": problems,
    }  # fmt: skip
