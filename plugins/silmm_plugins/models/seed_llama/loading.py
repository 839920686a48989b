"""Loading: from the options of `seed-llama` to the model, each part from its own file."""

from __future__ import annotations

from pathlib import Path

from silmm_plugins.models._shared.devices import check_devices
from silmm_plugins.models.seed_llama.image_weights import load_image_tokenizer
from silmm_plugins.models.seed_llama.language_model import load_language_model
from silmm_plugins.models.seed_llama.locate import find, read_json
from silmm_plugins.models.seed_llama.model import SeedLlama
from silmm_plugins.models.seed_llama.options import SeedLlamaOptions
from silmm_plugins.models.seed_llama.templates import TEMPLATES, template_of
from silmm_plugins.models.seed_llama.text import TextTokenizer


def load(options: SeedLlamaOptions) -> SeedLlama:
    """Load the parts that the options name; the decoder waits for the first image.

    Raises:
        UsageError: no path, or a device that is not there.
        DataError: a part is missing, damaged or of another model.
    """
    check_devices("seed-llama", options.device)
    folders = find(options)
    text = TextTokenizer.load(folders.tokenizer)
    heads = read_json(folders.language_model / "config.json").get("num_attention_heads")
    guess = heads if isinstance(heads, int) and heads > 0 else 1
    images, unused = load_image_tokenizer(folders.tokenizer, folders.vit, options.vit_heads, guess)
    backbone = load_language_model(folders.language_model, options.dtype)
    if options.template == "auto":
        given = Path(options.path).expanduser().absolute()  # of a hub id, too, the last part is the name
        name = f"{given.name} {folders.language_model.name}"
        template = template_of(name, backbone.config.hidden_size)
    else:
        template = TEMPLATES[options.template]
    return SeedLlama(backbone, images, text, template, folders, options, unused)
