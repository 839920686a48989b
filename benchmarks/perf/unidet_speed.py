"""UniDet on one image of 479x479: float32 against bfloat16, how far scores move, and where time goes.

Weights are random with the official shapes: what an image costs depends on the number of proposals (1000)
and of candidates (calibrated to about 500), not on the weights.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial

import torch
from silmm_benchmarks.judges.unidet.architecture import R50, ROI_LEVELS, RS200, Architecture
from silmm_benchmarks.judges.unidet.cascade import LEAST_SCORE, Found, Stage, detections, mean_scores
from silmm_benchmarks.judges.unidet.network import UniDet
from silmm_benchmarks.judges.unidet.proposals import select

from benchmarks.perf import measure

SIDE = 479
CANDIDATES = 500
NETWORKS = {network.name: network for network in (R50, RS200)}


def random_network(architecture: Architecture) -> UniDet:
    """Return a network whose activations neither vanish nor grow from block to block."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = UniDet(architecture)
        for name, value in network.named_parameters():
            if value.dim() == 1:
                value.data.zero_()
                continue
            gain = 0.3 if ".conv3." in name and ".bottom_up." in name else 2.0**0.5
            value.data.normal_(std=gain / value[0].numel() ** 0.5)
        for name, value in network.named_parameters():
            if name.endswith(("anchor_deltas.weight", "bbox_pred.weight")):
                value.data.mul_(0.05)  # boxes stay about where they were
            elif name.endswith(("stem.conv1.weight", "stem.conv1_1.weight")):
                value.data.div_(64 / max(architecture.std))  # pixels of R50 are not divided by their spread
    return network.requires_grad_(False)


def noise_image() -> torch.Tensor:
    """Return smooth noise, (3, 479, 479), 0 to 255."""
    generator = torch.Generator().manual_seed(1)
    coarse = torch.rand(1, 3, 30, 30, generator=generator) * 255
    return torch.nn.functional.interpolate(coarse, (SIDE, SIDE), mode="bilinear")[0]


@torch.inference_mode()
def parts(network: UniDet, image: torch.Tensor) -> tuple[dict[str, float], list[Stage]]:
    """Return the seconds of each part of one image, and the stages of its cascade."""
    seconds: dict[str, float] = {}

    def timed(name: str, work: Callable[[], object]) -> object:
        start = time.perf_counter()
        result = work()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        seconds[name] = time.perf_counter() - start
        return result

    features = timed("backbone and pyramid", lambda: network.backbone(network.prepare([image])))
    levels = timed("proposal head", lambda: network.proposal_generator(features))
    boxes, _ = timed("selection of proposals", lambda: select(levels, 0, SIDE, SIDE, "official"))
    own = [level[0] for level in features[:ROI_LEVELS]]
    stages = timed(f"cascade on {len(boxes)} proposals", lambda: network.roi_heads(own, boxes, SIDE, SIDE))
    timed("final suppression", lambda: detections(stages, SIDE, SIDE, "official"))
    return seconds, stages


def calibrate(network: UniDet, stages: list[Stage]) -> None:
    """Move the classifiers' bias such that about :data:`CANDIDATES` scores exceed the threshold."""
    low, high = -200.0, 200.0
    for _ in range(30):
        bias = (low + high) / 2
        moved = [Stage(s.boxes, s.logits + bias, s.deltas, s.decoded) for s in stages]
        count = int((mean_scores(moved)[:, :-1] > LEAST_SCORE).sum())
        low, high = (low, bias) if count > CANDIDATES else (bias, high)
    for predictor in network.roi_heads.box_predictor:
        predictor.cls_score.bias.data.fill_(low)


def detect(network: UniDet, image: torch.Tensor, precision: torch.dtype) -> Found:
    """Run one image to its end; on a GPU, reading the number of detections waits for it."""
    device = network.proposal_generator.rpn_head.conv.weight.device
    with torch.autocast(device.type, dtype=precision, enabled=precision != torch.float32):
        detections: Found = network([image])[0]
    detections.scores.cpu()
    return detections


def compare(architecture: Architecture, device: str, repeats: int) -> measure.Comparison:
    """Calibrate, print where time goes and what bfloat16 changes, then time both precisions."""
    network, image = random_network(architecture).to(device), noise_image().to(device)
    _, stages = parts(network, image)
    calibrate(network, stages)
    seconds, _ = parts(network, image)
    ways = {
        measure.OURS: partial(detect, network, image, torch.float32),
        "bfloat16": partial(detect, network, image, torch.bfloat16),
    }
    exact, coarse = (way() for way in ways.values())
    same = min(len(exact.scores), len(coarse.scores))
    moved = (exact.scores[:same] - coarse.scores[:same]).abs().max().item() if same else 0.0
    print(f"{architecture.name} on {device}, float32: {len(exact.scores)} detections")
    print("".join(f"- {name}: {value:.3f} s\n" for name, value in seconds.items()), end="")
    print(f"- bfloat16: {len(coarse.scores)} detections; sorted scores move by up to {moved:.4f}\n")
    times = measure.interleaved(ways, repeats)
    return measure.Comparison(f"{architecture.name}, {SIDE}×{SIDE}, {device}", 1, times)


def main() -> None:
    """Print parts and table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=3, help="timed rounds (default 3)")
    parser.add_argument("--threads", type=int, default=2, help="torch threads (default 2)")
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default cpu)")
    parser.add_argument("--only", choices=sorted(NETWORKS), help="time this network alone")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.backends.cudnn.allow_tf32 = False  # float32 means float32, as in the judge
    chosen = [NETWORKS[options.only]] if options.only else list(NETWORKS.values())
    rows = [compare(network, options.device, options.repeats) for network in chosen]
    measure.publish("unidet_speed", "images", "random", rows)


if __name__ == "__main__":
    main()
