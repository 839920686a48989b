"""Step 1, prompts by the model itself: its concepts in templates, whole prompts by example."""

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
"""Chat requests a call; it changes speed, not what is written, which is the seeds' affair."""


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
        "what the model is asked to list for nouns",
        min_length=1,
        paper="App. 6",
    )
    attributes: tuple[str, ...] = option(
        ("colors", "shapes", "textures"),
        "attribute kinds to ask for; one that `objects` names too is carried by the nouns, and its prompts are "
        "pairs of bare nouns",
        paper="App. 6",
    )
    relations: tuple[str, ...] = option(
        ("relations",), "relation kinds to ask for; answers that are not spatial are left out", paper="App. 6"
    )
    categories: tuple[Literal["attribute", "layout", "semantic", "complex"], ...] = option(
        ("attribute", "layout", "semantic", "complex"),
        "categories, in equal shares; one that runs dry leaves its share to the others",
        min_length=1, paper="Sec. 3.1 step 1",
    )
    turns: int = option(8, "sampled answers pooled for each list", ge=1, unit="answers", paper="not given")
    temperature: float = option(1.0, "of lists and of whole prompts", gt=0.0, paper="not given")
    max_words: int = option(40, "longest prompt that counts as well formed", ge=2, unit="words")
    patience: int = option(
        300, "samples in a row without a new prompt after which a category has run dry", ge=1, unit="samples"
    )


class SelfPrompter:
    """Write prompts from the base model's answers alone, deterministically from the seed."""

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
            DataError: the model cannot supply that many; says how many and what was lost.
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
        order = Random(derive(seed, "order"))  # mixes the categories, so that --limit keeps all
        order.shuffle(collected.prompts)
        return PrompterResult(tuple(collected.prompts), dict(sorted(collected.rejected.items())))

    def _sources(self, model: BaseModel, seed: int) -> dict[str, Iterator[Draw]]:
        wanted = self.options.categories
        composed: dict[str, dict[str, Writer]] = {}
        if {"attribute", "layout"} & set(wanted):
            composed = writers(self.concepts(model, seed))
        return {
            name: self._written(model, _WRITTEN[name], seed)
            if name in _WRITTEN
            else _composed(composed[name], derive(seed, "compose", name))
            for name in wanted
        }

    def concepts(self, model: BaseModel, seed: int) -> Concepts:
        """Ask the model for all lists: objects, attributes, relations, numbers."""
        own = self.options
        kinds = list(dict.fromkeys([*own.objects, *own.attributes, *own.relations, "numbers"]))
        requests = [self._list_request(kind, turn, seed) for kind in kinds for turn in range(own.turns)]
        replies = model.chat(requests)
        pools: dict[str, dict[str, None]] = {kind: {} for kind in kinds}
        for request, reply in zip(requests, replies, strict=True):
            longest = 5 if request.input in own.relations else 3
            pools[request.input].update(dict.fromkeys(answers.items(reply, longest)))
        return self._sorted_out(pools)

    def _sorted_out(self, pools: dict[str, dict[str, None]]) -> Concepts:
        own = self.options
        relations = list(dict.fromkeys(r for kind in own.relations for r in pools[kind]))
        numbers = dict.fromkeys(n for n in map(number_word, pools["numbers"]) if n)
        names = {kind: _KIND_OF_LIST.get(kind, kind) for kind in own.attributes}
        return Concepts(
            nouns=list(dict.fromkeys(n for kind in own.objects for n in pools[kind])),
            attributes={name: list(pools[kind]) for kind, name in names.items()},
            bare=frozenset(name for kind, name in names.items() if kind in own.objects),
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

    def _written(self, model: BaseModel, category: str, seed: int) -> Iterator[Draw]:
        """Yield what the model writes for a category, without end."""
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


Draw = tuple[str, str | None]
"""(T2I-CompBench++ category, prompt), None for a malformed one."""


class _Collected:
    """The prompts so far, and what was thrown away and why."""

    def __init__(
        self, excluded: Callable[[str], bool], reads: Callable[[str], bool], max_words: int
    ) -> None:
        self.prompts: list[Prompt] = []
        self.rejected: Counter[str] = Counter()
        self._seen: set[str] = set()
        self._excluded = excluded
        self._reads = reads
        self._max_words = max_words

    def add(self, category: str, text: str | None) -> bool:
        """Keep a prompt that is new, well formed, readable and not held out; say whether it was kept."""
        reason = self._refusal(text)
        if reason is not None or text is None:
            self.rejected[reason or "malformed"] += 1
            return False
        self._seen.add(text.lower())
        self.prompts.append(Prompt(text, category))
        return True

    def _refusal(self, text: str | None) -> str | None:
        if text is None or len(text.split()) > self._max_words:
            return "malformed"
        if text.lower() in self._seen:
            return "duplicate"
        if self._excluded(text):
            return "excluded"
        return None if self._reads(text) else "unreadable"


def _composed(subs: dict[str, Writer], seed: int) -> Iterator[Draw]:
    """Yield template prompts, the sub-categories in turn."""
    rng = Random(seed)
    while subs:
        for name, write in subs.items():
            yield name, write(rng)


def _take(source: Iterator[Draw], share: int, collected: _Collected, patience: int) -> bool:
    """Collect `share` prompts from a source; False when it ended or brought nothing new."""
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
    """Split a count evenly, the first names taking what is left over."""
    each, over = divmod(count, len(names))
    return {name: each + (i < over) for i, name in enumerate(names)}


def _too_few(found: int, count: int, rejected: Counter[str]) -> str:
    lost = ", ".join(f"{reason} {number}" for reason, number in sorted(rejected.items())) or "nothing"
    return (
        f"prompts: the model supplied {found} of {count} distinct prompts (thrown away: {lost}); "
        "ask for fewer with --prompts, raise prompter.turns or prompter.temperature, or give a file"
    )
