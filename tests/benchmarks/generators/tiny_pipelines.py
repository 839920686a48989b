"""Random pipelines of the real diffusers classes, small enough for a CPU, saved as users have them."""

from __future__ import annotations

import json
from pathlib import Path

import diffusers
import torch
from transformers import (
    CLIPConfig,
    CLIPImageProcessor,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    CLIPVisionConfig,
    T5Config,
    T5EncoderModel,
    T5Tokenizer,
)

ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789,.'"
BODY = {"attention_head_dim": 4, "norm_num_groups": 4, "layers_per_block": 1}


def vae() -> diffusers.AutoencoderKL:
    return diffusers.AutoencoderKL(
        block_out_channels=(8, 8), norm_num_groups=4, latent_channels=4,
        down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2,
    )


def clip_tokenizer(folder: Path) -> CLIPTokenizer:
    words = ["<|startoftext|>", "<|endoftext|>", *ALPHABET, *(f"{letter}</w>" for letter in ALPHABET)]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps({word: index for index, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    return CLIPTokenizer.from_pretrained(folder, model_max_length=77)


def clip_text(**changes) -> CLIPTextConfig:
    return CLIPTextConfig(
        vocab_size=2 + 2 * len(ALPHABET), hidden_size=8, intermediate_size=16, num_hidden_layers=1,
        num_attention_heads=2, bos_token_id=0, eos_token_id=1, pad_token_id=1, **changes,
    )


def unet(**changes) -> diffusers.UNet2DConditionModel:
    return diffusers.UNet2DConditionModel(**{
        **BODY, "sample_size": 16, "block_out_channels": (8, 16), "cross_attention_dim": 8,
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"), **changes,
    })


def ddim() -> diffusers.DDIMScheduler:
    return diffusers.DDIMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False,
        set_alpha_to_one=False, steps_offset=1,
    )


def checker() -> diffusers.pipelines.stable_diffusion.safety_checker.StableDiffusionSafetyChecker:
    from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker

    vision = CLIPVisionConfig(
        hidden_size=8, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=16,
        patch_size=8,
    )
    config = CLIPConfig(
        text_config=clip_text().to_dict(), vision_config=vision.to_dict(), projection_dim=8
    )
    return StableDiffusionSafetyChecker(config)


def stable_diffusion(folder: Path, *, offended: bool = False) -> Path:
    """SD-1.5's classes, with a safety checker that finds nothing or (`offended`) everything."""
    torch.manual_seed(0)
    guard = checker()
    guard.concept_embeds_weights.fill_(-1.0 if offended else 2.0)
    guard.special_care_embeds_weights.fill_(2.0)
    pipeline = diffusers.StableDiffusionPipeline(
        vae=vae(), text_encoder=CLIPTextModel(clip_text()), tokenizer=clip_tokenizer(folder / "words"),
        unet=unet(), scheduler=ddim(), safety_checker=guard,
        feature_extractor=CLIPImageProcessor(size={"shortest_edge": 16}, crop_size=16),
    )
    pipeline.save_pretrained(folder / "sd")
    return folder / "sd"


def stable_diffusion_xl(folder: Path) -> Path:
    torch.manual_seed(0)
    tokenizer = clip_tokenizer(folder / "words")
    pipeline = diffusers.StableDiffusionXLPipeline(
        vae=vae(), text_encoder=CLIPTextModel(clip_text()),
        text_encoder_2=CLIPTextModelWithProjection(clip_text(projection_dim=8)),
        tokenizer=tokenizer, tokenizer_2=tokenizer, scheduler=diffusers.EulerDiscreteScheduler(),
        unet=unet(
            cross_attention_dim=16, addition_embed_type="text_time", addition_time_embed_dim=4,
            projection_class_embeddings_input_dim=8 + 6 * 4,
        ),
    )
    pipeline.save_pretrained(folder / "sdxl")
    return folder / "sdxl"


def pixart(folder: Path) -> Path:
    torch.manual_seed(0)
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0), *((letter, -3.0) for letter in ALPHABET)]
    pipeline = diffusers.PixArtAlphaPipeline(
        vae=vae(),
        text_encoder=T5EncoderModel(T5Config(
            vocab_size=len(pieces), d_model=8, d_kv=4, d_ff=16, num_layers=1, num_heads=2, pad_token_id=0,
        )),
        tokenizer=T5Tokenizer(vocab=pieces, extra_ids=0),
        transformer=diffusers.PixArtTransformer2DModel(
            num_attention_heads=2, attention_head_dim=4, in_channels=4, out_channels=8, num_layers=1,
            cross_attention_dim=8, sample_size=16, patch_size=2, caption_channels=8,
            use_additional_conditions=False,
        ),
        scheduler=diffusers.DPMSolverMultistepScheduler(),
    )
    pipeline.save_pretrained(folder / "pixart")
    return folder / "pixart"
