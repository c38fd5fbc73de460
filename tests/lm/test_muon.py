"""Muon for hidden matrices and AdamW for the rest: what torch's own two would do, in one step."""

import io
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lm_tiny import tiny_fit, tiny_model
from pydantic import ValidationError
from torch import Tensor, nn

from oldfriend.lm import lora
from oldfriend.lm.lit import PackedLM, is_hidden_matrix
from oldfriend.lm.muon import BETAS, MOMENTUM, MuonAdamW
from oldfriend.lm.settings import LoraParams

LR, OTHERS_LR, DECAY = 0.02, 0.005, 0.1
STEPS = 6
BFLOAT16 = 0.05  # share of a movement that rounding in five iterations may change
SHAPES = [(16, 48), (48, 16), (32, 32), (1, 8), (8, 1), (40, 41)]
sizes = st.tuples(st.integers(1, 24), st.integers(1, 24))


def drawn(shape: Sequence[int], seed: int) -> Tensor:
    return torch.randn(tuple(shape), generator=torch.Generator().manual_seed(seed))


def fresh(shapes: Sequence[Sequence[int]]) -> list[nn.Parameter]:
    return [nn.Parameter(drawn(shape, 100 + place)) for place, shape in enumerate(shapes)]


def go(
    optimizer: torch.optim.Optimizer, params: Sequence[nn.Parameter], steps: range = range(STEPS)
) -> None:
    """Steps whose gradients follow from the parameter's place and the step, not from others."""
    for step in steps:
        for place, param in enumerate(params):
            param.grad = drawn(param.shape, 1000 * place + step)
        optimizer.step()


def muon(matrices: Sequence[Tensor], others: Sequence[Tensor] = ()) -> MuonAdamW:
    return MuonAdamW(matrices, others, lr=LR, others_lr=OTHERS_LR, weight_decay=DECAY)


def apart(one: Tensor, other: Tensor, start: Tensor) -> float:
    """How far two ended from each other, as a share of how far they went."""
    one, other, start = one.detach(), other.detach(), start.detach()
    return float((one - other).norm() / (other - start).norm())


# Updates


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_matrix_moves_as_under_torchs_muon(shape: tuple[int, int]) -> None:
    (start,), (ours,), (theirs,) = fresh([shape]), fresh([shape]), fresh([shape])
    go(muon([ours]), [ours])
    stock = torch.optim.Muon(
        [theirs], lr=LR, weight_decay=DECAY, momentum=MOMENTUM, adjust_lr_fn="match_rms_adamw"
    )
    go(stock, [theirs])
    assert apart(ours, theirs, start) < BFLOAT16


@given(st.lists(sizes, min_size=1, max_size=5), st.integers(0, 2))
@settings(max_examples=25, deadline=None, derandomize=True)
def test_matrices_in_a_stack_move_as_each_alone(shapes: list[tuple[int, int]], copies: int) -> None:
    """A shape and its transpose share a batch; the last matrix brings copies of its shape along."""
    shapes = [*shapes, shapes[-1][::-1], *[shapes[-1]] * copies]
    together, start = fresh(shapes), fresh(shapes)
    go(muon(together), together)
    for place, one in enumerate(fresh(shapes)):
        optimizer = muon([one])
        for step in range(STEPS):
            one.grad = drawn(one.shape, 1000 * place + step)
            optimizer.step()
        assert apart(together[place], one, start[place]) < BFLOAT16


def test_vectors_and_embeddings_move_exactly_as_under_torchs_adamw() -> None:
    """Vectors are spared weight decay."""
    shapes = [(50, 8), (8,), (8, 1, 3), (1,), ()]
    ours, theirs = fresh(shapes), fresh(shapes)
    go(muon([], ours), ours)
    groups = [
        {"params": [p for p in theirs if p.ndim > 1], "weight_decay": DECAY},
        {"params": [p for p in theirs if p.ndim <= 1], "weight_decay": 0.0},
    ]
    go(torch.optim.AdamW(groups, lr=OTHERS_LR, betas=BETAS, fused=True), theirs)
    assert all(one.equal(other) for one, other in zip(ours, theirs, strict=True))
    assert not any(one.equal(start) for one, start in zip(ours, fresh(shapes), strict=True))


def test_matrices_and_others_do_not_touch_each_other() -> None:
    alone, together = fresh([(8, 8), (50, 8)]), fresh([(8, 8), (50, 8)])
    go(muon(together[:1], together[1:]), together)
    go(muon(alone[:1]), alone[:1])
    assert together[0].equal(alone[0])
    hidden, table = fresh([(8, 8), (50, 8)])
    go(muon([], [hidden, table]), [hidden, table])
    assert together[1].equal(table) and not together[0].equal(hidden)


