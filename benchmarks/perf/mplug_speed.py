"""mPLUG's questions about an image that is encoded once, against asking one by one, as is official."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from silmm_benchmarks.judges.mplug.beam import END, Hypothesis, beam_search
from silmm_benchmarks.judges.mplug.config import BertSizes, MPlugConfig
from silmm_benchmarks.judges.mplug.decoder import Decoder, ReadingAttention
from silmm_benchmarks.judges.mplug.inputs import LENGTH
from silmm_benchmarks.judges.mplug.model import MPlug
from torch import Tensor

from benchmarks.perf import measure

DPG_BENCH, TIFA = (13, 14), (6, 7)
"""Questions about two images: 13.5 each in DPG-Bench, 6.3 in TIFA (docs/spec/benchmarks.md 5)."""
LEANINGS: Mapping[str, float] = {"answers of one word": 40.0, "answers of ten tokens": -40.0}
"""Case -> what is added to [SEP]'s logit, for random weights do not say yes or no."""
CASES = (
    (DPG_BENCH, "answers of one word"), (DPG_BENCH, "answers of ten tokens"), (TIFA, "answers of one word"),
)
HALF = {
    "bert": BertSizes(
        hidden_size=384, num_attention_heads=6, intermediate_size=1536, vocab_size=30522,
        max_position_embeddings=64, type_vocab_size=2, encoder_width=384, text_encoder_layers=6,
        num_hidden_layers=6, fusion_layers=6, stride_layer=3, text_decode_layers=6,
    ),
    "image_res": 336, "vision_width": 512, "clip_vision_width": 512, "clip_vision_layers": 12,
}
"""About half the width and depth of the large model."""
TOLERANCE = 1e-3
"""Of a score: float32 sums in another order."""
Answers = list[Hypothesis]


@dataclass(frozen=True)
class Asked:
    """Pixels of images and the questions about each."""

    pixels: Tensor
    tokens: Sequence[Tensor]
    masks: Sequence[Tensor]


class Uncached:
    """A decoder at work without a memory: each step reads all tokens again, and the states for each beam."""

    def __init__(self, decoder: Decoder, fused: Tensor, mask: Tensor, beams: int) -> None:
        """Start with what each question reads (questions, n, hidden), and its mask."""
        self._decoder, self._fused, self._mask, self._beams = decoder, fused, mask.bool(), beams
        self._written: Tensor | None = None

    @property
    def questions(self) -> int:
        """How many questions are still being answered."""
        return len(self._fused)

    @property
    def device(self) -> torch.device:
        """Where it works."""
        return self._fused.device

    def logits(self, tokens: Tensor) -> Tensor:
        """Take the next tokens (questions, beams); the first is read for every beam, though all are equal."""
        last, asked = tokens[..., None], tokens.shape[1]
        self._written = last if self._written is None else torch.cat([self._written, last], dim=-1)
        written = self._written.expand(-1, self._beams, -1)
        questions, beams, length = written.shape
        fused, mask = (tensor.repeat_interleave(beams, dim=0) for tensor in (self._fused, self._mask))
        causal = torch.ones(length, length, dtype=torch.bool, device=self.device).tril()
        states: Tensor = self._decoder.bert["embeddings"](written.flatten(0, 1))
        for layer in self._decoder.layers:
            states = layer.attention(states, causal)
            states = _attend(layer.crossattention, states, fused, mask[:, None, None, :])
            states = layer.feed_forward(states)
        next_logits: Tensor = self._decoder.cls["predictions"](states)[:, -1]
        return next_logits.unflatten(0, (questions, beams))[:, :asked]

    def keep(self, questions: Tensor, parents: Tensor) -> None:
        """Go on with some questions."""
        assert self._written is not None  # noqa: S101 - the search keeps only what it has asked
        self._fused, self._mask = self._fused[questions], self._mask[questions]
        self._written = self._written[questions[:, None], parents]


def _attend(reading: ReadingAttention, states: Tensor, fused: Tensor, mask: Tensor) -> Tensor:
    """Attend with keys and values made of all states, as the original does."""
    heads = reading.self
    query, key, value = (
        heads.split(linear(source))
        for linear, source in ((heads.query, states), (heads.key, fused), (heads.value, fused))
    )
    mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    return reading.output(mixed.transpose(1, 2).flatten(2), states)


