"""A DreamLLM folder at toy size with random weights, written as the original code writes one."""

from __future__ import annotations

import io
import json
from pathlib import Path

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import save_file
from sentencepiece import SentencePieceTrainer
from torch import nn
from transformers import CLIPVisionConfig, CLIPVisionModel, LlamaConfig, LlamaForCausalLM

HIDDEN, QUERIES, CONDITION = 32, 5, 16
CLIP = {
    "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2,
    "num_channels": 3, "image_size": 28, "patch_size": 14, "hidden_act": "quick_gelu", "layer_norm_eps": 1e-5,
}  # fmt: skip
UNET = {
    "sample_size": 8, "in_channels": 4, "out_channels": 4, "block_out_channels": [8, 16],
    "down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D"],
    "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D"], "layers_per_block": 1, "norm_num_groups": 4,
    "cross_attention_dim": CONDITION, "attention_head_dim": [2, 4], "use_linear_projection": True,
}  # fmt: skip
VAE = {
    "sample_size": 16, "in_channels": 3, "out_channels": 3, "latent_channels": 4,
    "block_out_channels": [8, 16], "down_block_types": ["DownEncoderBlock2D"] * 2,
    "up_block_types": ["UpDecoderBlock2D"] * 2,
    "layers_per_block": 1, "norm_num_groups": 4,
}  # fmt: skip
SCHEDULE = {
    "_class_name": "PNDMScheduler", "num_train_timesteps": 1000, "beta_start": 0.00085, "beta_end": 0.012,
    "beta_schedule": "scaled_linear", "steps_offset": 1, "clip_sample": False, "skip_prk_steps": True,
}  # fmt: skip
TOKENS = (
    *("[PAD]", "<im_start>", "<dream_end>", "<dream_start>", "<im_patch>", "<im_end>", "<image>"),
    "<dream>",
)
"""In the order of transformers 4.35.2, which is not that of the original's list."""
SENTENCES = [
    "Yes the red cube is on the left of the blue sphere.", "No there is no cat.", "Is there a cat? yes no",
    "A chat between a curious user and an artificial intelligence assistant. USER: ASSISTANT: Yes No yes no",
]  # fmt: skip


def write(folder: Path, *, shards: int = 2, projector: str = "linear", pickled: bool = False) -> Path:
    """Write the checkpoint folder and, beside it, `companions`; return the checkpoint.

    Args:
        folder: where both go.
        shards: files of the language model.
        projector: linear, or mlp for two linear maps with GELU between them.
        pickled: main weights as pytorch_model.bin.
    """
    checkpoint = folder / "original"
    checkpoint.mkdir(parents=True)
    size = _tokenizer(checkpoint)
    special = {name: size + number for number, name in enumerate(TOKENS)}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        _language_model(checkpoint, size + len(TOKENS), shards, pickled)
        _plugins(checkpoint, projector)
    (checkpoint / "added_tokens.json").write_text(json.dumps(special))
    (checkpoint / "config.json").write_text(json.dumps(_config(size + len(TOKENS), special)))
    companions = {
        "clip-vit-large-patch14/config.json": CLIP,
        "stable-diffusion-2-1-base/unet/config.json": UNET,
        "stable-diffusion-2-1-base/vae/config.json": VAE,
        "stable-diffusion-2-1-base/scheduler/scheduler_config.json": SCHEDULE,
    }
    for name, config in companions.items():
        path = folder / "companions" / name
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(config))
    return checkpoint


def _tokenizer(checkpoint: Path) -> int:
    file = io.BytesIO()
    SentencePieceTrainer.train(
        sentence_iterator=iter(SENTENCES * 20), model_writer=file, model_type="bpe", vocab_size=380,
        byte_fallback=True, remove_extra_whitespaces=False, normalization_rule_name="identity",
        pad_id=-1, minloglevel=2, hard_vocab_limit=False, num_threads=1,
    )  # fmt: skip
    (checkpoint / "tokenizer.model").write_bytes(file.getvalue())
    (checkpoint / "tokenizer_config.json").write_text(json.dumps({"legacy": True}))
    from sentencepiece import SentencePieceProcessor

    size: int = SentencePieceProcessor(model_proto=file.getvalue()).get_piece_size()
    return size


