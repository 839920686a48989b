"""Train the language model of `tiny-discrete`: to answer and write, then to sample as well.

Yes/no supervision alone stays at the prior for a long time. Auxiliary losses, used in training only, break
the plateau. What covers each patch is read after layer 2, early enough for the question's tokens to
use it. Two heads of layer 3 are told where to look: from a noun to the patches of the objects that it
speaks of, or to <boi> when there are none. Where the objects of a question stand is read after layer 4 at
its last word, so that the last two layers only have to compare. For the relations that is not enough: the
nouns themselves are asked for their object's place after layer 3, and two heads of layer 4 are told to look
from the last word to the first and to the second noun.
Sampling starts once answering is under way. Alone it learns to sample shapes and not whose colour is whose: the
heads left over in layers 3 and 4 are told to look, from each patch, to the noun, the colour and the texture
of the mention that is sampled there.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from silmm_benchmarks.shapes.language import PLURALS
from silmm_benchmarks.shapes.world import COLORS, SHAPES, TEXTURES
from silmm_plugins.models.tiny.vocabulary import Vocabulary
from silmm_plugins.models.tiny_discrete.image_tokenizer import PATCH, TinyImageTokenizer
from silmm_plugins.models.tiny_discrete.language_model import TinyDiscreteLM
from torch import Tensor, nn
from torch.nn import functional as F

from training.tiny_discrete import checkpoint
from training.tiny_discrete.pools import MENTIONS
from training.tiny_discrete.text_tasks import TextTask
from training.tiny_discrete.train_tokenizer import pixels

HIDDEN, LAYERS, HEADS, MLP = 160, 6, 4, 448
PATCH_LAYER, LOOK_LAYER, PLACE_LAYER = 2, 3, 4
LOOK_HEADS = 2
WORD_HEADS = ((LOOK_LAYER, 2), (LOOK_LAYER, 3), (PLACE_LAYER, 2))
"""Layer and head that look at a sampled mention's noun, colour and texture."""
SAVE_EVERY = 100
PLACES = 17  # twice a centre's coordinate, 0 … 16


@dataclass(frozen=True)
class Plan:
    """How long and on how much to train."""

    steps: int = 2300
    sample_from: int = 400
    polish_from: int = 700
    """From here on answering is all but learnt: fewer images to ask about, more samples and texts."""
    images: int = 64
    questions: int = 8
    sampled_images: int = 64
    image_token_weight: float = 1.0
    texts: int = 64
    text_every: int = 4
    text_weight: float = 0.3
    peak: float = 2e-3


@dataclass(frozen=True)
class Pools:
    """The training data with images as codes and texts as ids."""

    codes: NDArray[np.int64]
    labels: NDArray[np.int8]
    questions: NDArray[np.object_]
    answers: NDArray[np.bool_]
    places: NDArray[np.int8]
    targets: NDArray[np.uint64]
    nouns: NDArray[np.int8]
    is_relation: NDArray[np.bool_]
    sample_codes: NDArray[np.int64]
    sample_captions: list[list[int]]
    sample_owned: NDArray[np.bool_]
    """(N, mentions, patches): what each mention of the caption covers."""
    sample_words: NDArray[np.int64]
    """(N, mentions, 3): how far before the caption's end the noun, the colour and the texture stand."""


def polished(plan: Plan) -> Plan:
    """Return the plan of the last part."""
    return replace(
        plan, images=plan.images // 2, sampled_images=2 * plan.sampled_images, image_token_weight=2.0,
        texts=plan.texts // 2, text_every=1, text_weight=1.0,
    )  # fmt: skip


class Auxiliary(nn.Module):
    """The heads that only training needs."""

    def __init__(self, hidden: int) -> None:
        """Build with random weights."""
        super().__init__()
        self.kinds = (len(SHAPES) + 1, len(COLORS) + 1, len(TEXTURES) + 1)
        self.patch = nn.Linear(hidden, sum(self.kinds) + 2)
        self.place = nn.Linear(hidden, 4 * PLACES)
        self.noun = nn.Linear(hidden, 2 * PLACES)

    def patch_loss(self, states: Tensor, labels: Tensor) -> Tensor:
        """Cross-entropy of shape, colour and texture, and the squared error of the offset."""
        *kinds, offset = self.patch(states).float().split((*self.kinds, 2), -1)
        loss = sum(
            F.cross_entropy(k.flatten(0, 1), labels[..., i].flatten()) for i, k in enumerate(kinds)
        )
        covered = (labels[..., :1] > 0).float()
        miss = ((offset - labels[..., 3:].float() / 2).square() * covered).sum() / covered.sum()
        return loss + 0.3 * miss

    def noun_loss(self, states: Tensor, places: Tensor) -> Tensor:
        """Cross-entropy of each noun's own place (nouns, 2); unknown ones are -1."""
        logits = self.noun(states).float().view(-1, PLACES)
        return F.cross_entropy(logits, places.flatten(), ignore_index=-1)

    def place_loss(self, states: Tensor, places: Tensor) -> Tensor:
        """Cross-entropy of the places (questions, 4); unknown ones are -1."""
        logits = self.place(states).float().view(-1, PLACES)
        return F.cross_entropy(logits, places.flatten(), ignore_index=-1)


