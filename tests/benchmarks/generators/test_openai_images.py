"""An images endpoint is asked politely, its refusals are kept, and the key stays where it is."""

from __future__ import annotations

import json
import logging
import time

import pytest
from silmm_benchmarks.generators.openai_images import open_images
from silmm_benchmarks.generators.options import OpenAIImagesOptions

from silmm.bench.open_generator import choose_generator
from silmm.contracts.generators import GenerationFailure, Generator
from silmm.errors import UsageError
from silmm.registry.registry import Registry
from tests.benchmarks.generators.endpoint_server import colour, error, opened

KEY = "sk-secret-0123456789"


@pytest.fixture
def served(monkeypatch):
    """A running endpoint."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with opened() as server:
        yield server


@pytest.fixture
def ask(served):
    """Open the endpoint's model with a key and short pauses."""

    def make(model="dall-e-3", **options):
        given = OpenAIImagesOptions(model=model, base_url=served.address, **options)
        generator = open_images(given, {"OPENAI_API_KEY": KEY})
        generator.endpoint.first_pause = 0.01
        return generator

    return make


def test_images_come_in_the_order_of_their_prompts(served, ask):
    """Asked at the same time, each prompt gets its own image, with what the endpoint made of the prompt."""
    prompts = [f"{'very ' * place}red" for place in range(8)]
    images = ask(concurrency=4).generate(prompts, range(8))
    assert [one.getpixel((0, 0)) for one in images] == [colour(prompt) for prompt in prompts]
    assert images[0].info["revised_prompt"] == "An image of red"


def test_the_request_holds_what_was_asked_for(served, ask):
    """Model, size and quality go out; seeds only where the endpoint takes them."""
    ask(width=512, height=256, quality="hd").generate(["red"], [9])
    expected = {
        "model": "dall-e-3", "prompt": "red", "n": 1, "size": "512x256", "quality": "hd",
        "response_format": "b64_json",
    }
    assert served.bodies == [expected]
    ask("other-model", send_seed=True).generate(["red"], [9])
    assert served.bodies[1] == {
        "model": "other-model", "prompt": "red", "n": 1, "size": "1024x1024", "seed": 9,
    }
    assert served.keys == [f"Bearer {KEY}"] * 2


def test_a_image_by_address_is_fetched_without_the_key(served, ask):
    """Where the answer is an address, the image is fetched from there, and the key stays home."""
    served.by_address = True
    (image,) = ask().generate(["red"], [1])
    assert image.size == (8, 8)
    assert served.keys == [f"Bearer {KEY}", None]


def test_a_image_that_is_paid_for_is_fetched_again(served, ask):
    """A server that is busy or cut off when the image is fetched is asked again; nothing is sampled twice."""
    served.by_address = True
    served.busy_files = served.cut_files = 1
    (image,) = ask().generate(["red"], [1])
    assert image.size == (8, 8)
    assert len(served.bodies) == 1
    assert served.keys == [f"Bearer {KEY}", None, None, None]


def test_an_answer_without_end_is_no_answer(served, ask, monkeypatch):
    """A server that sends byte after byte, never silent, is left at the timeout; a flood at the limit."""
    served.drip = 0.02
    start = time.monotonic()
    (failure,) = ask(attempts=1, timeout=0.2).generate(["red"], [1])
    assert "takes longer than 0.2 seconds" in failure.detail
    assert time.monotonic() - start < 2
    served.drip = 0
    monkeypatch.setattr("silmm_benchmarks.generators.endpoint.MAX_BYTES", 20)
    (failure,) = ask(attempts=1).generate(["red"], [1])
    assert "more than 20 bytes" in failure.detail


def test_what_a_server_says_moves_no_cursor(served, ask):
    """Escape sequences in a message are shown, not obeyed."""
    served.answers = [(400, {}, error("\x1b[2Jno\n", "content_policy_violation"))]
    (failure,) = ask().generate(["red"], [1])
    assert failure.detail == r"\x1b[2Jno\n"


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://127.0.0.1/a", "data:image/png,A", "x", 5])
def test_an_address_that_is_not_on_the_web_is_not_opened(served, ask, url):
    """An endpoint cannot make us read local files."""
    served.answers = [(200, {}, {"data": [{"url": url}]})]
    (failure,) = ask(attempts=1).generate(["red"], [1])
    assert isinstance(failure, GenerationFailure)
    assert (failure.reason, failure.final) == ("failed", False)


