"""Promises of the six kernels of Table 3: generalised distances in float32, alone or in a batch."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from silmm_plugins.kernels.kernels import avgpool, maxpool, one_minus_cosine

from silmm.registry.registry import Registry

REGISTRY = Registry.load({"SILMM_LOAD_PLUGINS": "silmm"})
NAMES = ("eucl", "cos", "maxpool-eucl", "maxpool-cos", "avgpool-eucl", "avgpool-cos")
KERNELS = {name: REGISTRY.build("kernel", name, {}) for name in NAMES}
sizes = st.tuples(st.integers(1, 6), st.integers(1, 9))
seeds = st.integers(0, 2**31)
every_kernel = pytest.mark.parametrize("name", NAMES)


def features(seed: int, *shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def reference(name: str, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Return the value of the table in docs/spec/method.md, Kernel, for (L, D) matrices, word for word in float64."""
    aggregation, _, distance = name.rpartition("-")
    pool = {"": lambda h: h, "maxpool": lambda h: h.max(0).values, "avgpool": lambda h: h.mean(0)}
    x, y = (pool[aggregation](h.double()).flatten() for h in (a, b))
    if distance == "eucl":
        return ((x - y) ** 2).sum()
    return 1 - (x @ y) / (x.norm() * y.norm())


def test_the_papers_six_are_there() -> None:
    """The built-ins make the six names of Table 3, each with its place, for continuous models."""
    entries = {entry.name: entry for entry in REGISTRY.entries("kernel")}
    assert set(entries) == set(NAMES)
    assert all("Table 3" in entry.paper and entry.kinds == ("continuous",) for entry in entries.values())


@every_kernel
@given(size=sizes, seed=seeds)
def test_the_values_are_those_of_the_table(name: str, size: tuple[int, int], seed: int) -> None:
    """Each kernel equals its formula in double precision."""
    a, b = features(seed, 2, *size)
    expected = reference(name, a, b)
    torch.testing.assert_close(KERNELS[name](a, b).double(), expected, rtol=1e-5, atol=1e-6)


def test_values_by_hand() -> None:
    """Two 2x2 matrices whose six distances are computed on paper."""
    a, b = torch.tensor([[1.0, 0.0], [3.0, 0.0]]), torch.tensor([[0.0, 2.0], [0.0, 0.0]])
    expected = {
        "eucl": 14.0, "cos": 1.0, "maxpool-eucl": 13.0, "maxpool-cos": 1.0, "avgpool-eucl": 5.0,
        "avgpool-cos": 1.0,
    }
    assert {name: kernel(a, b).item() for name, kernel in KERNELS.items()} == expected
    assert KERNELS["cos"](a, -a).item() == 2.0


@every_kernel
@given(size=sizes, seed=seeds, scale=st.floats(1e-3, 1e3))
def test_symmetric_zero_at_equality_and_never_negative(
    name: str, size: tuple[int, int], seed: int, scale: float
) -> None:
    """k(a, b) = k(b, a) >= 0 and k(a, a) = 0, exactly and not only up to rounding."""
    a, b = features(seed, 2, *size) * scale
    near = a * (1 + 1e-7)
    kernel = KERNELS[name]
    assert torch.equal(kernel(a, b), kernel(b, a))
    assert kernel(a, a) == 0
    assert kernel(a, b) >= 0
    assert kernel(a, near) >= 0


@pytest.mark.parametrize("name", [name for name in NAMES if name.endswith("cos")])
@given(size=sizes, seed=seeds, scales=st.tuples(*[st.floats(1e-25, 1e25)] * 2))
def test_cos_does_not_see_scale(
    name: str, size: tuple[int, int], seed: int, scales: tuple[float, float]
) -> None:
    """Positive factors change no cosine, even where squares of the entries leave float32."""
    a, b = features(seed, 2, *size)
    kernel = KERNELS[name]
    scaled = kernel(a * scales[0], b * scales[1])
    torch.testing.assert_close(scaled, kernel(a, b), rtol=1e-4, atol=1e-5)


def test_small_angles_keep_their_digits() -> None:
    """Where 1 - cosine taken literally is rounding noise, the kernel is right to four digits."""
    a = torch.tensor([[1.0, 0.0]])
    b = torch.tensor([[1.0, 1e-4]])
    assert one_minus_cosine(a, b).item() == pytest.approx(0.5e-8, rel=1e-4)


