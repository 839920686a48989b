"""Runs the original mPLUG of the package `modelscope`, if its source is here, with the shims that it needs.

SILMM_MODELSCOPE names the folder that holds the package (`pip install --no-deps --target DIR
modelscope==1.40.2`); otherwise an installed one is taken. Only mPLUG's own modules are imported: the
package's initialisation needs much else that mPLUG does not.
"""

import importlib
import importlib.util
import os
import sys
import types
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

PACKAGES = ("modelscope", "modelscope.utils", "modelscope.models", "modelscope.models.multi_modal")
MODELLING = "modelscope.models.multi_modal.mplug.modeling_mplug"
VIDEO = "modelscope.models.multi_modal.mplug.mvit"
"""The tower of a video model beside mPLUG, which needs timm; mPLUG never builds it."""


def root() -> Path | None:
    """Return the folder that holds the package, or None."""
    named = os.environ.get("SILMM_MODELSCOPE")
    if named:
        return Path(named) if (Path(named) / "modelscope").is_dir() else None
    spec = importlib.util.find_spec("modelscope")
    return Path(spec.origin).parent.parent if spec and spec.origin else None


@contextmanager
def original(folder: Path) -> Iterator[Any]:
    """Import the original's module, shimmed; afterwards nothing of it stays imported."""
    before = set(sys.modules)
    for name in PACKAGES:
        package = types.ModuleType(name)
        package.__path__ = [str(folder / name.replace(".", "/"))]
        sys.modules[name] = package
    video = types.ModuleType(VIDEO)
    video.MViTv2 = video.MViTv2_Base_config = None
    sys.modules[VIDEO] = video
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of code that is not ours
            module = importlib.import_module(MODELLING)
        _shim(module)
        yield module
    finally:
        for name in set(sys.modules) - before:
            if name.partition(".")[0] == "modelscope":
                del sys.modules[name]


def _shim(module: Any) -> None:
    """Give back to its base class what transformers 5 no longer has (docs/spec/benchmarks.md 4.2)."""
    base = module.BertPreTrainedModel
    base.init_weights = lambda self: None
    base.get_head_mask = lambda self, mask, layers: [None] * layers
    base.invert_attention_mask = lambda self, mask: (
        (1.0 - mask[:, None, None, :].to(self.dtype)) * torch.finfo(self.dtype).min
    )
    module.MPlug._initialize_clip = staticmethod(_image_tower)


def _image_tower(config: Any, num_patches: int = 0) -> Any:
    """Make CLIP with position embeddings of the image's grid and any width, which the original fixes."""
    from modelscope.models.multi_modal.mplug.clip import clip

    tower = clip.load_from_config(config)
    paths = (config.image_res // config.clip_vision_patch_size) ** 2 + 1
    tower.visual.transformer.use_grad_ckp = False  # saves memory in training; warns
    tower.visual.positional_embedding = torch.nn.Parameter(torch.zeros(paths, config.clip_vision_width))
    return tower


def ask(
    model: Any, pixels: torch.Tensor, tokens: torch.Tensor, mask: torch.Tensor
) -> tuple[Any, torch.Tensor]:
    """Ask one question as the original does; return its (sequences, scores) and its first-step logits."""
    calls: dict[str, Any] = {}
    generate = type(model).generation

    def generation(states: torch.Tensor, atts: torch.Tensor) -> Any:
        calls["logits"] = model.text_decoder(
            torch.tensor([[101]]), encoder_hidden_states=states, encoder_attention_mask=atts, return_dict=True
        ).logits[0, 0]
        return generate(model, states, atts, out_size=model.config.beam_size)

    model.generation = generation
    question = types.SimpleNamespace(input_ids=tokens, attention_mask=mask)
    with torch.no_grad():
        actual = model(pixels, question, train=False)
    return actual, calls["logits"]
