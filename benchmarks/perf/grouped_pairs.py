"""A DPO step on k×k pairs a prompt: 2k likelihoods and a stored reference, against pair by pair."""

from __future__ import annotations

from silmm_plugins.models.tiny_discrete.model import TinyDiscrete

from benchmarks.perf import dpo_steps, measure, workload

CASES = ((8, 1), (8, 2), (8, 3), (2, 10))
"""(prompts, k)."""


def compare(model: TinyDiscrete, prompts: int, k: int, repeats: int) -> measure.Comparison:
    """Check that all ways give the same gradients, then time them on the same pairs."""
    preferences = workload.preferences(model, prompts, k)
    training = dpo_steps.prepare(model, preferences)
    single = dpo_steps.prepare(model, dpo_steps.pair_by_pair(preferences))
    dpo_steps.step(training)
    expected = dpo_steps.gradients(training)
    dpo_steps.step_and_reference(single)
    dpo_steps.check_same_gradients(expected, dpo_steps.gradients(single))
    pairs = prompts * k * k
    seconds = measure.interleaved(
        {
            measure.OURS: lambda: dpo_steps.step(training),
            "ours, reference not yet stored": lambda: dpo_steps.step_and_reference(training),
            "pair by pair, reference stored": lambda: dpo_steps.step(single),
            "pair by pair, reference each time": lambda: dpo_steps.step_and_reference(single),
        },
        repeats,
    )
    return measure.Comparison(f"{prompts} prompts, {k}×{k} = {pairs} pairs", pairs, seconds)


def main() -> None:
    """Print the table."""
    options = measure.arguments(__doc__ or "", repeats=5)
    model, weights = workload.load_model()
    dpo_steps.attach_adapter(model)
    rows = [compare(model, prompts, k, options.repeats) for prompts, k in CASES]
    measure.publish("grouped_pairs", "pairs", weights, rows)


if __name__ == "__main__":
    main()
