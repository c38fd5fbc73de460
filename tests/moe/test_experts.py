"""Three ways to run experts: equal in values and gradients, in every dtype, at every odd size."""

import copy
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from oldfriend.moe.experts import Experts, feasible_path

PATHS = ("eager", "sorted_loop", "grouped_mm")


def made(widths: list[int], hidden: int = 16, seed: int = 0) -> Experts:
    torch.manual_seed(seed)
    experts = Experts(hidden, widths)
    experts.reset(0.3)
    return experts


def routed(tokens: int, experts: int, top_k: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    scores = torch.rand(tokens, experts, generator=generator)
    return scores.topk(top_k).indices, torch.rand(tokens, top_k, generator=generator)


def by_hand(experts: Experts, x: Tensor, chosen: Tensor, weights: Tensor) -> Tensor:
    """The definition, one token and one expert at a time."""
    out = torch.zeros_like(x)
    for token in range(len(x)):
        for slot, expert in enumerate(chosen[token].tolist()):
            gate, up = (experts.gate_up[expert] @ x[token]).chunk(2)
            hidden = torch.nn.functional.silu(gate) * up
            out[token] += weights[token, slot] * (experts.down[expert] @ hidden)
    return out


@pytest.mark.parametrize("path", PATHS)
@settings(max_examples=15, deadline=None)
@given(
    tokens=st.integers(1, 40), count=st.integers(2, 6), top_k=st.integers(1, 2),
    seed=st.integers(0, 99), mixed=st.booleans(),
)  # fmt: skip
def test_every_path_is_the_definition(
    path: Any, tokens: int, count: int, top_k: int, seed: int, mixed: bool
) -> None:
    experts = made([8 * (1 + i % 3) if mixed else 16 for i in range(count)], seed=seed)
    x = torch.randn(tokens, 16, generator=torch.Generator().manual_seed(seed))
    chosen, weights = routed(tokens, count, top_k, seed)
    with torch.no_grad():
        expected = by_hand(experts, x, chosen, weights)
        assert torch.allclose(experts(x, chosen, weights, path), expected, atol=1e-5)


@pytest.mark.parametrize("top_k", [2, 4])
@pytest.mark.parametrize("path", PATHS[1:])
def test_gradients_equal_the_plain_path(path: Any, top_k: int) -> None:
    experts, chosen = made([16, 8, 24, 24]), routed(50, 4, top_k)
    found = []
    for way in ("eager", path):
        own = copy.deepcopy(experts)
        x = torch.randn(50, 16, generator=torch.Generator().manual_seed(1), requires_grad=True)
        weights = chosen[1].clone().requires_grad_()
        own(x, chosen[0], weights, way).square().sum().backward()
        found.append((x.grad, weights.grad, own.gate_up.grad, own.down.grad))
    for one, other in zip(*found, strict=True):
        assert torch.allclose(one, other, atol=1e-4)


@pytest.mark.parametrize("path", PATHS)
def test_an_expert_nobody_chose_gets_a_zero_gradient(path: Any) -> None:
    experts = made([8, 8, 8])
    chosen = torch.tensor([[0], [2], [0]])
    experts(torch.randn(3, 16), chosen, torch.ones(3, 1), path).square().sum().backward()
    assert experts.down.grad is not None and experts.down.grad[1].abs().max() == 0
    assert experts.down.grad[0].abs().max() > 0


@pytest.mark.parametrize("path", PATHS)
def test_padding_neurons_get_no_gradient(path: Any) -> None:
    experts = made([8, 24])
    chosen, weights = routed(30, 2, 2)
    experts(torch.randn(30, 16), chosen, weights, path).square().sum().backward()
    assert experts.gate_up.grad is not None and experts.down.grad is not None
    gate, up = experts.gate_up.grad[0].chunk(2)
    assert (
        gate[8:].abs().max() == up[8:].abs().max() == experts.down.grad[0, :, 8:].abs().max() == 0
    )
    assert gate[:8].abs().max() > 0


@pytest.mark.parametrize("path", PATHS)
def test_autocast_computes_in_bfloat16(path: Any) -> None:
    """fp32 weights under bf16 autocast: the result has bf16's precision, gradients are fp32."""
    experts, (chosen, weights) = made([24, 24]), routed(40, 2, 1)
    x = torch.randn(40, 16)
    exact = experts(x, chosen, weights, path)
    with torch.autocast("cpu", torch.bfloat16):
        rough = experts(x, chosen, weights, path)
    difference = (exact - rough).abs().max() / exact.abs().max()
    assert 1e-5 < difference < 3e-2
    rough.float().square().sum().backward()
    assert experts.gate_up.grad is not None and experts.gate_up.grad.dtype == torch.float32


def test_grouped_mm_gives_way_where_rows_are_not_aligned() -> None:
    x = torch.randn(5, 16)
    assert feasible_path("grouped_mm", x, made([8])) == "grouped_mm"
    assert feasible_path("grouped_mm", x, made([7])) == "sorted_loop"
    assert feasible_path("auto", x, made([8])) == "sorted_loop"


@pytest.mark.parametrize("path", PATHS)
def test_one_token_equals_many(path: Any) -> None:
    """Decoding (without gradients and sorting) equals the whole text at once."""
    experts, (chosen, weights) = made([16, 8, 16]), routed(9, 3, 2)
    x = torch.randn(9, 16)
    with torch.no_grad():
        whole = experts(x, chosen, weights, path)
        steps = [
            experts(x[t : t + 1], chosen[t : t + 1], weights[t : t + 1], path) for t in range(9)
        ]
    assert torch.allclose(torch.cat(steps), whole, atol=1e-5)
