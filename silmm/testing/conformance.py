"""The class of tests that runs every check on a base model; the only module of the kit that needs pytest."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest

from silmm import testing as kit
from silmm.contracts.models import BaseModel
from silmm.lora.loading import load_adapter
from silmm.testing.cases import Cases, trains

Record = Callable[[str, object], None]


class BaseModelConformance:
    """All checks of a base model. A subclass called `Test…` gives the two fixtures `make` and `cases`::

        class TestMine(BaseModelConformance):
            @pytest.fixture
            def make(self):
                return lambda: Mine(seed=0)  # a fresh model each time, with the same weights

            @pytest.fixture
            def cases(self):
                return Cases(prompts=[…], questions=[[…], …])

    Both may take further fixtures. A check of something that the model does not declare is skipped. The
    largest differences are properties of the tests, which `pytest --junit-xml` writes.
    """

    samples: ClassVar[int] = 256
    """Candidates sampled where the likelihood is compared with the sampler."""
    _built: BaseModel | None = None

    @pytest.fixture
    def make(self) -> Callable[[], BaseModel]:
        """Return what builds the model."""
        raise NotImplementedError(f"{type(self).__name__} needs a fixture `make`: a function that builds it")

    @pytest.fixture
    def cases(self) -> Cases:
        """Return what the model is asked."""
        raise NotImplementedError(f"{type(self).__name__} needs a fixture `cases`: a silmm.testing.Cases")

    @pytest.fixture
    def model(self, make: Callable[[], BaseModel]) -> BaseModel:
        """Return one model for all tests of the class, without an adapter."""
        own = type(self)
        if own._built is None:
            own._built = make()
        load_adapter(own._built, None)
        return own._built

    @pytest.fixture
    def record(self, request: pytest.FixtureRequest) -> Record:
        """Return what keeps a number with the test's report (record_property warns with junit files)."""
        return lambda name, value: request.node.user_properties.append((name, value))

    @classmethod
    def teardown_class(cls) -> None:
        """Let go of the model."""
        cls._built = None

    def _need(self, model: BaseModel, capability: Any) -> None:
        if capability not in model.capabilities:
            pytest.skip(f"the model does not declare {capability!r}")

    def test_types_shapes_and_order(self, model: BaseModel, cases: Cases) -> None:
        """Representations and images have the types and shapes of the contract, one for each input."""
        kit.check_shapes(model, cases)

    def test_capabilities_tell_the_truth(self, model: BaseModel, cases: Cases) -> None:
        """What is declared works, what is not declared raises."""
        kit.check_capabilities(model, cases)

    def test_represent_by_batch(self, model: BaseModel, cases: Cases, record: Record) -> None:
        """z does not depend on what it was batched with or padded to."""
        record("difference", kit.check_represent_by_batch(model, cases))

    def test_likelihood_by_batch(self, model: BaseModel, cases: Cases, record: Record) -> None:
        """log pi(z|x) does not depend on what it was batched with or padded to."""
        self._need(model, "log_likelihood")
        record("difference", kit.check_likelihood_by_batch(model, cases))

    def test_features_by_batch(self, model: BaseModel, cases: Cases, record: Record) -> None:
        """H does not depend on what it was batched with or padded to."""
        self._need(model, "features")
        record("difference", kit.check_features_by_batch(model, cases))

    def test_decode_by_batch(self, model: BaseModel, cases: Cases, record: Record) -> None:
        """An image does not depend on what it was decoded with."""
        record("difference", kit.check_decode_by_batch(model, cases))

    def test_answers_by_batch(self, model: BaseModel, cases: Cases, record: Record) -> None:
        """p(yes), p(no) do not depend on other images and questions."""
        self._need(model, "yes_no")
        record("difference", kit.check_answers_by_batch(model, cases))

    def test_chat_by_batch(self, model: BaseModel, cases: Cases) -> None:
        """Greedy text does not depend on other requests."""
        self._need(model, "chat")
        kit.check_chat_by_batch(model, cases)

    def test_represent_by_seed(self, model: BaseModel, cases: Cases) -> None:
        """A candidate's own seed decides it, and the process's random state is left alone."""
        kit.check_represent_by_seed(model, cases)

    def test_decode_by_seed(self, model: BaseModel, cases: Cases) -> None:
        """One z and one seed give one image, to the last bit."""
        kit.check_decode_by_seed(model, cases)

    def test_chat_by_seed(self, model: BaseModel, cases: Cases) -> None:
        """A request and its seed decide the text."""
        self._need(model, "chat")
        kit.check_chat_by_seed(model, cases)

    def test_likelihood_is_the_samplers(self, model: BaseModel, cases: Cases, record: Record) -> None:
        """log pi(z|x) is the distribution that plain sampling samples from."""
        self._need(model, "log_likelihood")
        record("standard_errors", kit.check_sampler_distribution(model, cases, self.samples))

    def test_likelihood_by_token(self, model: BaseModel, cases: Cases, record: Record) -> None:
        """The tokens' likelihoods add up to log pi(z|x), and none depends on later tokens."""
        self._need(model, "token_log_likelihood")
        record("difference", kit.check_token_likelihood(model, cases))

    def test_lora_targets(self, model: BaseModel, record: Record) -> None:
        """`lora_targets` is anchored in the text backbone and matches something."""
        self._need_training(model)
        record("modules", kit.check_lora_targets(model))

    def test_gradients_reach_lora_alone(self, model: BaseModel, cases: Cases) -> None:
        """Every LoRA weight gets a gradient, and nothing else does."""
        self._need_training(model)
        kit.check_gradients(model, cases)

    def test_first_step(self, model: BaseModel, cases: Cases, record: Record) -> None:
        """At step 0 the margin is 0 and the loss ln 2."""
        self._need_training(model)
        record("margin", kit.check_first_step(model, cases))

    def test_dropout_is_off(self, model: BaseModel, cases: Cases) -> None:
        """A forward pass with gradients has no chance in it; frozen parts are in eval mode."""
        self._need_training(model)
        kit.check_dropout_is_off(model, cases)

    def test_adapter_round_trip(
        self, make: Callable[[], BaseModel], cases: Cases, tmp_path: Path, record: Record
    ) -> None:
        """A saved adapter gives the same values through plain peft and back."""
        self._need_training(make())
        record("difference", kit.check_adapter_round_trip(make, cases, tmp_path))

    def test_bf16(self, model: BaseModel, cases: Cases, record: Record) -> None:
        """bfloat16 autocast stays within its tolerance of float32."""
        self._need_training(model)
        record("difference", kit.check_bf16(model, cases))

    def test_loading_is_safe(self, make: Callable[[], BaseModel], cases: Cases) -> None:
        """Loading and sampling use no network, no pickle and no remote code."""
        kit.check_safe_loading(make, cases)

    def _need_training(self, model: BaseModel) -> None:
        if not trains(model):
            pytest.skip("the model declares neither 'log_likelihood' nor 'features'")