def test_without_a_gradient_nothing_moves() -> None:
    shapes = [(8, 16), (8, 16), (50, 8), (8,)]
    params = fresh(shapes)
    optimizer = muon(params[:2], params[2:])
    for still, moving in [((0, 2), (1, 3)), ((1, 3), (0, 2))]:
        before = [param.detach().clone() for param in params]
        for place, param in enumerate(params):
            param.grad = drawn(param.shape, place) if place in moving else None
        optimizer.step()
        assert all(params[place].equal(before[place]) for place in still)
        assert not any(params[place].equal(before[place]) for place in moving)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_gradient_of_zeros_leaves_weight_decay_only(shape: tuple[int, int]) -> None:
    (start,), (param,) = fresh([shape]), fresh([shape])
    param.grad = torch.zeros(shape)
    muon([param]).step()
    torch.testing.assert_close(param, start * (1 - LR * DECAY))


# State


def test_a_state_from_disk_goes_on_exactly() -> None:
    shapes = [(8, 16), (16, 8), (12, 12), (50, 8), (8,)]
    whole, cut = fresh(shapes), fresh(shapes)
    optimizer = muon(whole[:3], whole[3:])
    go(optimizer, whole)
    first = muon(cut[:3], cut[3:])
    go(first, cut, range(3))
    saved = io.BytesIO()
    torch.save(first.state_dict(), saved)
    saved.seek(0)
    state = torch.load(saved, weights_only=True)
    forgot = [nn.Parameter(param.detach().clone()) for param in cut]
    resumed, empty = muon(cut[:3], cut[3:]), muon(forgot[:3], forgot[3:])
    resumed.load_state_dict(state)
    for one, params in ((resumed, cut), (empty, forgot)):
        go(one, params, range(3, STEPS))
    assert all(one.equal(other) for one, other in zip(whole, cut, strict=True))
    assert not any(one.equal(other) for one, other in zip(whole, forgot, strict=True))


def test_a_loaded_state_lies_where_its_parameter_does() -> None:
    """A checkpoint is read into main memory; a fused AdamW on a GPU needs all of its state there.

    The meta device stands for the GPU.
    """
    trained = fresh([(8, 8), (50, 8), (8,)])
    optimizer = muon(trained[:1], trained[1:])
    go(optimizer, trained)
    elsewhere = [nn.Parameter(torch.empty(p.shape, device="meta")) for p in trained]
    loaded = muon(elsewhere[:1], elsewhere[1:])
    loaded.load_state_dict(optimizer.state_dict())
    left = [
        (key, tuple(param.shape))
        for param, state in loaded.state.items()
        for key, value in state.items()
        if value.device.type != "meta"
    ]
    assert left == []


# What gets which


def plain(model: Any) -> Any:
    return model


def adapted(model: Any) -> Any:
    return lora.attach(model, LoraParams(rank=4, alpha=8))


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("family", ["lfm2", "llama"])
def test_hidden_matrices_are_the_linear_maps_inside_the_layers(family: str, tied: bool) -> None:
    model = tiny_model(family, tie_word_embeddings=tied)
    chosen = {name for name, p in model.named_parameters() if is_hidden_matrix(name, p)}
    linear = {f"{n}.weight" for n, m in model.named_modules() if isinstance(m, nn.Linear)}
    assert chosen == linear - {"lm_head.weight"}
    assert all(".layers." in name for name in chosen)


@pytest.mark.parametrize("family", ["lfm2", "llama"])
def test_adapters_are_never_hidden_matrices(family: str) -> None:
    model = adapted(tiny_model(family))
    trained = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    assert trained and not any(is_hidden_matrix(name, p) for name, p in trained)


@pytest.mark.parametrize("wrap", [plain, adapted])
@pytest.mark.parametrize("family", ["lfm2", "llama"])
def test_every_trainable_weight_has_one_place_and_its_rate(
    family: str, wrap: Callable[[Any], Any]
) -> None:
    model = wrap(tiny_model(family))
    fit = tiny_fit(optimizer="muon", lr=LR, others_lr=0.25, weight_decay=DECAY)
    found: Any = PackedLM(model, fit).configure_optimizers()
    groups = found["optimizer"].param_groups
    placed = [id(p) for group in groups for p in group["params"]]
    names = {id(p): name for name, p in model.named_parameters() if p.requires_grad}
    assert len(placed) == len(set(placed)) and set(placed) == set(names)
    for group in groups:
        for param in group["params"]:
            hidden = is_hidden_matrix(names[id(param)], param)
            assert group["initial_lr"] == (LR if hidden else 0.25 * LR)
            assert group["weight_decay"] == (0 if param.ndim < 2 else DECAY)


def test_muon_under_fsdp_is_refused_by_name() -> None:
    with pytest.raises(ValidationError, match="muon needs whole matrices and fsdp cuts them up"):
        tiny_fit(optimizer="muon", strategy="fsdp")
    assert tiny_fit(optimizer="muon", strategy="ddp").optimizer == "muon"
    assert tiny_fit(optimizer="adamw", strategy="fsdp").strategy == "fsdp"
