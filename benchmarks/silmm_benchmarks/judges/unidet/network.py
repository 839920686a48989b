"""The whole detector: images in the network's colour order in, detections out (docs/spec/unidet.md 2)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from silmm.errors import DataError
from silmm_benchmarks.judges.unidet.architecture import DIVISIBILITY, ROI_LEVELS, Architecture
from silmm_benchmarks.judges.unidet.boxes import Suppression
from silmm_benchmarks.judges.unidet.cascade import Cascade, Found, detections
from silmm_benchmarks.judges.unidet.proposals import ProposalGenerator, select
from silmm_benchmarks.judges.unidet.pyramid import Pyramid


class UniDet(nn.Module):
    """A cascade R-CNN with one classifier of 722 classes; parameter names are those of the official files."""

    def __init__(self, architecture: Architecture) -> None:
        """Build the network with random weights."""
        super().__init__()
        self.architecture = architecture
        self.backbone = Pyramid(architecture)
        self.proposal_generator = ProposalGenerator(architecture.fpn)
        self.roi_heads = Cascade(architecture)
        self.eval()

    def prepare(self, images: Sequence[Tensor]) -> Tensor:
        """Normalise by channel and pad right and below with zeros, as the official code does.

        A batch is padded to its largest sides, rounded up to a multiple of 32: with images of several
        sizes the features near the border of the smaller ones depend on the others. Give images of one
        size, or one image, for results that do not.

        Args:
            images: each (3, height, width), 0 to 255.

        Returns:
            (B, 3, H, W).
        """
        device = self.proposal_generator.rpn_head.conv.weight.device
        mean, std = (
            torch.tensor(values, device=device)[:, None, None]
            for values in (self.architecture.mean, self.architecture.std)
        )
        height, width = (
            -(-max(image.shape[axis] for image in images) // DIVISIBILITY) * DIVISIBILITY
            for axis in (1, 2)
        )
        batch = mean.new_zeros((len(images), 3, height, width))
        for row, image in zip(batch, images, strict=True):
            row[:, : image.shape[1], : image.shape[2]] = (image.to(device).float() - mean) / std
        return batch

    @torch.inference_mode()
    def forward(self, images: Sequence[Tensor], rule: Suppression = "official") -> list[Found]:
        """Detect in images, each (3, height, width), 0 to 255, channels in the order of mean and std.

        Boxes are in pixels of these images.

        Raises:
            DataError: numbers are not finite; the official code would drop such boxes and score 0.
        """
        features: list[Tensor] = [level.float() for level in self.backbone(self.prepare(images))]
        self._require_finite("features", features)
        levels = self.proposal_generator(features)
        self._require_finite("proposals", [part for level in levels for part in (level.logits, level.deltas)])
        detections_of_images = []
        for index, image in enumerate(images):
            height, width = image.shape[1:]
            boxes, _ = select(levels, index, height, width, rule)
            stages = self.roi_heads([level[index] for level in features[:ROI_LEVELS]], boxes, height, width)
            self._require_finite("box heads", [part for s in stages for part in (s.logits, s.deltas)])
            detections_of_images.append(detections(stages, height, width, rule))
        return detections_of_images

    def _require_finite(self, where: str, tensors: list[Tensor]) -> None:
        if not torch.stack([tensor.isfinite().all() for tensor in tensors]).all():
            raise DataError(
                f"{self.architecture.name}: numbers of its {where} are not finite, so its detections would "
                "silently be none. Run it with precision=float32; if it says so then too, the weights are "
                "damaged, or norms of the checkpoint hold variances below 0 (repair_variances=true mends "
                "those, and the result says so)."
            )
