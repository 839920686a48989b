"""The kit finds what it is for: each check passes sound models and fails a deliberately broken one."""

from __future__ import annotations

import inspect
import pickle
import socket
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from silmm import testing as kit
from silmm.contracts.models import BaseModel, SamplingParams
from silmm.lora.adapters import load_peft_adapter
from silmm.registry.registry import Registry
from silmm.testing import Cases, Nonconformance
from silmm.testing.conformance import BaseModelConformance
from tests.conformance.small_models import CASES, continuous, discrete

MAKE = {"discrete": discrete, "continuous": continuous}


class TestSmallDiscrete(BaseModelConformance):
    """The sound discrete model that the tests below break."""

    @pytest.fixture
    def make(self):
        return discrete

    @pytest.fixture
    def cases(self):
        return CASES


class TestSmallContinuous(BaseModelConformance):
    """The sound continuous model that the tests below break."""

    @pytest.fixture
    def make(self):
        return continuous

    @pytest.fixture
    def cases(self):
        return CASES


def instead(name, wrong):
    """Return a sabotage: method `name` becomes `wrong(the right method, *arguments)`."""

    def sabotage(model):
        right = getattr(model, name)
        setattr(model, name, lambda *args, **kw: wrong(right, *args, **kw))

    return sabotage


def attribute(name, value):
    return lambda model: setattr(model, name, value(model))


def noisy(right, *args):
    """Add noise of the process's own random state."""
    return [np.clip(x + torch.randint(0, 9, ()).item(), 0, 255).astype(x.dtype) for x in right(*args)]


def global_z(right, prompts, seeds, sampling):
    return right(prompts, [int(torch.randint(0, 2**31, ())) for _ in seeds], sampling)


def by_order(right, prompts, seeds, sampling):
    moved = len(prompts) > 1 and prompts[0] == CASES.prompts[-1]
    return right(prompts, [seed + moved for seed in seeds], sampling)


def full_vocabulary(model):
    """Let the likelihood's softmax run over words too, which are never sampled."""
    lm = model.language_model

    def code_likelihoods(out, codes):
        states = out.last_hidden_state[:, -lm.image_length :]
        logits = lm.logits(states, 0, lm.first_code + lm.codes).float()
        picked = logits.log_softmax(-1).gather(-1, (codes + lm.first_code)[..., None])
        return picked.squeeze(-1)

    lm.code_likelihoods = code_likelihoods


def warmer(model):
    """Sample at another temperature than that of the likelihood."""
    instead("represent", lambda right, p, s, d: right(p, s, replace(d, temperature=2.0)))(model)


def unfrozen(model):
    """Leave the embedding trainable, as happens when only the decoder is frozen."""
    model.extra = torch.nn.Linear(2, 2)


def spare_module(model):
    """Tune a module that the likelihood does not depend on."""
    model.backbone.model.spare = torch.nn.Linear(2, 2).requires_grad_(False)
    model.lora_targets = r"model\.(spare|layers\.0\.mlp\.up_proj)"


def in_training_mode(model):
    model.extra = torch.nn.Dropout(0.1).train().requires_grad_(False)


def detached(right, prompts, latents):
    return right(prompts, latents).detach()


def no_autocast_noise(right, prompts, latents):
    value = right(prompts, latents)
    return value * 1.5 if torch.is_autocast_enabled("cpu") else value


def adapter_shifts(model):
    """Normalise otherwise when an adapter is on: policy and reference differ at step 0."""

    def wrong(right, prompts, latents):
        shift = torch.arange(len(prompts)) if hasattr(model.backbone, "peft_config") else 0
        return right(prompts, latents) - shift

    instead("log_likelihood", wrong)(model)


