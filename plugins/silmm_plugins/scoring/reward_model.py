"""A published text-image model as scorer: CLIP, SigLIP, PickScore and others of their layout."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from silmm.checkpoint.devices import check_device
from silmm.contracts.candidates import Candidate
from silmm.contracts.judges import FeedbackJudge
from silmm.errors import DataError
from silmm_plugins.scoring.options import RewardModelOptions


class RewardModel:
    """Score a candidate by the model's logit of its image with the prompt, the mean over its decodes.

    A prompt that is longer than the model's context has no score: nothing is cut.
    """

    def __init__(self, options: RewardModelOptions) -> None:
        """Load the model, in evaluation mode and float32.

        Raises:
            UsageError: torch cannot use the device.
            DataError: the checkpoint cannot be read, has no safetensors, or is of another layout.
        """
        from transformers import AutoModel, AutoProcessor

        self._device = check_device("reward-model", options.device, "--set scorer.device")
        named: dict[str, Any] = {"revision": options.revision, "trust_remote_code": False}
        try:
            self._processor = AutoProcessor.from_pretrained(options.checkpoint, **named)
            self._model = AutoModel.from_pretrained(options.checkpoint, use_safetensors=True, dtype="float32", **named)
            self._longest = int(self._model.config.text_config.max_position_embeddings)
        except (OSError, ValueError, AttributeError) as error:
            raise DataError(
                f"reward-model cannot load {options.checkpoint!r} as a text-image model with safetensors: {error}"
            ) from error
        self._model.to(self._device).eval()

    @torch.inference_mode()
    def score(self, candidates: Sequence[Candidate], judge: FeedbackJudge | None = None) -> list[float | None]:
        """Return the logits, in the model's own scale: 100 times a cosine for CLIP."""
        del judge
        text = candidates[0].prompt.text
        if len(self._processor.tokenizer(text)["input_ids"]) > self._longest:
            return [None] * len(candidates)
        images = [np.array(image) for candidate in candidates for image in candidate.images]
        inputs = self._processor(
            text=[text], images=images, return_tensors="pt", padding="max_length", max_length=self._longest
        ).to(self._device)
        logits = self._model(**inputs).logits_per_image[:, 0].double().cpu().numpy()
        return [float(mean) for mean in logits.reshape(len(candidates), -1).mean(axis=1)]
