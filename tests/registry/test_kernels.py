"""A kernel is any registered aggregation with any registered distance, named after both."""

from __future__ import annotations

import pytest
import torch

from silmm.contracts.options import describe
from silmm.engine.settings_resolution import resolve_settings
from silmm.errors import PluginError, UsageError
from silmm.registry.registry import Registry

HEAD = """
from pydantic import Field, field_validator
from silmm import hookimpl
from silmm.contracts.options import Options

class Window(Options):
    width: int = Field(2, ge=1, description="positions in a window", json_schema_extra={"unit": "positions"})

    @field_validator("width", mode="before")
    @classmethod
    def _words(cls, value):
        return 3 if value == "wide" else value

class Power(Options):
    power: float = Field(2.0, gt=0, description="exponent", json_schema_extra={"paper": "Sec. 9"})

    @field_validator("power")
    @classmethod
    def _even(cls, value):
        if value % 2:
            raise ValueError("odd")
        return value

class Clash(Options):
    width: float = 1.0

class Hidden(Options):
    scale: float = 1.0

    @field_validator("scale")
    @classmethod
    def _words(cls, value):
        return value

def window(options):
    return lambda features: features[..., :options.width, :].mean(-2, keepdim=True)

def power(options):
    assert set(options.model_dump()) == {"power"}
    return lambda a, b: (a - b).abs().pow(options.power).sum((-2, -1))

def gram(options):
    return lambda a, b: (a @ a.mT - b @ b.mT).square().sum((-2, -1))
"""


def aggregations(*registrations: str) -> str:
    return hook("aggregations", *registrations)


def distances(*registrations: str) -> str:
    return hook("distances", *registrations)


def hook(kind: str, *registrations: str) -> str:
    lines = "".join(f"    register({registration})\n" for registration in registrations)
    return f"\n@hookimpl\ndef silmm_register_{kind}(register):\n{lines}"


WINDOW = "'win-dow', window, summary='A window.', options=Window, paper='Sec. 8', kinds=('continuous',)"
POWER = "'power', power, summary='A power.', options=Power, paper='Sec. 9', requires=('features',)"


@pytest.fixture
def install(fake_distribution):
    """Install distributions of the given hooks, beside the built-in ones if asked, and load them."""

    def load(builtin=False, **sources):
        for name, source in sources.items():
            module = f"kernels_{name}"
            fake_distribution(name, {name: module}, {module: HEAD + source})
        chosen = ",".join([*(["silmm"] if builtin else []), *sources])
        registry = Registry.load({"SILMM_LOAD_PLUGINS": chosen})
        assert registry.broken == ()
        return registry

    return load


def kernels(registry: Registry) -> list[str]:
    return [entry.name for entry in registry.entries("kernel")]


def test_every_aggregation_goes_with_every_distance(install):
    """A third party's distance and aggregation make a kernel with every registered half."""
    registry = install(builtin=True, other=aggregations(WINDOW) + distances(POWER))
    assert set(kernels(registry)) == {
        *("eucl", "cos", "power", "maxpool-eucl", "maxpool-cos", "maxpool-power", "avgpool-eucl"),
        *("avgpool-cos", "avgpool-power", "win-dow-eucl", "win-dow-cos", "win-dow-power"),
    }
    a, b = torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(0))
    kernel = registry.build("kernel", "avgpool-power", {"power": 4})
    torch.testing.assert_close(kernel(a, b), (a.mean(0) - b.mean(0)).pow(4).sum())
    kernel = registry.build("kernel", "win-dow-eucl", {"width": 3})
    torch.testing.assert_close(kernel(a, b), (a[:3].mean(0) - b[:3].mean(0)).square().sum())


def test_the_entry_of_a_kernel_tells_of_both_halves(install):
    """Needs, owners, places and options of a kernel are those of its two halves together."""
    registry = install(one=aggregations(WINDOW), two=distances(POWER))
    entry = registry.entry("kernel", "win-dow-power")
    assert [half.qualified for half in entry.halves] == ["one/win-dow", "two/power"]
    assert (entry.distribution, entry.version) == ("one+two", "1.0+1.0")
    assert (entry.kinds, entry.requires) == (("continuous",), {"features"})
    assert (entry.paper, entry.summary) == ("Sec. 8; Sec. 9", "A window. A power.")
    described = {option.name: (option.default, option.unit, option.paper) for option in describe(entry.options)}
    assert described == {"width": (2, "positions", ""), "power": (2.0, "", "Sec. 9")}


def test_options_of_a_kernel_are_checked_by_the_rules_of_both_halves(install):
    """Values reach their half as its own rules read them, and each half can refuse one."""
    registry = install(one=aggregations(WINDOW), two=distances(POWER))
    a = torch.ones(4, 2)
    built = registry.build("kernel", "win-dow-power", {"width": "wide", "power": 2})
    assert built(a, torch.diag(torch.ones(4))[:, :2]) == pytest.approx(2 * (2 / 3) ** 2)
    for wrong, reason in (({"width": 0}, "greater than or equal to 1"), ({"power": 3}, "odd")):
        with pytest.raises(ValueError, match=reason):
            registry.build("kernel", "win-dow-power", wrong)