def look_loss(attention: Tensor, nouns: Tensor, targets: Tensor) -> Tensor:
    """Return how little a noun looks at what it speaks of, in nats.

    Args:
        attention: (questions, heads, words, keys); the keys are <boi>, the patches, <eoi>, the words.
        nouns: word positions of both nouns, (questions, 2); -1 where there is no second one.
        targets: (questions, 2, patches), true where the noun's objects are.
    """
    rows, slots = torch.nonzero(nouns >= 0, as_tuple=True)
    seen = attention[rows, :LOOK_HEADS, nouns[rows, slots]].float()
    wanted = targets[rows, slots]
    none = ~wanted.any(-1, keepdim=True)
    mass = (seen[..., : wanted.shape[1] + 1] * torch.cat([none, wanted], 1)[:, None]).sum(-1)
    return -mass.clamp(min=1e-6).log().mean()


def hop_loss(attention: Tensor, last: Tensor, nouns: Tensor) -> Tensor:
    """Return how little the last word looks at the nouns, head 0 at the first and head 1 at the second.

    Args:
        attention: (questions, heads, words, keys); the words are the last keys.
        last: position of each question's last word.
        nouns: word positions of both nouns, (questions, 2); -1 where there is no second one.
    """
    rows, slots = torch.nonzero(nouns >= 0, as_tuple=True)
    before = attention.shape[3] - attention.shape[2]
    mass = attention[rows, slots, last[rows], before + nouns[rows, slots]].float()
    return -mass.clamp(min=1e-6).log().mean()


def word_loss(attention: Tensor, owned: Tensor, words: Tensor) -> Tensor:
    """Return how little each patch looks at one word of the mention that it samples, in nats.

    Args:
        attention: one head's (images, time, time); the patches are predicted by the last rows.
        owned: (images, mentions, patches), true where a mention covers a patch.
        words: how far before the first patch's row each mention's word stands, (images, mentions).
    """
    patches = owned.shape[2]
    start = attention.shape[1] - patches
    keys = (start - words)[:, None].expand(-1, patches, -1)
    mass = attention[:, start:].gather(2, keys)[owned.transpose(1, 2)].float()
    return -mass.clamp(min=1e-6).log().mean()