BATCH = [
    ("discrete", kit.check_represent_by_batch, "is the same alone",
     instead("represent", lambda right, p, s, d: right(p, [x + len(p) for x in s], d))),
    ("discrete", kit.check_represent_by_batch, "in another order",
     instead("represent", by_order)),
    ("discrete", kit.check_likelihood_by_batch, "log_likelihood of 'a red circle' is the same alone",
     instead("log_likelihood", lambda right, p, z: right(p, z) + 0.1 * max(map(len, p)))),
    ("continuous", kit.check_features_by_batch, "features of",
     instead("features", lambda right, p, o=None: right(p, o) - right(p, o).mean(0) / 50)),
    ("discrete", kit.check_decode_by_batch, "decode of",
     instead("decode", lambda right, z, s: [x // len(z) for x in right(z, s)])),
    ("discrete", kit.check_answers_by_batch, "yes_no",
     instead("yes_no", lambda right, i, q: [a * 0 + 0.1 * len(i) for a in right(i, q)])),
    ("discrete", kit.check_answers_by_batch, "does not depend on the image's other questions",
     instead("yes_no", lambda right, i, q: [a * 0 + 0.1 * len(a) for a in right(i, q)])),
    ("discrete", kit.check_chat_by_batch, "does not depend on other requests",
     instead("chat", lambda right, r: [f"{x} {len(r)}" for x in right(r)])),
]
SEEDS = [
    ("discrete", kit.check_represent_by_seed, "random state", instead("represent", global_z)),
    ("discrete", kit.check_represent_by_seed, "sampled one and the same",
     instead("represent", lambda right, p, s, d: right(p, [7] * len(s), d))),
    ("continuous", kit.check_represent_by_seed, "the same",
     instead("represent", lambda right, p, s, d: [z + x for z, x in zip(right(p, s, d), s, strict=True)])),
    ("discrete", kit.check_decode_by_seed, "random state of torch", instead("decode", noisy)),
    ("discrete", kit.check_chat_by_seed, "random state of numpy",
     instead("chat", lambda right, r: [str(np.random.rand()) for _ in r])),
]
TRAINING = [
    ("discrete", kit.check_sampler_distribution, "tokens that may be sampled", full_vocabulary),
    ("discrete", kit.check_sampler_distribution, "standard errors", warmer),
    ("discrete", kit.check_token_likelihood, "the sum is log_likelihood",
     instead("log_likelihood", lambda right, p, z: right(p, z) * 1.1)),
    ("discrete", kit.check_token_likelihood, "tokens after it",
     instead("token_log_likelihood", lambda right, p, z: right(p, z).flip(1))),
    ("discrete", kit.check_gradients, "no LoRA weight", unfrozen),
    ("discrete", kit.check_gradients, "no gradient flows", instead("log_likelihood", detached)),
    ("discrete", kit.check_gradients, "lora_targets names a module",
     spare_module),
    ("discrete", kit.check_first_step, "margin at step 0 is 0", adapter_shifts),
    ("discrete", kit.check_dropout_is_off, "dropout is off",
     instead("log_likelihood", lambda right, p, z: F.dropout(right(p, z), 0.3, training=True))),
    ("discrete", kit.check_dropout_is_off, "extra is in training mode", in_training_mode),
    ("discrete", kit.check_bf16, "nats a token", instead("log_likelihood", no_autocast_noise)),
]
CAPABILITIES = [
    ("discrete", kit.check_capabilities, "'log_likelihood' is declared and missing",
     attribute("token_log_likelihood", lambda model: lambda p, z: BaseModel.token_log_likelihood(model, p, z))),
    ("discrete", kit.check_capabilities, "'log_likelihood' is not declared and works",
     attribute("capabilities", lambda model: model.capabilities - {"log_likelihood"})),
    ("continuous", kit.check_capabilities, "cannot have 'log_likelihood'",
     attribute("capabilities", lambda model: model.capabilities | {"log_likelihood"})),
    ("discrete", kit.check_capabilities, "none called 'fly'",
     attribute("capabilities", lambda model: model.capabilities | {"fly"})),
    ("discrete", kit.check_capabilities, "top_k=1",
     instead("represent", lambda right, p, s, d: right(p, s, replace(d, top_k=0)))),
    ("discrete", kit.check_capabilities, "top_p near 0",
     instead("represent", lambda right, p, s, d: right(p, s, replace(d, top_p=1.0)))),
    ("discrete", kit.check_capabilities, "a temperature of 100",
     instead("represent", lambda right, p, s, d: right(p, s, replace(d, temperature=1.0)))),
    ("discrete", kit.check_capabilities, "add up to at most 1",
     instead("yes_no", lambda right, i, q: [a + 0.6 for a in right(i, q)])),
    ("discrete", kit.check_capabilities, "below 0",
     instead("log_likelihood", lambda right, p, z: -right(p, z))),
    ("continuous", kit.check_capabilities, "query_offsets change nothing",
     instead("features", lambda right, p, o=None: right(p))),
    ("continuous", kit.check_capabilities, "mlp_blocks: blocks of the backbone",
     attribute("mlp_blocks", lambda model: lambda: [torch.nn.Linear(2, 2)])),
    ("continuous", kit.check_capabilities, "'explain' has an empty answer",
     instead("chat", lambda right, r: ["" if x.task == "explain" else "a" for x in r])),
    ("discrete", kit.check_shapes, "int32",
     instead("represent", lambda right, p, s, d: [z.astype(np.int64) for z in right(p, s, d)])),
    ("discrete", kit.check_shapes, r"uint8 \(H, W, 3\)",
     instead("decode", lambda right, z, s: [x[..., 0] for x in right(z, s)])),
    ("discrete", kit.check_shapes, "3 prompts",
     instead("represent", lambda right, p, s, d: right(p, s, d)[:2])),
    ("discrete", kit.check_shapes, "cannot read", instead("reads", lambda right, p: "blue" not in p)),
]


@pytest.mark.parametrize(("kind", "check", "message", "sabotage"), BATCH + SEEDS + TRAINING + CAPABILITIES)
def test_a_broken_model_is_found(kind, check, message, sabotage):
    """A check passes the sound model and fails the broken one with a message that names the fault."""
    check(MAKE[kind](), CASES)
    model = MAKE[kind]()
    sabotage(model)
    with pytest.raises(Nonconformance, match=message):
        check(model, CASES)


def test_targets_that_are_not_anchored_are_found():
    """A target pattern that matches projections of other networks, or nothing, is refused."""
    model = discrete()
    assert kit.check_lora_targets(model) == 14
    for pattern, message in ((r".*[qkvo]_proj", "not anchored"), (r"layers\.0\.q", "matches no module")):
        model.lora_targets = pattern
        with pytest.raises(Nonconformance, match=message):
            kit.check_lora_targets(model)


def test_an_adapter_that_peft_cannot_carry_is_found(tmp_path):
    """A model that needs more than plain peft to load an adapter is refused."""
    assert kit.check_adapter_round_trip(discrete, CASES, tmp_path / "sound") < CASES.tolerance

    def louder():
        model = discrete()

        def load_adapter(folder):
            load_peft_adapter(model, folder)
            for name, parameter in model.backbone.named_parameters():
                if "lora_B" in name:
                    parameter.mul_(2)

        model.load_adapter = load_adapter
        return model

    def deaf():
        model, other = discrete(), discrete()
        model.log_likelihood = other.log_likelihood
        return model

    with pytest.raises(Nonconformance, match="plain peft saved"):
        kit.check_adapter_round_trip(louder, CASES, tmp_path / "louder")
    with pytest.raises(Nonconformance, match="leave the value as it is"):
        kit.check_adapter_round_trip(deaf, CASES, tmp_path / "deaf")


def test_a_model_that_is_not_as_registered_is_found():
    """A model of another kind or with other capabilities than registered fails the check."""
    entry = Registry.load().entry("model", "tiny-discrete")
    kit.check_registration(entry, discrete())
    with pytest.raises(Nonconformance, match="registered as discrete and is continuous"):
        kit.check_registration(entry, continuous())
    with pytest.raises(Nonconformance, match="declares"):
        kit.check_registration(replace(entry, capabilities=frozenset({"chat"})), discrete())


def connecting():
    with socket.socket() as link:
        link.settimeout(0.2)
        link.connect(("127.0.0.1", 9))
    return discrete()


def connecting_quietly():
    try:
        return connecting()
    except Exception:
        return discrete()


def test_a_model_that_wants_the_network_or_a_pickle_is_found(tmp_path):
    """A model that opens a connection, or a file that may run code, fails the check."""
    file = tmp_path / "weights.pth"
    torch.save({"a": torch.ones(1)}, file)

    def loading(**options):
        return lambda: torch.load(file, **options) and discrete()

    def unpickling():
        with (tmp_path / "x.pkl").open("wb") as out:
            pickle.dump(1, out)
        with (tmp_path / "x.pkl").open("rb") as source:
            pickle.load(source)  # noqa: S301 - what the kit has to refuse
        return discrete()

    kit.check_safe_loading(loading(weights_only=True), CASES)
    for make, message in (
        (connecting, r"reach \('127.0.0.1', 9\)"),
        (connecting_quietly, "hid the refusal"),
        (loading(weights_only=False), "without weights_only=True"),
        (loading(), "without weights_only=True"),
        (unpickling, "code or objects"),
    ):
        with pytest.raises(Nonconformance, match=message):
            kit.check_safe_loading(make, CASES)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"prompts": ["a", "b"], "questions": [[], ["c"]]}, "unequal length"),
        ({"questions": [["a"]] * 3}, "unequal numbers"),
        ({"questions": [["a"], []]}, "as many lists"),
    ],
)
def test_cases_that_could_not_fail_are_refused(changes, message):
    """Cases whose prompts need no padding, or have equally many questions, are refused."""
    with pytest.raises(ValueError, match=message):
        replace(CASES, **changes)


