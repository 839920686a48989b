"""The loop of Figure 2: the model writes, samples, asks, answers and learns from its preferences."""

from __future__ import annotations

from pathlib import Path

from silmm.engine.iteration import Iteration
from silmm.engine.session import Session


def improve(session: Session) -> list[Path]:
    """Run all iterations and return their adapters; each tuned model is the next one's reference.

    Raises:
        Stopped: the stage of `--until` is finished.
        Incomplete: other shards are still to be done.
        SilmmError: a stage failed; what is committed stays, and the same call goes on from there.
    """
    adapters: list[Path] = []
    for number in range(1, session.settings.iterations + 1):
        iteration = Iteration(session, number, reference=adapters[-1] if adapters else None)
        iteration.write_prompts()  # step 1: compositional prompts
        iteration.sample_candidates()  # step 2: diverse representations and images
        iteration.ask_questions()  # step 3: prompts become yes/no questions
        iteration.score_candidates()  # step 4: the model answers them about its images
        iteration.choose_pairs()  # step 5: chosen and rejected ...
        iteration.keep_features()  # ... with their features, where z is no tokens, ...
        adapters.append(iteration.train_adapter())  # ... and the tuning on them
    return adapters
