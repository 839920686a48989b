"""Tiny random judges' models: the real classes and the real layout of files, made where a test wants them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

WORDS = [
    *("a", "red", "circle", "green", "car", "is", "there", "the", "what", "color", "of", "two", "blue"),
    *("dog", "on", "left", "right", "big", "small", "metal", "cube", "?", "puppy", "tree", "crimson", "nope"),
    *("man's", "answer", "question", "choices", "multiple", "choice", "yellow"),
]
YES, NO, VOCABULARY = 2748, 2053, 30522
SIZES = ((64, 64), (96, 60), (50, 90))


def images(count: int = 3) -> list[Image.Image]:
    """Return noise images of unequal sizes."""
    rng = np.random.default_rng(5)
    shapes = [SIZES[index % len(SIZES)] for index in range(count)]
    return [Image.fromarray(rng.integers(0, 256, (h, w, 3), dtype=np.uint8)) for w, h in shapes]


def bert_vocabulary(folder: Path, size: int = VOCABULARY) -> Path:
    """Write a vocab.txt with BERT's special tokens and, at full size, BERT's places of yes and no."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [f"[unused{index}]" for index in range(size)]
    lines[0] = "[PAD]"
    specials = (100, 101, 102, 103) if size == VOCABULARY else (1, 2, 3, 4)
    for special, token in zip(specials, ("[UNK]", "[CLS]", "[SEP]", "[MASK]"), strict=True):
        lines[special] = token
    first = 200 if size == VOCABULARY else 5
    yes, no = (YES, NO) if size == VOCABULARY else (first + len(WORDS), first + len(WORDS) + 1)
    lines[first : first + len(WORDS)] = WORDS
    lines[yes], lines[no] = "yes", "no"
    path = folder / "vocab.txt"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def recorded_blip(goldens: Path, folder: Path) -> Path:
    """Put the recorded BLIP-VQA into one folder, with a vocabulary that has its questions' pieces where BERT has them.

    BERT's own vocabulary is not part of the recording. The longest piece of a word that is in both vocabularies is
    the same, so a text whose pieces are all here has the ids that the whole vocabulary gives.
    """
    recorded = goldens / "checkpoints" / "blip-vqa"
    folder.mkdir(parents=True, exist_ok=True)
    for path in (recorded / "original").rglob("*.*"):
        shutil.copyfile(path, folder / path.name)
    lines = [f"[unused{index}]" for index in range(VOCABULARY)]
    for piece, index in json.loads((recorded / "companions/bert-base-uncased/pieces.json").read_text()).items():
        lines[index] = piece
    (folder / "vocab.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file."""
    path.write_text(json.dumps(value), encoding="utf-8")


def random_weights(model: torch.nn.Module, seed: int, scale: float = 1.0) -> torch.nn.Module:
    """Sample all weights anew, wide enough that answers differ, and return the model in eval mode."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            fan = parameter.shape[-1] if parameter.dim() > 1 else 1
            noise = torch.randn(parameter.shape, generator=generator)
            if parameter.dim() > 1:
                parameter.copy_(noise * scale / fan**0.5)
            elif "norm" in name.lower() and name.endswith("weight"):
                parameter.copy_(1 + 0.1 * noise)
            else:
                parameter.copy_(0.1 * noise)
    return model.eval()


def _bert_tokenizer(folder: Path, size: int, **extra: Any) -> None:
    bert_vocabulary(folder, size)
    settings = {"tokenizer_class": "BertTokenizer", "do_lower_case": True, "model_max_length": 512}
    write_json(folder / "tokenizer_config.json", settings | extra)


def preprocessor(folder: Path, kind: str, size: dict[str, int], **extra: Any) -> None:
    settings = {"image_processor_type": kind, "size": size, "do_resize": True, "do_normalize": True,
                "do_rescale": True, "resample": 3, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    write_json(folder / "preprocessor_config.json", settings | extra)


def blip_original(folder: Path, width: int = 24, hidden: int = 24, layers: int = 2) -> Path:
    """Write a random `model_base_vqa_capfilt_large.pth` with the original names, and vocab.txt beside it."""
    bert_vocabulary(folder)
    generator = torch.Generator().manual_seed(1)
    state: dict[str, torch.Tensor] = {}

    def linear(name: str, out: int, inside: int) -> None:
        state[f"{name}.weight"] = torch.randn(out, inside, generator=generator) * 1.5 / inside**0.5
        state[f"{name}.bias"] = torch.randn(out, generator=generator) * 0.1

    def norm(name: str, size: int) -> None:
        state[f"{name}.weight"] = 1 + 0.1 * torch.randn(size, generator=generator)
        state[f"{name}.bias"] = 0.1 * torch.randn(size, generator=generator)

    eye = "visual_encoder"
    state[f"{eye}.cls_token"] = torch.randn(1, 1, width, generator=generator)
    state[f"{eye}.pos_embed"] = torch.randn(1, 901, width, generator=generator)
    state[f"{eye}.patch_embed.proj.weight"] = torch.randn(width, 3, 16, 16, generator=generator) / 16
    state[f"{eye}.patch_embed.proj.bias"] = torch.zeros(width)
    for layer in range(layers):
        block = f"{eye}.blocks.{layer}"
        norm(f"{block}.norm1", width)
        norm(f"{block}.norm2", width)
        linear(f"{block}.attn.qkv", 3 * width, width)
        linear(f"{block}.attn.proj", width, width)
        linear(f"{block}.mlp.fc1", 4 * width, width)
        linear(f"{block}.mlp.fc2", width, 4 * width)
    norm(f"{eye}.norm", width)
    for bert, calls in (("text_encoder", width), ("text_decoder.bert", hidden)):
        table = f"{bert}.embeddings"
        state[f"{table}.position_ids"] = torch.arange(64)[None]
        state[f"{table}.word_embeddings.weight"] = torch.randn(VOCABULARY + 2, hidden, generator=generator)
        state[f"{table}.position_embeddings.weight"] = torch.randn(64, hidden, generator=generator)
        norm(f"{table}.LayerNorm", hidden)
        for layer in range(layers):
            for kind, inside in (("attention", hidden), ("crossattention", calls)):
                part = f"{bert}.encoder.layer.{layer}.{kind}"
                linear(f"{part}.self.query", hidden, hidden)
                linear(f"{part}.self.key", hidden, inside)
                linear(f"{part}.self.value", hidden, inside)
                linear(f"{part}.output.dense", hidden, hidden)
                norm(f"{part}.output.LayerNorm", hidden)
            part = f"{bert}.encoder.layer.{layer}"
            linear(f"{part}.intermediate.dense", 2 * hidden, hidden)
            linear(f"{part}.output.dense", hidden, 2 * hidden)
            norm(f"{part}.output.LayerNorm", hidden)
    head = "text_decoder.cls.predictions"
    linear(f"{head}.transform.dense", hidden, hidden)
    norm(f"{head}.transform.LayerNorm", hidden)
    state[f"{head}.decoder.weight"] = state["text_decoder.bert.embeddings.word_embeddings.weight"].clone()
    state[f"{head}.bias"] = state[f"{head}.decoder.bias"] = torch.zeros(VOCABULARY + 2)
    write_json(folder / "med_config.json", {"num_attention_heads": 3, "layer_norm_eps": 1e-12})
    path = folder / "model_base_vqa_capfilt_large.pth"
    torch.save({"model": state}, path)
    return path


def blip_converted(folder: Path, image: int, vocabulary: int = VOCABULARY) -> Path:
    """Write a random BLIP VQA folder of the HF layout for images of `image` pixels."""
    from transformers import BlipConfig, BlipForQuestionAnswering

    _bert_tokenizer(folder, vocabulary)
    preprocessor(folder, "BlipImageProcessor", {"height": image, "width": image})
    text = {"vocab_size": vocabulary + 2, "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3,
            "intermediate_size": 48, "encoder_hidden_size": 24, "max_position_embeddings": 64,
            "bos_token_id": vocabulary, "projection_dim": 24,
            "sep_token_id": 102 if vocabulary == VOCABULARY else 3, "eos_token_id": 2, "pad_token_id": 0}
    vision = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 48,
              "image_size": image, "patch_size": 16}
    model = BlipForQuestionAnswering(BlipConfig(text_config=text, vision_config=vision))
    random_weights(model, 2, 1.5).save_pretrained(folder)
    return folder


def git(folder: Path) -> Path:
    """Write a random GIT folder."""
    from transformers import GitConfig, GitForCausalLM

    size = 5 + len(WORDS) + 2
    _bert_tokenizer(folder, size)
    preprocessor(folder, "CLIPImageProcessor", {"shortest_edge": 32}, do_center_crop=True,
                  crop_size={"height": 32, "width": 32})
    vision = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 48,
              "image_size": 32, "patch_size": 16}
    config = GitConfig(
        vision_config=vision, vocab_size=size, hidden_size=24, num_hidden_layers=2, num_attention_heads=3,
        intermediate_size=48, max_position_embeddings=64, bos_token_id=2, eos_token_id=3, pad_token_id=0,
    )
    random_weights(GitForCausalLM(config), 3, 1.5).save_pretrained(folder)
    return folder


def vilt(folder: Path) -> Path:
    """Write a random ViLT VQA folder with seven answers."""
    from transformers import ViltConfig, ViltForQuestionAnswering

    size = 5 + len(WORDS) + 2
    _bert_tokenizer(folder, size)
    preprocessor(folder, "ViltImageProcessor", {"shortest_edge": 32}, size_divisor=16, do_pad=True)
    answers = ("yes", "no", "red", "blue", "2", "dog", "car")
    config = ViltConfig(
        vocab_size=size, hidden_size=24, num_hidden_layers=2, num_attention_heads=3, intermediate_size=48,
        max_position_embeddings=40, image_size=32, patch_size=16, id2label=dict(enumerate(answers)),
    )
    random_weights(ViltForQuestionAnswering(config), 14, 4.0).save_pretrained(folder)
    return folder


def words_tokenizer(folder: Path) -> int:
    """Write a word-level tokenizer as T5's place-holder and return its size."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from tokenizers.processors import TemplateProcessing
    from transformers import PreTrainedTokenizerFast

    others = ["yes", "no", "Answer", "Question", "Choices", ":", ".", ",", "-"]
    words = ["<pad>", "</s>", "<unk>", *WORDS, *others]
    index_by_name = {word: index for index, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordLevel(index_by_name, unk_token="<unk>"))  # noqa: S106
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    specials = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    wrapped = PreTrainedTokenizerFast(tokenizer_object=tokenizer, **specials)
    wrapped.save_pretrained(folder)
    return len(words)


def blip2(folder: Path) -> Path:
    """Write a random BLIP-2 folder with a T5."""
    from transformers import Blip2Config, Blip2ForConditionalGeneration

    size = words_tokenizer(folder)
    preprocessor(folder, "BlipImageProcessor", {"height": 32, "width": 32})
    vision = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 48,
              "image_size": 32, "patch_size": 16}
    former = {"vocab_size": 40, "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3,
              "intermediate_size": 48, "encoder_hidden_size": 24, "max_position_embeddings": 64}
    text = {"model_type": "t5", "vocab_size": size, "d_model": 24, "d_kv": 8, "d_ff": 48, "num_layers": 2,
            "num_heads": 3, "decoder_start_token_id": 0, "eos_token_id": 1, "pad_token_id": 0,
            "bos_token_id": 1,
            "feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}
    config = Blip2Config(vision_config=vision, qformer_config=former, text_config=text, num_query_tokens=4)
    random_weights(Blip2ForConditionalGeneration(config), 5, 2.0).save_pretrained(folder)
    return folder


def dpt(folder: Path) -> Path:
    """Write a random DPT-hybrid folder."""
    from transformers import BitConfig, DPTConfig, DPTForDepthEstimation

    backbone = BitConfig(
        global_padding="same", layer_type="bottleneck", depths=[1, 1, 1], embedding_size=8,
        hidden_sizes=[16, 16, 24], num_groups=4, out_features=["stage1", "stage2", "stage3"],
        embedding_dynamic_padding=True,
    )
    config = DPTConfig(
        is_hybrid=True, backbone_config=backbone, hidden_size=24, num_hidden_layers=12, num_attention_heads=3,
        intermediate_size=48, image_size=384, patch_size=16, backbone_featmap_shape=[1, 24, 24, 24],
        neck_hidden_sizes=[16, 16, 24, 24], fusion_hidden_size=16, readout_type="project",
        neck_ignore_stages=[0, 1],
    )
    random_weights(DPTForDepthEstimation(config), 6).save_pretrained(folder)
    return folder


def mpnet(folder: Path) -> Path:
    """Write a random MPNet folder."""
    from transformers import MPNetConfig, MPNetModel

    size = 5 + len(WORDS) + 2
    bert_vocabulary(folder, size)
    settings = {"tokenizer_class": "BertTokenizer", "do_lower_case": True, "model_max_length": 384}
    write_json(folder / "tokenizer_config.json", settings)
    config = MPNetConfig(vocab_size=size, hidden_size=24, num_hidden_layers=2, num_attention_heads=3,
                         intermediate_size=48, max_position_embeddings=70, pad_token_id=0)
    random_weights(MPNetModel(config, add_pooling_layer=False), 7).save_pretrained(folder)
    return folder


def clip() -> Any:
    """Return a random CLIP of open_clip's own class with its tokenizer's vocabulary."""
    from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg

    model = CLIP(
        embed_dim=16, quick_gelu=True,
        vision_cfg=CLIPVisionCfg(layers=2, width=32, head_width=16, patch_size=8, image_size=32),
        text_cfg=CLIPTextCfg(context_length=77, vocab_size=49408, width=32, heads=2, layers=2),
    )
    return random_weights(model, 8)