def _config(vocabulary: int, special: dict[str, int]) -> dict[str, object]:
    own = {"<s>": 1, "</s>": 2, "<unk>": 0, "[PAD]": special["[PAD]"]}
    further = {name: token for name, token in special.items() if name != "[PAD]"}
    return {
        **_llama(vocabulary),
        "model_type": "dreamllm",
        "torch_dtype": "float32",
        "special_tokens2ids_dict": {**own, "additional_special_tokens": further},
        "plugins_init_kwargs": {
            "dream_embedding": {"_target_": "no.such.module", "num_dream_queries": QUERIES},
            "clip_vision_embedding": {
                "_target_": "no.such.module", "select_layer": -2,
                "pretrained_model_name_or_path": "path2model",
                "clip_vision_model_name_or_path": "openai/clip-vit-large-patch14",
            },
            "stable_diffusion_head": {
                "_target_": "no.such.module",
                "diffusion_name_or_path": "stabilityai/stable-diffusion-2-1-base",
            },
        },
    }  # fmt: skip


def _llama(vocabulary: int) -> dict[str, object]:
    return {
        "vocab_size": vocabulary, "hidden_size": HIDDEN, "intermediate_size": 48, "num_hidden_layers": 2,
        "num_attention_heads": 2, "num_key_value_heads": 2, "max_position_embeddings": 512,
        "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "bos_token_id": 1, "eos_token_id": 2,
    }  # fmt: skip


def _language_model(checkpoint: Path, vocabulary: int, shards: int, pickled: bool) -> None:
    # loud enough that the words of a prompt matter
    config = LlamaConfig(**_llama(vocabulary), tie_word_embeddings=False, initializer_range=0.25)
    model = LlamaForCausalLM(config)
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    weights["model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.ones(8)
    if pickled:
        torch.save(weights, checkpoint / "pytorch_model.bin")
        return
    names = sorted(weights)
    files = {}
    for number in range(shards):
        file = f"model-{number + 1:05d}-of-{shards:05d}.safetensors"
        part = names[number::shards]
        save_file({name: weights[name] for name in part}, checkpoint / file, {"format": "pt"})
        files |= dict.fromkeys(part, file)
    index = {"metadata": {}, "weight_map": files}
    (checkpoint / "model.safetensors.index.json").write_text(json.dumps(index))


def _plugins(checkpoint: Path, projector: str) -> None:
    torch.save({"dream_queries": torch.randn(1, QUERIES, HIDDEN)}, checkpoint / "dream_embedding.bin")
    tower = CLIPVisionModel(CLIPVisionConfig(**CLIP)).state_dict()
    inside = {name.removeprefix("vision_model."): tensor for name, tensor in tower.items()}
    tensors = {f"clip_vision_model.vision_model.{name}": tensor for name, tensor in inside.items()}
    torch.save(
        tensors | _projector(CLIP["hidden_size"], HIDDEN, projector, bias=True),
        checkpoint / "clip_vision_embedding.bin",
    )
    unet, vae = UNet2DConditionModel.from_config(UNET), AutoencoderKL.from_config(VAE)
    head = {f"unet.{name}": tensor for name, tensor in unet.state_dict().items()}
    head |= {f"vae.{name}": tensor for name, tensor in vae.state_dict().items()}
    torch.save(
        head | _projector(HIDDEN, CONDITION, projector, bias=False), checkpoint / "stable_diffusion_head.bin"
    )


def _projector(width_in: int, wanted: int, kind: str, *, bias: bool) -> dict[str, torch.Tensor]:
    first = nn.Linear(width_in, wanted, bias)
    network = first if kind == "linear" else nn.Sequential(first, nn.GELU(), nn.Linear(wanted, wanted, bias))
    return {f"projector.projector.{name}": tensor for name, tensor in network.state_dict().items()}
