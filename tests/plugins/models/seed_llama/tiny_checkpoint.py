"""A SEED-LLaMA of the real classes with random weights, written to a folder as the releases lie there."""

from __future__ import annotations

import json
from pathlib import Path

import diffusers
import sentencepiece
import torch
from diffusers.pipelines.stable_diffusion import StableUnCLIPImageNormalizer
from silmm_plugins.models.seed_llama.image_tokenizer import SeedImageTokenizer
from silmm_plugins.models.seed_llama.model import SeedLlama
from silmm_plugins.models.seed_llama.options import SeedLlamaOptions
from silmm_plugins.models.seed_llama.sizes import Sizes, VisionSizes
from transformers import (
    CLIPImageProcessor,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTokenizer,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
    LlamaConfig,
    LlamaForCausalLM,
)

CODES, EMBEDDING, HEADS = 24, 16, 4
LLM, TOKENIZER, UNCLIP = "seed-llama-8b-sft", "seed-tokenizer-2", "stable-diffusion-2-1-unclip"
PROMPTS = ["a red cube", "two small dogs on the left of a wooden chair", "a cat"]
QUESTIONS = [["is there a cube?", "is the cube red?"], ["are there two dogs?"], []]
TEXT = [
    "USER: Please generate an image of a cat.", "ASSISTANT: Here is an image.", "yes Yes no No",
    "is there a red cube? yes no Yes No", "two small dogs on the left of a wooden chair", "are there dogs?",
    "Question: what is it? Answer: yes Yes no No", "[INST] name the things in the text [/INST]",
] * 4  # fmt: skip
ALPHABET = "abcdefghijklmnopqrstuvwxyz"
SIZES = Sizes(
    vision=VisionSizes(width=16, depth=2, heads=HEADS, hidden=20, patch=4, grid=2), length=32, width=24,
    hidden=32, heads=12, layers={0: True, 1: False}, codes=CODES, code=6, blocks=2, block_hidden=32,
    down=(12, 8, 4), embedding=EMBEDDING,
)  # fmt: skip


def write(root: Path) -> Path:
    """Write all parts below `root`."""
    torch.manual_seed(0)
    text = write_text_tokenizer(root / TOKENIZER)
    write_image_tokenizer(root / TOKENIZER)
    write_language_model(root / LLM, text + CODES + 2)
    write_unclip(root / UNCLIP)
    return root


def read(root: Path, **changes: object) -> SeedLlama:
    """Load the checkpoint in `root`."""
    return SeedLlama.load(SeedLlamaOptions(path=str(root), device="cpu", steps=2, **changes))


def write_text_tokenizer(folder: Path) -> int:
    """Write tokenizer.model and added_tokens.json; return the number of sentencepiece's own pieces."""
    folder.mkdir(parents=True)
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXT), model_prefix=str(folder / "tokenizer"), vocab_size=400,
        model_type="bpe", byte_fallback=True, remove_extra_whitespaces=False, add_dummy_prefix=True,
        normalization_rule_name="identity", hard_vocab_limit=False, minloglevel=2, num_threads=1,
        user_defined_symbols=["▁Yes", "▁yes", "▁No", "▁no"],
    )
    (folder / "tokenizer.vocab").unlink()
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(folder / "tokenizer.model"))
    size = pieces.get_piece_size()
    added = {f"<img_{code:05d}>": size + code for code in range(CODES)}
    added |= {"<img>": size + CODES, "</img>": size + CODES + 1}
    (folder / "added_tokens.json").write_text(json.dumps(added))
    return size


def write_image_tokenizer(folder: Path) -> None:
    """Write seed_quantizer.pt, with parts that only training used."""
    network = SeedImageTokenizer(SIZES)
    weights = {
        name: torch.randn_like(value) * 0.5 if value.ndim > 1 else value.clone()
        for name, value in network.state_dict().items()
    }
    network.load_state_dict(weights)
    pixels = torch.randn(CODES, 3, network.visual_encoder.side, network.visual_encoder.side)
    with torch.no_grad():  # rows that images come near to, so that they do not all get one code
        read_of = network.read(network.image_states(pixels))
    weights["quantize.embedding.weight"] = read_of[torch.arange(CODES), torch.arange(CODES)].clone()
    weights["pos_embed"] = torch.zeros(1, 32, SIZES.width)
    weights["Qformer.bert.embeddings.position_ids"] = torch.arange(8)[None]
    torch.save(weights, folder / "seed_quantizer.pt")


def write_language_model(folder: Path, tokens: int, **changes: int) -> None:
    """Write a Llama in safetensors; control tokens and bytes are no first choices, so it writes words."""
    config = LlamaConfig(**{
        "vocab_size": tokens, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
        "num_attention_heads": 4, "max_position_embeddings": 256, "initializer_range": 0.2, **changes,
    })
    network = LlamaForCausalLM(config)
    with torch.no_grad():
        network.lm_head.weight[:3] = 0  # unknown, <s>, </s>; the four answers follow, then the bytes
        network.lm_head.weight[7 : 7 + 256] = 0
    network.save_pretrained(folder, max_shard_size="60KB")


def write_unclip(
    folder: Path, scheduler: diffusers.SchedulerMixin | None = None, embedding: int = EMBEDDING
) -> None:
    """Write a StableUnCLIPImg2ImgPipeline; its normaliser is not the identity."""
    words = ["<|startoftext|>", "<|endoftext|>", *ALPHABET, *(f"{letter}</w>" for letter in ALPHABET)]
    own = folder.parent / f"{folder.name}-words"
    own.mkdir(parents=True)
    (own / "vocab.json").write_text(json.dumps({word: place for place, word in enumerate(words)}))
    (own / "merges.txt").write_text("#version: 0.2\n")
    normalizer = StableUnCLIPImageNormalizer(embedding)
    torch.nn.init.normal_(normalizer.mean, std=0.1)
    torch.nn.init.uniform_(normalizer.std, 0.5, 1.5)
    diffusers.StableUnCLIPImg2ImgPipeline(
        feature_extractor=CLIPImageProcessor(size=8, crop_size=8),
        image_encoder=CLIPVisionModelWithProjection(CLIPVisionConfig(
            hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2, image_size=8,
            patch_size=4, projection_dim=embedding,
        )),
        image_normalizer=normalizer,
        image_noising_scheduler=diffusers.DDPMScheduler(beta_schedule="squaredcos_cap_v2"),
        tokenizer=CLIPTokenizer.from_pretrained(own, model_max_length=77),
        text_encoder=CLIPTextModel(CLIPTextConfig(
            vocab_size=len(words), hidden_size=8, intermediate_size=16, num_hidden_layers=1,
            num_attention_heads=2, bos_token_id=0, eos_token_id=1, pad_token_id=1,
        )),
        unet=diffusers.UNet2DConditionModel(
            sample_size=8, block_out_channels=(8, 16), cross_attention_dim=8, layers_per_block=1,
            attention_head_dim=4, norm_num_groups=4, class_embed_type="projection",
            projection_class_embeddings_input_dim=2 * embedding,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        ),
        scheduler=scheduler or diffusers.PNDMScheduler(
            beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", skip_prk_steps=True,
            prediction_type="v_prediction", steps_offset=1,
        ),
        vae=diffusers.AutoencoderKL(
            block_out_channels=(8, 8), norm_num_groups=4, latent_channels=4,
            down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2,
        ),
    ).save_pretrained(folder)  # fmt: skip
