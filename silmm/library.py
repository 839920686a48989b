"""The functions of the public face: open a model, run an alignment, build a component, rank results."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from silmm.contracts.models import BaseModel, ChatRequest, SamplingParams, Task
from silmm.contracts.options import Given, complete
from silmm.errors import UsageError
from silmm.lora.loading import load_adapter
from silmm.registry.component_path import split_path
from silmm.registry.registry import Registry

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from PIL.Image import Image as PillowImage

    from silmm.bench.leaderboard.ranking import Board
    from silmm.bench.leaderboard.results import Result
    from silmm.contracts.executors import Executor
    from silmm.engine.run import RunResult


def load_model(
    model: str, adapter: str | Path | None = None, *, registry: Registry | None = None, **options: object
) -> LoadedModel:
    """Open a base model.

    Args:
        model: ``NAME`` or ``NAME:PATH``, for example ``tiny-discrete`` or ``janus:DIR``.
        adapter: a PEFT folder that a run wrote, to put on the model.
        registry: where models are registered; None: the installed plugins.
        options: options of the model, for example ``device="cuda"`` (`silmm plugins show model NAME`).

    Raises:
        UsageError: there is no such model or option, or a value is not accepted.
        PluginError: the name is ambiguous, or may belong to a broken plugin.
        DataError: a file of the model or of the adapter is missing or broken.
    """
    registry = registry or Registry.load()
    name, path = split_path(registry, model)
    loaded = LoadedModel(name, build("model", name, registry=registry, **path, **options))
    if adapter is not None:
        loaded.load_adapter(adapter)
    return loaded


@dataclass
class LoadedModel:
    """A base model that samples images, answers questions about images, and chats.

    Results come one per input, in order, and depend on their own input and seed alone.
    """

    name: str
    model: BaseModel
    """The model behind the contract of plugins: representations, likelihoods, the backbone."""

    def load_adapter(self, folder: str | Path | None) -> None:
        """Put the adapter of a PEFT folder on the model in place of any other; None takes it off.

        Raises:
            DataError: the folder is no adapter of this model.
        """
        load_adapter(self.model, None if folder is None else Path(folder))

    def generate(
        self,
        prompts: Sequence[str],
        *,
        seeds: Sequence[int] | None = None,
        temperature: float = 1.0,
        top_p: float = 1.0,
        top_k: int = 0,
        batch_size: int = 64,
    ) -> list[PillowImage]:
        """Sample one RGB image per prompt.

        Args:
            prompts: texts that the model can read.
            seeds: one per prompt; None: 0, 1, 2, …. An image depends on its prompt and its seed alone.
            temperature: of the softmax over image tokens.
            top_p: probability mass that is kept; 1 keeps all.
            top_k: most likely tokens that are kept; 0 keeps all.
            batch_size: prompts that are sampled together; it changes no image.

        Raises:
            UsageError: the model cannot read a prompt or takes no sampling parameters, or the numbers of prompts
                and seeds differ.
        """
        from PIL import Image as Pillow

        texts = _texts(prompts, "prompts")
        image_seeds = _seeds(seeds, len(texts))
        sampling = SamplingParams(temperature, top_p, top_k)
        if sampling != SamplingParams() and "nucleus" not in self.model.capabilities:
            raise UsageError(f"{self.name} does not sample tokens: leave temperature, top_p and top_k out")
        for text in texts:
            if not self.model.reads(text):
                raise UsageError(f"{self.name} cannot read the prompt {text!r}; use other words or fewer of them")
        images = []
        for first in range(0, len(texts), batch_size):
            part = slice(first, first + batch_size)
            latents = self.model.represent(texts[part], image_seeds[part], sampling)
            images += [Pillow.fromarray(pixels) for pixels in self.model.decode(latents, image_seeds[part])]
        return images

    def ask(
        self,
        images: Sequence[PillowImage | npt.NDArray[np.uint8]],
        questions: Sequence[str] | Sequence[Sequence[str]],
    ) -> list[npt.NDArray[np.float64]]:
        """Ask yes/no questions about images.

        Args:
            images: PIL images, or uint8 arrays (height, width, 3).
            questions: a list of texts, all of which are asked of every image; or one list of texts per image.

        Returns:
            Per image a float64 array (n_questions, 2) of p(yes) and p(no). They are the model's own probabilities
            of the two words and need not add up to 1.

        Raises:
            UsageError: the numbers of images and lists differ.
            DataError: the model cannot read a question or an image.
        """
        import numpy as np

        if isinstance(questions, str):
            raise UsageError(f"questions is one text, {questions!r}; give a list of texts")
        shared = [question for question in questions if isinstance(question, str)]
        if shared and len(shared) != len(questions):
            raise UsageError("questions mixes texts and lists; give texts for every image, or one list per image")
        lists = [shared] * len(images) if shared else [list(group) for group in questions]
        if len(lists) != len(images):
            raise UsageError(f"{len(images)} images and {len(lists)} lists of questions; give one list per image")
        pixels = [
            image if isinstance(image, np.ndarray) else np.asarray(image.convert("RGB"), np.uint8) for image in images
        ]
        return self.model.yes_no(pixels, lists)

    def chat(
        self,
        inputs: Sequence[str],
        *,
        task: Task = "write",
        instruction: str = "",
        examples: Sequence[tuple[str, str]] = (),
        seeds: Sequence[int] | None = None,
        temperature: float = 0.0,
        max_words: int = 128,
    ) -> list[str]:
        """Answer texts with texts.

        Args:
            inputs: what is answered, one reply per text.
            task: what the request is for; a small model goes by it alone.
            instruction: what to do with the input, for models that follow instructions.
            examples: pairs of an input and its reply, shown before.
            seeds: one per input; None: 0, 1, 2, ….
            temperature: 0 is greedy.
            max_words: longer replies are cut.
        """
        texts = _texts(inputs, "inputs")
        return self.model.chat([
            ChatRequest(task, text, instruction, tuple(examples), temperature, seed, max_words)
            for text, seed in zip(texts, _seeds(seeds, len(texts)), strict=True)
        ])


def run(
    *,
    run_dir: str | Path | None = None,
    config: str | Path | None = None,
    sets: Mapping[str, object] | Sequence[str] = (),
    workers: int = 1,
    executor: Executor | None = None,
    until: str | None = None,
    from_: str | None = None,
    shard: tuple[int, int] | None = None,
    observers: Sequence[object] = (),
    registry: Registry | None = None,
    **settings: object,
) -> RunResult:
    """Align a model by its own judgement, or go on with the run that the same arguments began.

    It does what `silmm run` does: the stages of each iteration, the evaluation, the report.

    Args:
        run_dir: where the run lives; None: ``runs/MODEL-DIGEST``.
        config: a TOML file of settings.
        sets: options of components, as ``{"sampler.top_p": 0.9}`` or ``["sampler.top_p=0.9"]``.
        workers: processes that share the work; the result does not depend on it.
        executor: runs the shards in place of `workers` processes, for example ``silmm.build("executor", "local")``.
        until: stop after this stage of the first iteration.
        from_: begin at this stage of the first iteration.
        shard: (i, n): do only the shards whose number is i modulo n.
        observers: objects with observation hooks or ``progress(stage, done, total)`` as methods.
        registry: where components are registered; None: the installed plugins.
        settings: fields of :class:`silmm.RunSettings`: ``model``, ``prompts``, ``sampler``, ``benchmark``, ….

    Raises:
        UsageError: an unknown setting, or a combination that cannot work.
        SettingsChanged: the directory belongs to other settings.
        RunBusy, DataError, OutOfSpace, Incomplete: as :func:`silmm.engine.run.start`.
    """
    from silmm.engine.distributed import rank
    from silmm.engine.run import start
    from silmm.engine.settings_resolution import resolve_settings
    from silmm.report import write_report

    registry = registry or Registry.load()
    resolved = resolve_settings(registry, None if config is None else Path(config), settings, sets)
    folder = resolved.default_run_dir if run_dir is None else Path(run_dir)
    result = start(
        resolved, folder, workers=workers, executor=executor, until=until, from_=from_, shard=shard,
        observers=observers, registry=registry,
    )
    if rank() == 0:  # other ranks only train
        write_report(folder)
    return result


def build(kind: str, name: str, *, registry: Registry | None = None, **options: object) -> Any:
    """Build a component from its options, checked and completed by their defaults.

    Args:
        kind: kind of the component, for example ``sampler`` (`silmm plugins` lists all).
        name: its name, or ``distribution/name``.
        registry: where components are registered; None: the installed plugins.
        options: options by name. For a trainer that takes a kernel, ``kernel`` is one that was built.

    Raises:
        UsageError: there is no such component or option, or a value is not accepted.
        PluginError: the name is ambiguous, or may belong to a broken plugin.
    """
    registry = registry or Registry.load()
    entry = registry.entry(kind, name)
    parts = {"kernel": options.pop("kernel")} if "kernel" in entry.needs and "kernel" in options else {}
    values = {option: Given(value, f"{option}=…") for option, value in options.items()}
    return registry.build(kind, name, complete(entry.options, f"{entry.kind} {name!r}", values), **parts)


class Leaderboard(tuple["Board", ...]):
    """The boards of :func:`leaderboard`, one per benchmark and mode; its text is Markdown."""

    __slots__ = ()

    def to(self, form: str) -> str:
        """Return the boards as text of the format "md", "latex", "csv", "json" or "html".

        Raises:
            UsageError: there is no such format.
        """
        from silmm.bench.leaderboard.board_formats import FORMATS

        if form not in FORMATS:
            raise UsageError(f"there is no format {form!r}; formats: {', '.join(FORMATS)}")
        return FORMATS[form](self)

    def __str__(self) -> str:
        """Return the boards as Markdown."""
        return self.to("md")

    def _repr_html_(self) -> str:
        return self.to("html")


def leaderboard(
    results: Iterable[Result | str | Path], *, details: bool = False, published: bool = True
) -> Leaderboard:
    """Rank results of :func:`silmm.bench`.

    Args:
        results: results, their files, or folders that hold some.
        details: show columns that the paper's table does not have.
        published: put the paper's rows above.

    Raises:
        DataError: a file is no result, or a folder holds none.
    """
    from silmm.bench.leaderboard.ranking import boards
    from silmm.bench.leaderboard.results import Result, find_results

    paths = [result.path if isinstance(result, Result) else Path(result) for result in results]
    return Leaderboard(boards(find_results(paths), details=details, published=published))


def _texts(texts: Sequence[str], name: str) -> list[str]:
    if isinstance(texts, str):
        raise UsageError(f"{name} is one text, {texts!r}; give a list of texts")
    return list(texts)


def _seeds(seeds: Sequence[int] | None, count: int) -> list[int]:
    numbers = list(range(count)) if seeds is None else list(seeds)
    if len(numbers) != count:
        raise UsageError(f"{count} texts and {len(numbers)} seeds; give one seed per text")
    return numbers