class Student(nn.Module):
    """The language model with its auxiliary heads, checkpointed together."""

    def __init__(self, model: TinyDiscreteLM) -> None:
        """Wrap the model."""
        super().__init__()
        self.model = model
        self.auxiliary = Auxiliary(HIDDEN)

    def understanding_loss(
        self, pools: Pools, rng: np.random.Generator, plan: Plan
    ) -> tuple[Tensor, dict[str, float]]:
        """Answer `questions` questions about each of `images` images."""
        rows = rng.integers(len(pools.codes), size=plan.images)  # (images,)
        # Relations are the hardest kind and a quarter of the pool: they are sampled three times as often.
        keys = rng.random((plan.images, pools.answers.shape[1]))
        keys = keys ** (1 / np.where(pools.is_relation[rows], 3.0, 1.0))
        picks = np.argsort(-keys, axis=1)[:, : plan.questions]
        texts = [pools.questions[r, p] for r, ps in zip(rows, picks, strict=True) for p in ps]
        answers = torch.from_numpy(pools.answers[rows[:, None], picks].ravel())
        places = torch.from_numpy(pools.places[rows[:, None], picks].reshape(-1, 4)).long()
        labels = torch.from_numpy(pools.labels[rows]).long()
        model = self.model
        cache, seen = model.image_prefix(torch.from_numpy(pools.codes[rows]), every_layer=True)
        owner = torch.arange(plan.images).repeat_interleave(plan.questions)
        out, last = model.question_outputs(cache, owner, texts, every_layer=True)
        each = torch.arange(len(texts))
        bits = pools.targets[rows[:, None], picks].reshape(-1, 2, 1) >> np.arange(64, dtype=np.uint64)
        nouns = torch.from_numpy(pools.nouns[rows[:, None], picks].reshape(-1, 2)).long()
        look = look_loss(
            out.attentions[LOOK_LAYER - 1],
            nouns,
            torch.from_numpy((bits & np.uint64(1)).astype(np.bool_)),
        )
        logits = model.logits(out.last_hidden_state[each, last])
        words = model.vocabulary
        target = torch.where(answers, words.yes, words.no)
        answer = F.cross_entropy(logits, target)
        patch = self.auxiliary.patch_loss(seen.hidden_states[PATCH_LAYER][:, 1:-1], labels)
        place = self.auxiliary.place_loss(out.hidden_states[PLACE_LAYER][each, last], places)
        right = ((logits[:, words.yes] > logits[:, words.no]) == answers).float().mean()
        row, slot = torch.nonzero(nouns >= 0, as_tuple=True)
        states = out.hidden_states[LOOK_LAYER][row, nouns[row, slot]]
        noun = self.auxiliary.noun_loss(states, places.view(-1, 2, 2)[row, slot])
        hop = hop_loss(out.attentions[PLACE_LAYER - 1], last, nouns)
        metrics = {
            "answer": answer.item(), "right": right.item(), "patch": patch.item(), "look": look.item(),
            "place": place.item(), "noun": noun.item(), "hop": hop.item(),
        }  # fmt: skip
        return answer + 0.5 * patch + 0.5 * look + 0.3 * place + 0.3 * noun + 0.2 * hop, metrics

    def image_token_loss(
        self, pools: Pools, rng: np.random.Generator, plan: Plan
    ) -> tuple[Tensor, dict[str, float]]:
        """Negative log-likelihood of the image codes, nats per token, and where patches look."""
        rows = rng.integers(len(pools.sample_codes), size=plan.sampled_images)
        prompts = [pools.sample_captions[r] for r in rows]
        codes = torch.from_numpy(pools.sample_codes[rows])
        out = self.model.sampling_outputs(prompts, codes, every_layer=True)
        sample = -self.model.code_likelihoods(out, codes).sum(-1).mean() / codes.shape[1]
        owned, words = torch.from_numpy(pools.sample_owned[rows]), torch.from_numpy(pools.sample_words[rows])
        parts = [
            word_loss(out.attentions[layer - 1][:, head], owned, words[..., kind])
            for kind, (layer, head) in enumerate(WORD_HEADS)
        ]
        word = torch.stack(parts).mean()
        return sample + 0.2 * word, {"sample": sample.item(), "word": word.item()}

    def text_loss(self, tasks: TextTask, rng: np.random.Generator, plan: Plan) -> Tensor:
        """Negative log-likelihood of the answers of chat tasks, nats per token."""
        pairs = [tasks.sample(rng) for _ in range(plan.texts)]
        logits, targets = self.model.text_logits([a for a, _ in pairs], [b for _, b in pairs])
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=-1)


def learning_rate(step: int, steps: int, peak: float, warmup: int = 100) -> float:
    """Return the cosine schedule's value: linear warm-up, then down to 2% of the peak."""
    if step < warmup:
        return peak * (step + 1) / warmup
    done = (step - warmup) / max(1, steps - warmup)
    return peak * (0.02 + 0.98 * 0.5 * (1 + float(np.cos(np.pi * done))))


def initialise_codes(model: TinyDiscreteLM, tokenizer: TinyImageTokenizer) -> None:
    """Start the embeddings of image codes from their patches' pixels and colour: near is alike."""
    patches = tokenizer.codebook.view(-1, 3, PATCH * PATCH)
    ink = patches.amax(1)
    white = patches.amin(1)
    color = (patches * (ink - white)[:, None]).sum(-1) / (ink - white).sum(-1, keepdim=True).clamp(min=0.1)
    basis = torch.cat([2 * color, color.square(), 0.7 * ink, 0.7 * white], 1)
    basis = basis - basis.mean(0)
    mixed = basis @ torch.randn(basis.shape[1], HIDDEN)
    weight = model.backbone.get_input_embeddings().weight
    with torch.no_grad():
        noise = torch.randn(model.codes, HIDDEN)
        weight[model.first_code :] = 0.02 * (mixed / mixed.std() + 0.3 * noise)


