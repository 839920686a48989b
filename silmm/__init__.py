"""silmm: align image-generating multimodal models by their own judgement, and measure it honestly.

This is the public face: ``import silmm`` is enough to open a model, run an alignment, score images and write
plugins. Each name is imported when it is first used, so that the import itself is quick and loads no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from silmm import torchvision_import
from silmm.version import SILMM_PLUGIN_API, __version__

if TYPE_CHECKING:
    from silmm.bench.leaderboard.results import Result
    from silmm.bench.score_benchmarks import bench
    from silmm.contracts.benchmarks import (
        Benchmark,
        BenchmarkOptions,
        Column,
        FolderImages,
        ImageFile,
        Item,
        JudgedImage,
        Mode,
        OwnEvaluation,
        Problem,
        Request,
    )
    from silmm.contracts.candidates import Candidate, Pair, Prompt, Question, Sampled
    from silmm.contracts.components import (
        Aggregation,
        AnswerScorer,
        Distance,
        Kernel,
        PairRule,
        Prompter,
        PrompterResult,
        Questioner,
        Sampler,
        Scorer,
    )
    from silmm.contracts.executors import Executor
    from silmm.contracts.generators import GenerationFailure, Generator, GeneratorOptions
    from silmm.contracts.hookspecs import hookimpl
    from silmm.contracts.judges import Detections, FeedbackJudge, Judge
    from silmm.contracts.models import (
        BaseModel,
        Capability,
        ChatRequest,
        Image,
        Latent,
        Preference,
        SamplingParams,
        ValidationScore,
    )
    from silmm.contracts.options import NoOptions, Options, option, presets
    from silmm.contracts.records import EvalResult
    from silmm.contracts.registration import Register, lazy
    from silmm.contracts.training import Rollout, Trainer, TrainingJob
    from silmm.contracts.validation_options import ValidationOptions
    from silmm.engine.run import RunResult
    from silmm.engine.settings import RunSettings
    from silmm.errors import (
        DataError,
        Incomplete,
        OutOfSpace,
        PluginError,
        RunBusy,
        SettingsChanged,
        SilmmError,
        UsageError,
    )
    from silmm.library import Leaderboard, LoadedModel, build, leaderboard, load_model, run
    from silmm.registry.registry import Registry

_HOMES = {
    "silmm.bench.leaderboard.results": "Result",
    "silmm.contracts.benchmarks": "Benchmark BenchmarkOptions Column FolderImages ImageFile Item JudgedImage Mode "
    "OwnEvaluation Problem Request",
    "silmm.contracts.candidates": "Candidate Pair Prompt Question Sampled",
    "silmm.contracts.components": "Aggregation AnswerScorer Distance Kernel PairRule Prompter PrompterResult "
    "Questioner Sampler Scorer",
    "silmm.contracts.executors": "Executor",
    "silmm.contracts.generators": "GenerationFailure Generator GeneratorOptions",
    "silmm.contracts.hookspecs": "hookimpl",
    "silmm.contracts.judges": "Detections FeedbackJudge Judge",
    "silmm.contracts.models": "BaseModel Capability ChatRequest Image Latent Preference SamplingParams "
    "ValidationScore",
    "silmm.contracts.options": "NoOptions Options option presets",
    "silmm.contracts.records": "EvalResult",
    "silmm.contracts.registration": "Register lazy",
    "silmm.contracts.training": "Rollout Trainer TrainingJob",
    "silmm.contracts.validation_options": "ValidationOptions",
    "silmm.engine.run": "RunResult",
    "silmm.engine.settings": "RunSettings",
    "silmm.errors": "DataError Incomplete OutOfSpace PluginError RunBusy SettingsChanged SilmmError UsageError",
    "silmm.library": "Leaderboard LoadedModel build leaderboard load_model run",
    "silmm.registry.registry": "Registry",
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names.split()}

__all__ = [
    "SILMM_PLUGIN_API",
    "Aggregation",
    "AnswerScorer",
    "BaseModel",
    "Benchmark",
    "BenchmarkOptions",
    "Candidate",
    "Capability",
    "ChatRequest",
    "Column",
    "DataError",
    "Detections",
    "Distance",
    "EvalResult",
    "Executor",
    "FeedbackJudge",
    "FolderImages",
    "GenerationFailure",
    "Generator",
    "GeneratorOptions",
    "Image",
    "ImageFile",
    "Incomplete",
    "Item",
    "Judge",
    "JudgedImage",
    "Kernel",
    "Latent",
    "Leaderboard",
    "LoadedModel",
    "Mode",
    "NoOptions",
    "Options",
    "OutOfSpace",
    "OwnEvaluation",
    "Pair",
    "PairRule",
    "PluginError",
    "Preference",
    "Problem",
    "Prompt",
    "Prompter",
    "PrompterResult",
    "Question",
    "Questioner",
    "Register",
    "Registry",
    "Request",
    "Result",
    "Rollout",
    "RunBusy",
    "RunResult",
    "RunSettings",
    "Sampled",
    "Sampler",
    "SamplingParams",
    "Scorer",
    "SettingsChanged",
    "SilmmError",
    "Trainer",
    "TrainingJob",
    "UsageError",
    "ValidationOptions",
    "ValidationScore",
    "__version__",
    "bench",
    "build",
    "hookimpl",
    "lazy",
    "leaderboard",
    "load_model",
    "option",
    "presets",
    "run",
]

if not TYPE_CHECKING:  # type checkers read the imports above, and would take any name from a `__getattr__`

    def __getattr__(name: str) -> object:
        """Import a name of the public face when it is first used."""
        if name == "bench":
            return import_module("silmm.bench")  # the package itself, which can be called
        if name not in _HOME_OF:
            raise AttributeError(f"module 'silmm' has no attribute {name!r}")
        value = globals()[name] = getattr(import_module(_HOME_OF[name]), name)
        return value

    def __dir__() -> list[str]:
        """List the public face, imported or not."""
        return sorted({*globals(), *__all__})


torchvision_import.install()
