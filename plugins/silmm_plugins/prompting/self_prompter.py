"""Step 1, prompts by the model itself: its concepts in templates, and whole prompts by example."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import Literal

from silmm.contracts.candidates import Prompt
from silmm.contracts.components import PrompterResult
from silmm.contracts.models import BaseModel, ChatRequest
from silmm.contracts.options import Options, option
from silmm.errors import DataError
from silmm.seeds import derive
from silmm_plugins.prompting.templates import Concepts, Writer, relation_kind, writers
from silmm_plugins.text import instructions
from silmm_plugins.text import reply_parsing as answers
from silmm_plugins.text.english import number_word

_KIND_OF_LIST = {"colors": "color", "shapes": "shape", "textures": "texture"}
_WRITTEN = {"semantic": "non_spatial", "complex": "complex"}
_CHUNK = 64
"""Chat requests per call: a matter of speed alone, for the prompts depend on their seeds."""


class SelfOptions(Options):
    """Options of `self`."""

    objects: tuple[str, ...] = option(
        (
            "animals",
            "plants",
            "fruits",
            "household items",
            "clothing",
            "vehicles",
            "food",
            "musical instruments",
            "electronic devices",
        ),
        "lists of nouns that the model is asked for",
        min_length=1,
        paper="App. 6",
    )
    attributes: tuple[str, ...] = option(
        ("colors", "shapes", "textures"),
        "kinds of attribute that the model is asked for; the nouns carry a kind that `objects` names, too, and its "
        "prompts are pairs of bare nouns",
        paper="App. 6",
    )
    relations: tuple[str, ...] = option(
        ("relations",),
        "kinds of relation that the model is asked for; answers that are not spatial are dropped",
        paper="App. 6",
    )
    categories: tuple[Literal["attribute", "layout", "semantic", "complex"], ...] = option(
        ("attribute", "layout", "semantic", "complex"),
        "categories, in equal shares; the others take the share of an exhausted one",
        min_length=1, paper="Sec. 3.1 step 1",
    )
    turns: int = option(8, "sampled answers per list, which are pooled", ge=1, unit="answers", paper="not given")
    temperature: float = option(1.0, "of lists and of whole prompts", gt=0.0, paper="not given")
    max_words: int = option(40, "longest prompt that counts as well formed", ge=2, unit="words")
    patience: int = option(
        300, "samples in a row without a new prompt after which a category is exhausted", ge=1, unit="samples"
    )


class SelfPrompter:
    """Write prompts from the base model's answers alone, as a function of the seed."""

    def __init__(self, options: SelfOptions) -> None:
        """Keep the options; see :class:`SelfOptions`."""
        self.options = options

    def write(
        self, model: BaseModel, count: int, seed: int, excluded: Callable[[str], bool]
    ) -> PrompterResult:
        """Return `count` distinct prompts, as far as possible in equal shares of the categories.

        Categories are named as T2I-CompBench++ does: color, shape, texture, spatial, 3d_spatial,
        numeracy, non_spatial, complex.

        Raises:
            DataError: the model cannot supply that many; the message counts the rejected ones by reason.
        """
        collected = _Collected(excluded, model.reads, self.options.max_words)
        sources = self._sources(model, seed)
        while sources and len(collected.prompts) < count:
            missing = count - len(collected.prompts)
            shares = _shares(missing, list(sources))
            for name, share in shares.items():
                if not _take(sources[name], share, collected, self.options.patience):
                    del sources[name]
                    collected.rejected[f"{name} ran dry"] += 1
        if len(collected.prompts) < count:
            raise DataError(_too_few(len(collected.prompts), count, collected.rejected))
        order = Random(derive(seed, "order"))  # mixes the categories, so that --limit keeps all of them
        order.shuffle(collected.prompts)
        return PrompterResult(tuple(collected.prompts), dict(sorted(collected.rejected.items())))

    def _sources(self, model: BaseModel, seed: int) -> dict[str, Iterator[Sample]]:
        categories = self.options.categories
        composed: dict[str, dict[str, Writer]] = {}
        if {"attribute", "layout"} & set(categories):
            composed = writers(self.concepts(model, seed))
        return {
            name: self._written(model, _WRITTEN[name], seed)
            if name in _WRITTEN
            else _composed(composed[name], derive(seed, "compose", name))
            for name in categories
        }

    def concepts(self, model: BaseModel, seed: int) -> Concepts:
        """Ask the model for all lists: objects, attributes, relations, numbers."""
        options = self.options
        kinds = list(dict.fromkeys([*options.objects, *options.attributes, *options.relations, "numbers"]))
        requests = [self._list_request(kind, turn, seed) for kind in kinds for turn in range(options.turns)]
        replies = model.chat(requests)
        pools: dict[str, dict[str, None]] = {kind: {} for kind in kinds}
        for request, reply in zip(requests, replies, strict=True):
            longest = 5 if request.input in options.relations else 3
            pools[request.input].update(dict.fromkeys(answers.items(reply, longest)))
        return self._concepts_of(pools)

    def _concepts_of(self, pools: dict[str, dict[str, None]]) -> Concepts:
        options = self.options
        relations = list(dict.fromkeys(r for kind in options.relations for r in pools[kind]))
        numbers = dict.fromkeys(n for n in map(number_word, pools["numbers"]) if n)
        names = {kind: _KIND_OF_LIST.get(kind, kind) for kind in options.attributes}
        return Concepts(
            nouns=list(dict.fromkeys(n for kind in options.objects for n in pools[kind])),
            attributes={name: list(pools[kind]) for kind, name in names.items()},
            bare=frozenset(name for kind, name in names.items() if kind in options.objects),
            spatial=[r for r in relations if relation_kind(r) == "spatial"],
            depth=[r for r in relations if relation_kind(r) == "3d_spatial"],
            numbers=list(numbers),
        )

    def _list_request(self, kind: str, turn: int, seed: int) -> ChatRequest:
        example = instructions.LIST_EXAMPLES.get(kind)
        return ChatRequest(
            task="list",
            input=kind,
            instruction=instructions.LIST.format(kind=instructions.LIST_TOPICS.get(kind, kind)),
            examples=((kind, example),) if example else (),
            temperature=self.options.temperature,
            seed=derive(seed, "list", kind, turn),
        )

    def _written(self, model: BaseModel, category: str, seed: int) -> Iterator[Sample]:
        """Yield the model's prompts of a category, without end."""
        index = 0
        while True:
            requests = [
                ChatRequest(
                    task="write",
                    input=category,
                    instruction=instructions.WRITE[category],
                    examples=instructions.WRITE_EXAMPLES[category],
                    temperature=self.options.temperature,
                    seed=derive(seed, "write", category, index + i),
                )
                for i in range(_CHUNK)
            ]
            for reply in model.chat(requests):
                yield category, answers.prompt(reply, self.options.max_words)
            index += _CHUNK