@pytest.mark.parametrize(
    ("half", "reason"),
    [("Clash", "both have an option 'width'"), ("Hidden", "both define '_words'")],
)
def test_halves_whose_options_clash_spoil_that_pair_alone(install, half, reason):
    """Two halves with an option of one name cannot be a kernel; each works with other halves."""
    clash = f"'clash', gram, summary='C.', options={half}"
    registry = install(one=aggregations(WINDOW, "'none', window, summary='N.'"), two=distances(clash))
    assert kernels(registry) == ["clash", "win-dow-clash"]
    assert reason in registry.entries("kernel")[1].summary
    with pytest.raises(PluginError, match=rf"'win-dow' of one and .*'clash' of two.*{reason}"):
        registry.entry("kernel", "win-dow-clash")
    assert registry.entry("kernel", "clash").options.__name__ == half


def test_names_that_can_be_split_in_two_ways_are_refused_with_both(install):
    """A name that is `a` with `b-c` and `a-b` with `c` is an error that lists both readings."""
    first = aggregations("'a', window, summary='A.'", "'a-b', window, summary='A.'")
    second = distances("'b-c', gram, summary='D.'", "'c', gram, summary='D.'")
    registry = install(one=first + second)
    assert kernels(registry) == ["a-b-b-c", "a-b-c", "a-b-c", "a-c"]
    with pytest.raises(
        PluginError, match=r"'a' with distance 'b-c'\).*'a-b' with distance 'c'\).*rename one"
    ):
        registry.entry("kernel", "a-b-c")


def test_two_owners_of_a_distance_are_told_apart_by_their_name(install):
    """A doubled distance makes its kernels ambiguous; `dist/name` picks by the owner of a half."""
    both = aggregations("'a', window, summary='A.'") + distances("'d', gram, summary='D.'")
    registry = install(one=both, two=distances("'d', gram, summary='D.'"))
    with pytest.raises(PluginError, match=r"ask for 'one\+two/a-d' or 'one/a-d'"):
        registry.entry("kernel", "a-d")
    owners = {
        name: [half.distribution for half in registry.entry("kernel", name).halves]
        for name in ("one/a-d", "two/a-d", "one+two/a-d")
    }
    assert owners == {
        "one/a-d": ["one", "one"], "two/a-d": ["one", "two"], "one+two/a-d": ["one", "two"],
    }


def test_a_distance_without_its_aggregation_is_no_kernel(install):
    """With no aggregation called `none` there is no kernel of the distance's bare name."""
    registry = install(one=aggregations("'a', window, summary='A.'") + distances(POWER))
    assert kernels(registry) == ["a-power"]
    with pytest.raises(UsageError, match=r"no kernel 'power'.*did you mean 'a-power'"):
        registry.entry("kernel", "power")


def test_a_kernel_that_a_broken_plugin_may_complete_shows_its_traceback(fake_distribution):
    """If a missing half may be in a broken plugin, the error shows that plugin's traceback."""
    fake_distribution("ill", {"ill": "kernels_ill"}, {"kernels_ill": "import not_there_at_all"})
    registry = Registry.load({"SILMM_LOAD_PLUGINS": "silmm,ill"})
    with pytest.raises(PluginError, match=r"(?s)no kernel 'avgpool-power'.*not_there_at_all"):
        registry.entry("kernel", "avgpool-power")


def test_nobody_registers_a_whole_kernel(fake_distribution):
    """The hook for whole kernels does not exist: a plugin that has one is broken, and says so."""
    source = HEAD + hook("kernels", "'k', gram, summary='K.'")
    fake_distribution("old", {"old": "kernels_old"}, {"kernels_old": source})
    [broken] = Registry.load({"SILMM_LOAD_PLUGINS": "old"}).broken
    assert "silmm_register_kernels" in broken.reason


def test_a_third_partys_matrix_product_is_float32_too(install):
    """Under bf16 autocast a third party's matrix product is computed in float32."""
    registry = install(builtin=True, other=distances("'gram', gram, summary='G.'"))
    kernel = registry.build("kernel", "gram", {})
    a, b = torch.randn(2, 8, 32, generator=torch.Generator().manual_seed(1)).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        inside = kernel(a, b)
    assert inside.dtype == torch.float32
    torch.testing.assert_close(inside, kernel(a.float(), b.float()), rtol=0, atol=0)


def test_options_of_a_half_are_given_to_the_kernel(install):
    """`--set kernel.power=4` reaches the distance; `distance.power` says where it belongs."""
    trainer = "'kc', gram, summary='T.', kinds=('continuous',), needs=('kernel',)"
    model = "'m', gram, summary='M.', kind='continuous', capabilities=('features',)"
    source = distances(POWER) + hook("trainers", trainer) + hook("models", model)
    registry = install(builtin=True, other=source)
    flags = {"model": "m", "trainer": "kc", "kernel": "avgpool-power"}
    settings = resolve_settings(registry, flags=flags, sets=["kernel.power=4"])
    assert settings.options["kernel"] == {"power": 4.0}
    with pytest.raises(UsageError, match=r"write kernel\.power"):
        resolve_settings(registry, flags=flags, sets=["distance.power=4"])