def test_a_class_without_fixtures_says_what_it_needs():
    """A class without a fixture fails with the name of that fixture."""
    base = BaseModelConformance()
    for name in ("make", "cases"):
        plain = inspect.unwrap(getattr(BaseModelConformance, name))
        function = getattr(plain, "_fixture_function", plain)
        with pytest.raises(NotImplementedError, match=f"fixture `{name}`"):
            function(base)


def test_everything_public_is_listed():
    """`silmm.testing.__all__` lists all checks and nothing else."""
    defined = {name for name in vars(kit) if name.startswith(("check_", "no_"))}
    assert defined | {"Cases", "Nonconformance"} == set(kit.__all__)


def test_every_check_of_models_is_in_the_class():
    """The conformance class runs every check of base models."""
    source = inspect.getsource(BaseModelConformance)
    others = {"check_sampler", "check_scorer", "check_pair_rule", "check_aggregation", "check_distance",
              "check_trainer", "check_registration"}
    assert [name for name in kit.__all__ if name.startswith("check_") and name not in others
            and f"kit.{name}(" not in source] == []


def test_plain_sampling_is_what_the_distribution_is_checked_with():
    """The likelihood is compared with samples at temperature 1, whatever the cases sample with."""
    cold = Cases(CASES.prompts, CASES.questions, sampling=SamplingParams(temperature=0.1), tolerance=2e-4)
    assert kit.check_sampler_distribution(discrete(), cold, 64) < 5
