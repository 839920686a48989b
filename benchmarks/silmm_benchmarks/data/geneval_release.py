"""What GenEval published and its judges read too (github.com/djghosh13/geneval, af4902f): prompts, classes."""

from __future__ import annotations

from silmm_benchmarks.data.data_file import DataFile

METADATA = "evaluation_metadata.jsonl"

FILES = (
    DataFile(
        METADATA,
        f"https://raw.githubusercontent.com/djghosh13/geneval/af4902f/prompts/{METADATA}",
        sha256="5c48e0813e812e3c373fa5c8ed07a8f0a483be30272b4427b0559c8048e67c13",
        size=85_209,
        licence="MIT, (c) 2023 Dhruba Ghosh",
    ),
)
LABELS = (
    "person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat", "traffic light",
    "fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat", "dog", "horse", "sheep", "cow", "elephant",
    "bear", "zebra", "giraffe", "backpack", "umbrella", "handbag", "tie", "suitcase", "frisbee", "skis", "snowboard",
    "sports ball", "kite", "baseball bat", "baseball glove", "skateboard", "surfboard", "tennis racket", "bottle",
    "wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple", "sandwich", "orange", "broccoli",
    "carrot", "hot dog", "pizza", "donut", "cake", "chair", "couch", "potted plant", "bed", "dining table", "toilet",
    "tv", "laptop", "mouse", "remote", "keyboard", "cell phone", "microwave", "oven", "toaster", "sink",
    "refrigerator", "book", "clock", "vase", "scissors", "teddy bear", "hair drier", "toothbrush",
)  # fmt: skip
COLOURS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "black", "white")
"""In official order, which decides equal logits and the order in reasons."""
LEAST_SCORE = 0.1
"""Weaker detections are not returned. GenEval counts from 0.3 on; what is below needs no mask at the image's size."""
