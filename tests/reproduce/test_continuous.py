"""The continuous tables and figures with the real samplers, trainers and kernels on a tiny random model."""

from __future__ import annotations

import numpy as np
import pytest

import silmm.engine.run
from silmm.contracts.records import Difference, EvalResult
from silmm.lora.loading import load_adapter
from silmm.registry.registry import Registry
from silmm.reproduce.listing import EXPERIMENTS
from silmm.reproduce.reproduction import reproduce
from silmm.reproduce.row_settings import Request
from tests.toy import artefacts
from tests.toy.plugin import OwnMeasure
from tests.toy.tiny_continuous_random import PROMPTS, TinyContinuousRandom

PLUGIN = """
from silmm import hookimpl
from tests.toy import artefacts

@hookimpl
def silmm_register_models(register):
    from tests.toy.tiny_continuous_random import TinyContinuousRandom
    register("random", lambda options: TinyContinuousRandom(), summary="Random.", kind="continuous",
             capabilities=sorted(TinyContinuousRandom().capabilities))

@hookimpl
def silmm_register_benchmarks(register):
    from tests.reproduce.test_continuous import Brightness
    register("brightness", lambda options: Brightness(), summary="How bright the images are.")
"""


class Brightness(OwnMeasure):
    """Measures the mean of the images of two prompts."""

    def evaluate(self, model, adapters, *, work, seed, limit, progress):
        means = {}
        for name, folder in adapters.items():
            load_adapter(model, folder)
            images = model.decode(list(model.features(PROMPTS[:2]).detach().numpy()), [0, 1])
            means[name] = float(np.mean(images))
        before, after = means["before"], means[max(set(means) - {"before"})]
        overall = Difference(before, after, after - before, after - before, after - before, 2)
        return EvalResult("brightness", "brightness", {"seed": seed}, overall, {"color": overall})


@pytest.fixture
def registry(fake_distribution, monkeypatch):
    """Return the built-in components, the random model and the benchmark."""
    fake_distribution("silmm-random", {"random": "reproduce_random"}, {"reproduce_random": PLUGIN})
    monkeypatch.setenv("SILMM_LOAD_PLUGINS", "silmm-random,silmm")
    return Registry.load()


@pytest.fixture
def request_(tmp_path):
    """Return the request of a small reproduction: four prompts, six candidates, two steps."""
    path = tmp_path / "prompts.txt"
    path.write_text("\n".join(PROMPTS))
    small = (
        "images_per_prompt=6", "shard_size=2", "trainer.max_steps=2", "trainer.warmup_steps=1",
        "questioner=prompt-q",  # the random model has no words for self-q
    )
    return Request("random", "brightness", str(path), small)


@pytest.fixture
def forwards(monkeypatch):
    """Count the candidates that are decoded: all that is sampled, the evaluation's images included."""
    counted = []
    real = TinyContinuousRandom.decode
    monkeypatch.setattr(
        TinyContinuousRandom, "decode",
        lambda self, latents, seeds: counted.extend(seeds) or real(self, latents, seeds),
    )
    return counted


def test_table3_trains_every_kernel_on_the_same_candidates(registry, request_, forwards, tmp_path):
    """All rows have numbers; candidates are sampled once, features are shared, all bytes are as if alone."""
    table = EXPERIMENTS["table3"]
    result = reproduce(table, request_, tmp_path / "out", registry=registry)
    assert [line.status for line in result.lines] == [""] * len(table.rows)
    assert all({"attribute", "overall"} <= set(line.cells) for line in result.lines)
    runs = [line.plan.runs[0] for line in result.lines]
    assert len(set(runs)) == len(runs) - 1  # the base is the row of the paper's method
    assert len(forwards) == 4 * 6 + len(set(runs)) * 2 * 2
    later = result.shared[runs[1]]
    assert {"iter-1/sample", "iter-1/score", "iter-1/pairs", "iter-1/features"} <= set(later)
    assert "iter-1/train" not in later
    plan = result.lines[3].plan
    silmm.engine.run.start(plan.settings[0], tmp_path / "alone", registry=registry)
    actual = artefacts.hashes(tmp_path / "out" / "runs" / plan.runs[0])
    assert actual == artefacts.hashes(tmp_path / "alone")


@pytest.mark.parametrize("name", ["fig5", "fig6", "fig9"])
def test_figures_of_candidates_have_every_row(registry, request_, name, tmp_path):
    """Each sampler, rate and range of layers samples ten candidates a prompt, which are scored."""
    sets = tuple(text for text in request_.sets if not text.startswith(("images", "trainer")))
    request = Request("random", "brightness", request_.prompts, sets)
    result = reproduce(EXPERIMENTS[name], request, tmp_path / "out", registry=registry)
    assert [line.status for line in result.lines] == [""] * len(result.lines)
    for line in result.lines:
        every = [scores for prompts in line.scores.values() for scores in prompts]
        assert [len(scores) for scores in every] == [10] * len(PROMPTS)
        assert line.cells["best of each prompt"].value >= line.cells["overall"].value
