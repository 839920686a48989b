"""Writes docs/results/conformance.md, the kit on all base models: ``python docs/make_conformance.py``."""

from __future__ import annotations

import inspect
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from pathlib import Path

from silmm.testing.conformance import BaseModelConformance

ROOT = Path(__file__).parent.parent
TARGET = Path(__file__).parent / "results" / "conformance.md"
CLASSES = {
    "tiny-discrete": "tests/conformance/test_embedded_models.py::TestTinyDiscrete",
    "tiny-continuous": "tests/conformance/test_embedded_models.py::TestTinyContinuous",
    "janus": "tests/plugins/models/janus/test_conformance.py::TestRecorded",
    "emu3": "tests/plugins/models/emu3/test_conformance.py::TestRecorded",
    "seed-llama": "tests/plugins/models/seed_llama/test_conformance.py::TestRecorded",
    "dreamllm": "tests/plugins/models/dreamllm/test_conformance.py::TestRecorded",
    "vlm-diffusion": "tests/plugins/models/vlm_diffusion/test_conformance.py::TestVlmDiffusion",
}
"""Model to the class that runs the kit on it."""
HEAD = """\
# Conformance of the base models

Made by `python docs/make_conformance.py` with the [kit](../plugins.md#the-conformance-kit), in float32 on a
CPU. The embedded models have their shipped weights; `janus`, `emu3`, `seed-llama` and `dreamllm` the recorded
tiny checkpoints in their original layouts (`seed-llama` with a random unCLIP pipeline); `vlm-diffusion` has a
random pipeline. Discrete models sample without guidance.

A number is the largest difference that the check found, |a - b| / (1 + |b|) unless the row says otherwise.
Its bound is 1e-4, for the embedded models 2e-4 (they sum float32 in another order). *ok* is a check without a
number, – one of something that the model does not declare. Likelihoods are of whole images, in nats.
Differences far below the bound are roundings: their digits change with the processor and the threads.
"""
UNITS = {
    "test_likelihood_is_the_samplers": "standard errors from 0, at most 6",
    "test_lora_targets": "modules",
    "test_first_step": "largest margin",
    "test_bf16": "nats a token, or a share of the norm of H; at most 0.05",
    "test_decode_by_batch": "a level of 255 is 0.004",
}


def results(path: Path) -> dict[str, dict[str, str]]:
    """Return model -> test -> what stands in its cell, from a junit file."""
    names = {node.replace("/", ".").replace(".py::", "."): model for model, node in CLASSES.items()}
    result_by_model: dict[str, dict[str, str]] = {model: {} for model in CLASSES}
    for case in ET.parse(path).getroot().iter("testcase"):  # noqa: S314 - pytest wrote it just now
        model = names.get(case.get("classname", ""))
        if model:
            result_by_model[model][case.get("name", "")] = _cell(case)
    return result_by_model


def _cell(case: ET.Element) -> str:
    if case.find("failure") is not None or case.find("error") is not None:
        return "**fails**"
    if case.find("skipped") is not None:
        return "–"
    for recorded in case.iter("property"):
        value = float(recorded.get("value", ""))
        return f"{value:.1e}" if 0 < abs(value) < 0.1 else f"{value:.3g}"
    return "ok"


def page(result_by_model: Mapping[str, Mapping[str, str]]) -> str:
    """Return the page: a row for each check, a column for each model."""
    checks = {
        name: inspect.getdoc(test) or name
        for name, test in vars(BaseModelConformance).items()
        if name.startswith("test_")
    }
    head = ["promise", *(f"`{model}`" for model in result_by_model)]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for name, docstring in checks.items():
        promise = docstring.rstrip(".").replace("|", r"\|")
        unit = f" ({UNITS[name]})" if name in UNITS else ""
        cells = [of_model.get(name, "not run") for of_model in result_by_model.values()]
        lines.append(f"| {promise}{unit} | " + " | ".join(cells) + " |")
    return HEAD + "\n" + "\n".join(lines) + "\n"


def main() -> None:
    """Run the kit and write the page; the exit code is pytest's."""
    with tempfile.TemporaryDirectory() as folder:
        junit = Path(folder) / "kit.xml"
        command = [sys.executable, "-m", "pytest", "-q", f"--junit-xml={junit}", *CLASSES.values()]
        done = subprocess.run(command, cwd=ROOT, check=False)  # noqa: S603 - our own tests
        TARGET.write_text(page(results(junit)), encoding="utf-8")
    raise SystemExit(done.returncode)


if __name__ == "__main__":
    main()
