"""Facts of a Janus checkpoint for `silmm probe`: ids, templates, sizes, and contradictions."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from silmm_plugins.models.janus.checkpoint import Checkpoint


def facts(checkpoint: Checkpoint) -> dict[str, Any]:
    """Return JSON-able facts; `problems` are to be solved before a run."""
    words, config = checkpoint.prompts, checkpoint.network.config
    ids = {role: getattr(words, role) for role in ("bos", "eos", "pad", "image", "start", "end")}
    tower, tokenizer, text = config.vision_config, config.vq_config, config.text_config
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
        "yes ids": {words.spelled([token]): token for token in words.yes},
        "no ids": {words.spelled([token]): token for token in words.no},
        "sampling template": words.spelled(words.sampling("PROMPT")),
        "question template": words.spelled([*words.before_image(), *words.question("QUESTION")]),
        "language model": {
            "hidden": text.hidden_size, "layers": text.num_hidden_layers, "heads": text.num_attention_heads,
            "vocabulary": text.vocab_size, "positions": text.max_position_embeddings,
            "untied output matrix": not config.tie_word_embeddings,
        },
        "vision tower": {
            "width": tower.hidden_size, "layers": tower.num_hidden_layers, "heads": tower.num_attention_heads,
            "pixels": tower.image_size, "tokens per image": tower.num_image_tokens,
        },
        "image tokenizer": {
            "codes": tokenizer.num_embeddings, "codes per image": tokenizer.num_patches**2,
            "channels": [tokenizer.base_channels * factor for factor in tokenizer.channel_multiplier],
        },
        "preprocessing": asdict(checkpoint.processor),
        "unused tensors": list(checkpoint.unused),
        "problems": problems,
    }  # fmt: skip