def test_a_refused_prompt_is_recorded_and_stops_no_other(served, ask):
    """A breach of the endpoint's rules is that item's final failure; the others have images."""
    served.refused = ("blood",)
    first, second, third = ask().generate(["red", "blood", "tea"], [1, 2, 3])
    assert (second.reason, second.final) == ("refused", True)
    assert second.detail == "Your request was rejected."
    assert first.size == third.size == (8, 8)
    assert len(served.bodies) == 3


def test_a_prompt_that_does_not_fit_is_recorded(served, ask):
    """A prompt that is too long for the model is that item's failure, not everybody's."""
    served.answers = [(400, {}, error("too long", "string_above_max_length", param="prompt"))]
    (failure,) = ask().generate(["red"], [1])
    assert (failure.reason, failure.final) == ("unreadable", True)


def test_busy_servers_are_asked_again_when_they_say(served, ask):
    """429 with Retry-After waits as long; 500 and 503 wait ever longer; then the image comes."""
    slow_down = (429, {"Retry-After": "1"}, error("slow down", "rate_limit_exceeded"))
    served.answers = [slow_down, (500, {}, {}), (503, {}, {})]
    start = time.monotonic()
    (image,) = ask().generate(["red"], [1])
    assert image.size == (8, 8)
    assert time.monotonic() - start >= 1
    assert len(served.bodies) == 4


def test_after_all_tries_the_failure_may_be_tried_again_later(served, ask):
    """A dead endpoint is no property of the prompt: a resumed run asks again."""
    served.answers = [(503, {}, {})] * 9
    (failure,) = ask(attempts=3).generate(["red"], [1])
    assert (failure.reason, failure.final) == ("failed", False)
    assert "503" in failure.detail
    assert len(served.bodies) == 3


@pytest.mark.parametrize(
    "content", [b"<html>", [1], {"data": []}, {"data": [{}]}, {"data": [{"b64_json": "!!"}]}, {"data": "x"},
                {"data": [{"b64_json": "AAAA"}]}, {"data": [None]}, {"data": [{"b64_json": "é"}]},
                {"data": [{"b64_json": 7}]}, b"[" * 100_000],
)
def test_a_broken_answer_is_a_failure_of_that_item(served, ask, content):
    """No JSON, no image, an image that is none: never an exception, never a silent gap."""
    served.answers = [(200, {}, content)]
    broken, fine = ask(attempts=1, concurrency=1).generate(["red", "tea"], [1, 2])
    assert isinstance(broken, GenerationFailure)
    assert broken.final is False
    assert fine.size == (8, 8)


@pytest.mark.parametrize(
    ("code", "content", "message"),
    [
        (401, error(f"Incorrect API key provided: {KEY}"), "does not accept the key"),
        (404, error("The model does not exist", "model_not_found"), "The model does not exist"),
        (400, error("Invalid size", "invalid_value", param="size"), "Invalid size"),
        (429, error("no money", "insufficient_quota"), "nothing left"),
        (302, {}, "HTTP 302"),
    ],
)
def test_what_no_other_prompt_would_change_stops_at_once(served, ask, code, content, message):
    """A wrong key, model or size and an empty account end the command, without the key in the message."""
    served.answers = [(code, {"Location": "http://127.0.0.1:1/"}, content)]
    with pytest.raises(UsageError, match=message) as caught:
        ask().generate(["red"], [1])
    assert KEY not in str(caught.value)
    assert len(served.bodies) == 1


def test_images_that_came_before_the_stop_are_kept(served, ask):
    """When the account is empty midway, what was sampled at the same time is returned; then it stops."""
    served.answers = [(429, {}, error("no money", "insufficient_quota"))]
    generator = ask(concurrency=3)
    found = generator.generate(["a", "b", "c"], [1, 2, 3])
    failures = [one for one in found if isinstance(one, GenerationFailure)]
    assert [(one.reason, one.final) for one in failures] == [("failed", False)]
    with pytest.raises(UsageError, match="nothing left"):
        generator.generate(["d"], [4])
    assert len(served.bodies) == 3


