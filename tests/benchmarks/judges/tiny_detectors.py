"""Tiny random detectors of transformers: the real classes and the real layout of files."""

from __future__ import annotations

from pathlib import Path

from tests.benchmarks.judges.tiny_models import (
    WORDS,
    bert_vocabulary,
    preprocessor,
    random_weights,
    write_json,
)


def rt_detr(folder: Path) -> Path:
    """Write a random RT-DETR folder with three labels."""
    from transformers import RTDetrConfig, RTDetrForObjectDetection, RTDetrResNetConfig

    folder.mkdir(parents=True, exist_ok=True)
    backbone = RTDetrResNetConfig(
        embedding_size=8, hidden_sizes=[8, 16, 16, 24], depths=[1, 1, 1, 1], layer_type="basic",
        out_features=["stage2", "stage3", "stage4"],
    )
    config = RTDetrConfig(
        backbone_config=backbone, encoder_in_channels=[16, 16, 24], encoder_hidden_dim=32, d_model=32,
        num_queries=12,
        decoder_in_channels=[32, 32, 32], encoder_ffn_dim=32, decoder_ffn_dim=32, encoder_attention_heads=2,
        decoder_attention_heads=2, decoder_layers=2, encoder_layers=1,
        id2label={0: "dog", 1: "car", 2: "circle"}, label2id={"dog": 0, "car": 1, "circle": 2},
        anchor_image_size=None,
    )
    preprocessor(folder, "RTDetrImageProcessor", {"height": 64, "width": 64}, do_pad=False)
    random_weights(RTDetrForObjectDetection(config), 9).save_pretrained(folder)
    return folder


def owlv2(folder: Path) -> Path:
    """Write a random OWLv2 folder."""
    from transformers import (
        CLIPTokenizer,
        Owlv2Config,
        Owlv2ForObjectDetection,
        Owlv2ImageProcessorPil,
        Owlv2Processor,
    )

    folder.mkdir(parents=True, exist_ok=True)
    letters = {letter: index for index, letter in enumerate("abcdefghijklmnopqrstuvwxyz")}
    words = {f"{letter}</w>": 26 + index for letter, index in letters.items()}
    vocabulary = {**letters, **words, "<|startoftext|>": 52, "<|endoftext|>": 53, "!": 54}
    write_json(folder / "vocab.json", vocabulary)
    (folder / "merges.txt").write_text("#version: 0.2\n", encoding="utf-8")
    tokenizer = CLIPTokenizer(vocabulary, [], pad_token="!", model_max_length=16)  # noqa: S106
    processor = Owlv2ImageProcessorPil(size={"height": 64, "width": 64})
    Owlv2Processor(processor, tokenizer).save_pretrained(folder)
    sizes = {"hidden_size": 24, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
    ids = {"bos_token_id": 52, "eos_token_id": 53, "pad_token_id": 54}
    text = {**sizes, **ids, "vocab_size": 55, "max_position_embeddings": 16}
    vision = {**sizes, "image_size": 64, "patch_size": 16}
    config = Owlv2Config(text_config=text, vision_config=vision, projection_dim=24)
    random_weights(Owlv2ForObjectDetection(config), 10).save_pretrained(folder)
    return folder


def grounding_dino(folder: Path) -> Path:
    """Write a random Grounding DINO folder."""
    from transformers import (
        BertTokenizer,
        GroundingDinoConfig,
        GroundingDinoForObjectDetection,
        GroundingDinoImageProcessorPil,
        GroundingDinoProcessor,
        SwinConfig,
    )

    folder.mkdir(parents=True, exist_ok=True)
    size = 5 + len(WORDS) + 3
    vocabulary = bert_vocabulary(folder, size)
    lines = vocabulary.read_text(encoding="utf-8").splitlines()
    lines[-1] = "."
    vocabulary.write_text("\n".join(lines) + "\n", encoding="utf-8")
    tokenizer = BertTokenizer.from_pretrained(folder)
    processor = GroundingDinoImageProcessorPil(size={"shortest_edge": 64, "longest_edge": 128})
    GroundingDinoProcessor(processor, tokenizer).save_pretrained(folder)
    text = {"model_type": "bert", "vocab_size": size, "hidden_size": 24, "num_hidden_layers": 1,
            "num_attention_heads": 2, "intermediate_size": 32, "max_position_embeddings": 256}
    backbone = SwinConfig(
        image_size=64, embed_dim=8, depths=[1, 1, 1, 1], num_heads=[1, 1, 2, 2], window_size=4,
        out_features=["stage2", "stage3", "stage4"],
    )
    config = GroundingDinoConfig(
        backbone_config=backbone, text_config=text, d_model=64, encoder_layers=1, decoder_layers=2,
        num_queries=10, encoder_ffn_dim=32, decoder_ffn_dim=32, encoder_attention_heads=2,
        decoder_attention_heads=2,
    )
    random_weights(GroundingDinoForObjectDetection(config), 11).save_pretrained(folder)
    return folder
