"""How DreamLLM sees: CLIP's image tower, one layer before its last, and the visual projector."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import CLIPVisionConfig, CLIPVisionModel

from silmm.checkpoint.networks import empty_network, fill, refuse_unknown
from silmm.checkpoint.weight_files import read_pickle
from silmm.contracts.models import Image
from silmm.errors import DataError
from silmm_plugins.models.dreamllm.checkpoint import VISION, plugin
from silmm_plugins.models.dreamllm.companions import REMEDY
from silmm_plugins.models.dreamllm.projector import projector

try:
    from transformers import CLIPImageProcessorPil as _Processor
except ImportError:  # before transformers 5 the name without a suffix is the one that works with PIL
    from transformers import CLIPImageProcessor as _Processor

_TOWER = "clip_vision_model."
_KEYS = (
    *("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_channels"),
    *("image_size", "patch_size", "hidden_act", "layer_norm_eps"),
)


class DreamImageEncoder:
    """Images of any size in, one vector a patch in the language model's space out."""

    def __init__(self, tower: nn.Module, visual_projector: nn.Module, layer: int) -> None:
        """Wrap the networks; `layer` counts CLIP's hidden states, -2 is before the last layer."""
        self.tower = tower
        self.projector = visual_projector
        self.layer = layer
        config: Any = tower.config
        self.tokens: int = (config.image_size // config.patch_size) ** 2
        """Vectors of an image."""
        side = int(config.image_size)
        self._processor = _Processor(
            size={"shortest_edge": side}, crop_size={"height": side, "width": side}
        )

    @classmethod
    def load(
        cls,
        folder: Path,
        config: Mapping[str, Any],
        clip: Mapping[str, Any],
        dtype: torch.dtype,
    ) -> DreamImageEncoder:
        """Load `clip_vision_embedding.bin` into main memory (docs/spec/base-models.md 1.2, 1.5).

        Raises:
            DataError: the file does not fit, or its variant is not known.
        """
        path, arguments = folder / f"{VISION}.bin", plugin(config, VISION)
        if arguments.get("use_additional_post_layernorm"):
            raise DataError(
                f"{folder / 'config.json'}: use_additional_post_layernorm of {VISION} is on; no released "
                "checkpoint has it, and dreamllm cannot load it"
            )
        weights = read_pickle(path)
        options = CLIPVisionConfig(**{key: clip[key] for key in _KEYS if key in clip})
        tower = empty_network(lambda: CLIPVisionModel(options))
        names = set(tower.state_dict())
        inside = "" if "pre_layrnorm.weight" in names else "vision_model."  # dropped by transformers 5
        own = {
            inside + name.removeprefix(_TOWER).removeprefix("vision_model."): tensor
            for name, tensor in weights.items()
            if name.startswith(_TOWER)
        }
        own.pop(f"{inside}embeddings.position_ids", None)  # a buffer that old versions wrote
        refuse_unknown(path, "CLIPVisionModel", fill(tower, own, path, dtype=dtype, remedy=REMEDY), REMEDY)
        return cls(tower, projector(weights, path, dtype), int(arguments.get("select_layer", -2)))

    def to(self, device: torch.device) -> None:
        """Move the weights."""
        self.tower.to(device)
        self.projector.to(device)

    def pixels(self, images: Sequence[Image]) -> Tensor:
        """Return what CLIP sees, float32 (N, 3, side, side): shorter edge scaled, middle cut out."""
        done = self._processor(
            list(images), input_data_format="channels_last", return_tensors="np"
        ).pixel_values
        return torch.from_numpy(np.asarray(done, dtype=np.float32))

    def vectors(self, pixels: Tensor) -> Tensor:
        """Return (N, tokens, hidden) vectors of images, without the class position."""
        weight = next(self.tower.parameters())
        out = self.tower(pixels.to(weight.device, weight.dtype), output_hidden_states=True)
        projected: Tensor = self.projector(out.hidden_states[self.layer][:, 1:])
        return projected