@torch.inference_mode()
def together(model: MPlug, asked: Asked) -> Answers:
    """Encode each image once and ask all its questions at once, as the judge does."""
    answers: Answers = []
    for pixels, tokens, mask in zip(asked.pixels, asked.tokens, asked.masks, strict=True):
        rankings = model.answer(model.encode_images(pixels[None]), tokens, mask)
        answers += [ranked[0] for ranked in rankings]
    return answers


@torch.inference_mode()
def one_by_one(model: MPlug, asked: Asked) -> Answers:
    """Encode the image again for each question, with our decoder."""
    answers: Answers = []
    for pixels, tokens, mask in zip(asked.pixels, asked.tokens, asked.masks, strict=True):
        for row in range(len(tokens)):
            image = model.encode_images(pixels[None])
            answers.append(model.answer(image, tokens[row : row + 1], mask[row : row + 1])[0][0])
    return answers


@torch.inference_mode()
def official(model: MPlug, asked: Asked) -> Answers:
    """Encode the image again for each question, and decode without a memory, as the official scripts do."""
    answers: Answers = []
    rule = model.config
    for pixels, tokens, mask in zip(asked.pixels, asked.tokens, asked.masks, strict=True):
        for row in range(len(tokens)):
            image = model.encode_images(pixels[None])
            fused = model.fuse(image, tokens[row : row + 1], mask[row : row + 1])
            writer = Uncached(model.text_decoder, *fused, rule.beam_size)
            ranked = beam_search(writer, rule.beam_size, rule.max_length, rule.min_length)
            answers.append(ranked[0][0])
    return answers


WAYS = {measure.OURS: together, "one by one": one_by_one, "one by one, no memory": official}


def random_model(config: MPlugConfig, lean: float) -> MPlug:
    """Return a model with random weights (seed 0) and `lean` added to [SEP]'s logit."""
    generator = torch.Generator().manual_seed(0)
    model = MPlug(config).eval().requires_grad_(False)
    for name, tensor in model.state_dict().items():
        noise = torch.randn(tensor.shape, generator=generator)
        norm = tensor.ndim == 1 and name.endswith("weight")
        scale = 2 / math.sqrt(tensor.shape[-1]) if tensor.ndim > 1 else 0.1
        tensor.copy_(1 + 0.1 * noise if norm else scale * noise)
    model.text_decoder.cls["predictions"].decoder.bias[END] += lean
    return model


def questions(config: MPlugConfig, counts: Sequence[int]) -> Asked:
    """Return a random image for each count, and that many random questions of 6 to 25 tokens about it."""
    generator = torch.Generator().manual_seed(1)
    pixels = torch.randn(len(counts), 3, config.image_res, config.image_res, generator=generator)
    words = (END + 1, config.bert.vocab_size)
    tokens = [torch.randint(*words, (count, LENGTH), generator=generator) for count in counts]
    lengths = [torch.randint(6, LENGTH + 1, (count, 1), generator=generator) for count in counts]
    masks = [(torch.arange(LENGTH) < length).long() for length in lengths]
    return Asked(pixels, [tensor * mask for tensor, mask in zip(tokens, masks, strict=True)], masks)


def same(answers: Answers, others: Answers) -> bool:
    """Say whether all tokens are equal, and scores to :data:`TOLERANCE`."""
    return [tensor.tokens for tensor in answers] == [tensor.tokens for tensor in others] and all(
        abs(tensor.score - other.score) <= TOLERANCE for tensor, other in zip(answers, others, strict=True)
    )


def compare(config: MPlugConfig, case: str, counts: Sequence[int], repeats: int) -> measure.Comparison:
    """Check that all ways give the same answers, then time them.

    Raises:
        RuntimeError: two ways answer differently.
    """
    model, asked = random_model(config, LEANINGS[case]), questions(config, counts)
    answers = {name: way(model, asked) for name, way in WAYS.items()}
    for name, answer in answers.items():
        if not same(answer, answers[measure.OURS]):
            raise RuntimeError(f"{name!r} answers otherwise; its time cannot be compared")
    calls = {name: (lambda way=way: way(model, asked)) for name, way in WAYS.items()}
    title = f"{len(counts)} images, {sum(counts)} questions, {case}"
    return measure.Comparison(title, sum(counts), measure.interleaved(calls, repeats))


def main() -> None:
    """Print the table."""
    options = measure.arguments(__doc__ or "", repeats=3)
    config = MPlugConfig.model_validate(HALF)
    rows = [compare(config, case, counts, options.repeats) for counts, case in CASES]
    measure.publish("mplug_speed", "questions", "random, half of the large model", rows)


if __name__ == "__main__":
    main()