def test_the_key_is_in_nothing_that_is_kept_or_shown(served, ask, caplog, capfd):
    """Identity, representation, announcement, failures, logs and output hold no key."""
    caplog.set_level(logging.DEBUG)
    generator = ask(attempts=1)
    served.answers = [(400, {}, error(f"{KEY} is bad", "content_policy_violation"))]
    failures = generator.generate(["red"], [1])
    shown = [repr(generator), json.dumps(generator.identity), generator.announce(3), repr(failures)]
    captured = capfd.readouterr()
    assert KEY not in "".join([*shown, caplog.text, captured.out, captured.err])
    assert "[key] is bad" in failures[0].detail


def test_the_rate_limit_is_kept_over_all_threads(served, ask):
    """Requests start no faster than asked for, however many go at the same time."""
    ask(requests_per_minute=1200, concurrency=4).generate(["a", "b", "c", "d", "e"], range(5))
    moments = sorted(served.moments)
    assert moments[-1] - moments[0] >= 4 * 60 / 1200 * 0.8


def test_no_more_requests_than_allowed_are_open(served, ask):
    """`concurrency` is the most requests at the same time, and it is used."""
    served.delay = 0.1
    ask(concurrency=3).generate(["red"] * 9, range(9))
    assert 2 <= served.most <= 3


def test_the_cost_is_estimated_before_the_start(served, ask):
    """With a price the announcement multiplies it; without one it says that it cannot."""
    assert "about 12.00" in ask(price=0.04).announce(300)
    assert "300 images" in ask().announce(300)
    assert served.bodies == []


@pytest.mark.parametrize(
    ("environ", "base_url", "message"),
    [
        ({}, "", "OPENAI_API_KEY is not set"),
        ({"OPENAI_API_KEY": "sk\nX: y"}, "", "characters that no key has"),
        ({"OPENAI_API_KEY": KEY}, "http://example.org/v1", "unprotected"),
        ({"OPENAI_API_KEY": KEY}, "https://user:pw@example.org/v1", "no user"),
        ({"OPENAI_API_KEY": KEY}, "https://example.org/v1?key=1", "no user"),
        ({"OPENAI_API_KEY": KEY}, "file:///etc", "no address"),
        ({"OPENAI_BASE_URL": "nonsense"}, "", "no address"),
    ],
)
def test_an_unsafe_address_or_key_is_refused(environ, base_url, message):
    """The key goes out over https or to this machine alone, and addresses carry no secrets into results."""
    with pytest.raises(UsageError, match=message) as caught:
        open_images(OpenAIImagesOptions(model="dall-e-3", base_url=base_url), environ)
    assert KEY not in str(caught.value)
    assert "pw" not in str(caught.value)


def test_the_environment_names_the_endpoint(served, monkeypatch):
    """OPENAI_BASE_URL is taken where no option is given, and an endpoint of one's own needs no key."""
    monkeypatch.setenv("OPENAI_BASE_URL", served.address + "/")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    registry = Registry.load()
    generator = choose_generator("openai-images:my-model", {}, registry).open(registry)
    assert isinstance(generator, Generator)
    assert generator.identity["endpoint"] == served.address
    (image,) = generator.generate(["red"], [1])
    assert image.size == (8, 8)
    assert served.keys == [None]


def test_an_endpoint_that_is_not_there_is_a_failure_per_item():
    """A refused connection is told with its reason, and may be tried again."""
    given = OpenAIImagesOptions(model="m", base_url="http://127.0.0.1:9/v1", attempts=1)
    (failure,) = open_images(given, {}).generate(["red"], [1])
    assert (failure.reason, failure.final) == ("failed", False)


def test_denoising_options_are_refused():
    """Steps and guidance would be without effect at an endpoint, so they are an error."""
    with pytest.raises(UsageError, match="no option 'steps'"):
        choose_generator("openai-images:m", {"generator": {"steps": "3"}}, Registry.load())