Sample = tuple[str, str | None]
"""(T2I-CompBench++ category, prompt); the prompt is None if it is malformed."""


class _Collected:
    """The prompts so far, and the number of rejected ones by reason."""

    def __init__(
        self, excluded: Callable[[str], bool], reads: Callable[[str], bool], max_words: int
    ) -> None:
        self.prompts: list[Prompt] = []
        self.rejected: Counter[str] = Counter()
        self._accepted: set[str] = set()
        self._excluded = excluded
        self._reads = reads
        self._max_words = max_words

    def add(self, category: str, text: str | None) -> bool:
        """Keep a prompt that is new, well formed, readable and not held out; return whether it was kept."""
        reason = self._refusal(text)
        if reason is not None or text is None:
            self.rejected[reason or "malformed"] += 1
            return False
        self._accepted.add(text.lower())
        self.prompts.append(Prompt(text, category))
        return True

    def _refusal(self, text: str | None) -> str | None:
        if text is None or len(text.split()) > self._max_words:
            return "malformed"
        if text.lower() in self._accepted:
            return "duplicate"
        if self._excluded(text):
            return "excluded"
        return None if self._reads(text) else "unreadable"


def _composed(subs: dict[str, Writer], seed: int) -> Iterator[Sample]:
    """Yield prompts from templates, from the sub-categories in turn."""
    rng = Random(seed)
    while subs:
        for name, write in subs.items():
            yield name, write(rng)


def _take(source: Iterator[Sample], share: int, collected: _Collected, patience: int) -> bool:
    """Collect `share` prompts from a source; return False where it ends or is exhausted."""
    idle = 0
    taken = 0
    while taken < share:
        sample = next(source, None)
        if sample is None:
            return False
        if collected.add(*sample):
            taken, idle = taken + 1, 0
        else:
            idle += 1
            if idle >= patience:
                return False
    return True


def _shares(count: int, names: Sequence[str]) -> dict[str, int]:
    """Split a count evenly; the first names take the remainder."""
    each, over = divmod(count, len(names))
    return {name: each + (i < over) for i, name in enumerate(names)}


def _too_few(supplied: int, count: int, rejected: Counter[str]) -> str:
    reasons = ", ".join(f"{reason} {number}" for reason, number in sorted(rejected.items())) or "nothing"
    return (
        f"prompts: the model supplied {supplied} of {count} distinct prompts (rejected: {reasons}); "
        "ask for fewer with --prompts, raise prompter.turns or prompter.temperature, or give a file"
    )