def test_a_zero_matrix_has_a_distance_and_no_gradient() -> None:
    """Zeros are 0 from zeros and one half from all else; nothing is NaN, forward or backward."""
    zero = torch.zeros(3, 4, requires_grad=True)
    other = features(0, 3, 4).requires_grad_()
    between = one_minus_cosine(zero, other)
    between.backward()
    assert between.item() == pytest.approx(0.5)
    assert one_minus_cosine(zero, zero).item() == 0
    assert zero.grad is not None
    assert zero.grad.abs().max() == 0
    assert other.grad is not None
    assert other.grad.isfinite().all()


@every_kernel
@given(seed=seeds)
def test_half_precision_input_is_computed_in_float32(name: str, seed: int) -> None:
    """bf16 features, also under autocast, give a float32 that agrees with float64 on the same input."""
    a, b = features(seed, 2, 16, 32).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        inside = KERNELS[name](a, b)
    assert inside.dtype == torch.float32
    torch.testing.assert_close(inside.double(), reference(name, a, b), rtol=1e-5, atol=1e-6)


@every_kernel
@given(seed=seeds)
def test_gradients_are_those_of_finite_differences(name: str, seed: int) -> None:
    """In double precision the gradients in both arguments agree with numerical ones."""
    a, b = features(seed, 2, 3, 4, dtype=torch.float64)
    # A maximum has a kink where two positions tie; positions that are well apart have one slope.
    separated = 3.0 * torch.arange(3, dtype=torch.float64)[:, None]
    inputs = tuple(h.clamp(-1, 1).add(separated).requires_grad_() for h in (a, b))
    assert torch.autograd.gradcheck(KERNELS[name], inputs)


@every_kernel
def test_gradients_reach_half_precision_features(name: str) -> None:
    """The policy's bf16 features get a finite gradient of their own type."""
    a, b = features(3, 2, 4, 8).bfloat16()
    a.requires_grad_()
    KERNELS[name](a, b).backward()
    assert a.grad is not None
    assert a.grad.dtype == torch.bfloat16
    assert a.grad.isfinite().all()
    assert a.grad.abs().max() > 0


@every_kernel
@given(size=sizes, seed=seeds)
def test_leading_dimensions_broadcast(name: str, size: tuple[int, int], seed: int) -> None:
    """All pairs of two batches in one call are what each pair is alone."""
    a, b = features(seed, 3, *size), features(seed + 1, 4, *size)
    kernel = KERNELS[name]
    table = kernel(a[:, None], b[None])
    alone = torch.stack([torch.stack([kernel(x, y) for y in b]) for x in a])
    assert table.shape == (3, 4)
    torch.testing.assert_close(table, alone, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", [name for name in NAMES if "pool" in name])
@given(size=sizes, seed=seeds)
def test_pools_do_not_see_the_order_of_positions(
    name: str, size: tuple[int, int], seed: int
) -> None:
    """Permuted positions leave a pooled kernel as it is."""
    a, b = features(seed, 2, *size)
    order = torch.randperm(size[0], generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close(KERNELS[name](a[order], b), KERNELS[name](a, b), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["eucl", "cos"])
def test_without_a_pool_the_order_of_positions_counts(name: str) -> None:
    """`eucl` and `cos` compare position by position."""
    a = features(5, 4, 8)
    assert KERNELS[name](a, a.flip(0)) > 0.1


@pytest.mark.parametrize("pool", [maxpool, avgpool])
def test_a_pool_leaves_one_vector_in_float32(pool: object) -> None:
    """(…, L, D) becomes (…, 1, D), in float32 for half precision too."""
    assert callable(pool)
    pooled = pool(features(1, 2, 5, 7).bfloat16())
    assert (pooled.shape, pooled.dtype) == ((2, 1, 7), torch.float32)


def test_listing_kernels_imports_no_torch() -> None:
    """`silmm plugins --kind kernel` composes all kernels without torch or numpy."""
    program = (
        "import sys; from silmm.registry.registry import Registry; "
        "assert len(Registry.load({'SILMM_LOAD_PLUGINS': 'builtin'}).entries('kernel')) >= 6; "
        "print([m for m in ('torch', 'numpy', 'transformers') if m in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert result.stdout.strip() == "[]"