def encode_all(tokenizer: TinyImageTokenizer, images: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return the codes (N, 64) of images (N, H, W, 3)."""
    with torch.inference_mode():
        cuts = range(0, len(images), 1024)
        parts = [tokenizer.encode(pixels(images[i : i + 1024])) for i in cuts]
    return torch.cat(parts).numpy()


def word_places(ids: list[int], vocabulary: Vocabulary) -> NDArray[np.int64]:
    """Return how far before a caption's end each mention's noun, colour and texture stand, (mentions, 3).

    An attribute that is not said stands where the noun stands.
    """
    nouns, colors, textures = (
        {vocabulary.encode(word)[0] for word in words}
        for words in ((*SHAPES, *PLURALS.values()), COLORS, TEXTURES)
    )
    places = np.ones((MENTIONS, 3), np.int64)
    mention, color, texture = 0, 0, 0
    for at, word in enumerate(ids):
        before = len(ids) - at
        if word in colors:
            color = before
        elif word in textures:
            texture = before
        elif word in nouns:
            places[mention] = before, color or before, texture or before
            mention, color, texture = mention + 1, 0, 0
    return places


def load_pools(
    understanding: Path, sampling: Path, tokenizer: TinyImageTokenizer, vocabulary: Vocabulary
) -> Pools:
    """Read the pools and turn images into codes and texts into ids."""
    known, sampled = np.load(understanding), np.load(sampling)
    memo: dict[str, list[int]] = {}

    def ids(text: str) -> list[int]:
        if text not in memo:
            memo[text] = vocabulary.encode(text)
        return memo[text]

    questions = np.empty(known["questions"].shape, object)
    nouns = np.full((*questions.shape, 2), -1, np.int8)
    noun_ids = {vocabulary.encode(word)[0] for word in (*SHAPES, *PLURALS.values())}
    for index, text in np.ndenumerate(known["questions"]):
        questions[index] = [vocabulary.ask, *ids(str(text))]
        found = [at for at, word in enumerate(questions[index]) if word in noun_ids]
        nouns[index][: len(found)] = found
    captions = [[vocabulary.bos, vocabulary.sample, *ids(str(t))] for t in sampled["captions"]]
    bits = sampled["owned"][..., None] >> np.arange(64, dtype=np.uint64)
    return Pools(
        encode_all(tokenizer, known["images"]), known["labels"], questions, known["answers"],
        known["places"], known["targets"], nouns, np.char.find(known["questions"], "is the ") == 0,
        encode_all(tokenizer, sampled["images"]), captions,
        (bits & np.uint64(1)).astype(np.bool_),
        np.stack([word_places(caption, vocabulary) for caption in captions]),
    )  # fmt: skip


def train(
    pools: Pools, tokenizer: TinyImageTokenizer, tasks: TextTask, work: Path, plan: Plan, seed: int = 0
) -> TinyDiscreteLM:
    """Train to the plan's end, resuming from `work`; return the model in eval mode."""
    torch.manual_seed(seed)
    model = TinyDiscreteLM(tasks.vocabulary, HIDDEN, LAYERS, HEADS, MLP, tokenizer.codes)
    initialise_codes(model, tokenizer)
    student = Student(model)
    optimizer = torch.optim.AdamW(
        student.parameters(), lr=plan.peak, betas=(0.9, 0.98), weight_decay=0.05
    )
    start = checkpoint.load(work, student, optimizer)
    for step in range(start, plan.steps):
        part = polished(plan) if step >= plan.polish_from else plan
        rng = np.random.default_rng([seed, 3, step])
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, plan.steps, plan.peak)
        with torch.autocast("cpu", torch.bfloat16):
            loss, metrics = student.understanding_loss(pools, rng, part)
            loss.backward()
            if step >= plan.sample_from:
                sample, seen = student.image_token_loss(pools, rng, part)
                (part.image_token_weight * sample).backward()
                metrics |= seen
            if step % part.text_every == 0:
                text = student.text_loss(tasks, rng, part)
                (part.text_weight * text).backward()
                metrics["text"] = text.item()
        torch.nn.utils.clip_grad_norm_(student.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        if step % 20 == 0:
            print(f"step {step} " + " ".join(f"{k} {v:.3f}" for k, v in metrics.items()), flush=True)
        if (step + 1) % SAVE_EVERY == 0 or step + 1 == plan.steps:
            checkpoint.save(work, student, optimizer, step + 1)
    return model.eval()
