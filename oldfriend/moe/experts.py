"""Expert weights and three equal ways to run them.

Shape suffixes: T tokens, K experts chosen a token, E experts, D hidden, F neurons of an expert,
S = T * K assignments (plus padding) in order of expert.
"""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Path = Literal["auto", "grouped_mm", "sorted_loop", "eager"]
Activation = Callable[[Tensor], Tensor]

BUCKET = 64  # rows; oneDNN compiles a bf16 kernel for every matrix shape, so keep shapes few
_FEW = 8  # assignments; below, sorting costs more than it saves


class Experts(nn.Module):
    """Stacked gated FFNs: ``gate_up`` [E, 2F, D] (gate rows, then up rows), ``down`` [E, D, F].

    Experts narrower than F are padded with zero neurons, which get zero gradients and stay zero.
    """

    def __init__(self, hidden: int, widths: Sequence[int], activation: Activation = F.silu) -> None:
        super().__init__()
        self.widths = tuple(widths)
        self.activation = activation
        width = max(self.widths)
        self.gate_up = nn.Parameter(torch.empty(len(self.widths), 2 * width, hidden))
        self.down = nn.Parameter(torch.empty(len(self.widths), hidden, width))

    @property
    def width(self) -> int:
        """Neurons of the widest expert, F."""
        return self.down.shape[2]

    def reset(self, std: float) -> None:
        """Draw N(0, std^2) weights; padding is zero."""
        with torch.no_grad():
            nn.init.normal_(self.gate_up, std=std)
            nn.init.normal_(self.down, std=std)
            self.zero_padding()

    @torch.no_grad()
    def zero_padding(self) -> None:
        """Zero the neurons beyond each expert's width."""
        for expert, width in enumerate(self.widths):
            gate, up = self.gate_up[expert].chunk(2)
            gate[width:], up[width:] = 0, 0
            self.down[expert, :, width:] = 0

    def one(self, x_TD: Tensor, expert: int = 0) -> Tensor:
        """Output [T, D] of one expert on every token."""
        return _gated(
            x_TD, self.gate_up[expert], self.down[expert], self.widths[expert], self.activation
        )

    def forward(
        self,
        x_TD: Tensor,
        chosen_TK: Tensor | None = None,
        weights_TK: Tensor | None = None,
        path: Path = "auto",
    ) -> Tensor:
        """Weighted sum [T, D] of every token's chosen experts; without choice, the first expert."""
        if chosen_TK is None or weights_TK is None:
            return self.one(x_TD)
        run = _PATHS[feasible_path(path, x_TD, self)]
        return run(self, x_TD, chosen_TK, weights_TK)

    def extra_repr(self) -> str:
        """Sizes, for print(model)."""
        widths = self.widths[0] if len(set(self.widths)) == 1 else list(self.widths)
        return f"{len(self.widths)} experts, {self.down.shape[1]} wide, neurons {widths}"


def feasible_path(path: Path, x_TD: Tensor, experts: Experts) -> str:
    """The path asked for, or the next one that can run: grouped_mm, then sorted_loop.

    "auto" is grouped_mm on a GPU and sorted_loop on the CPU, where it is the faster.
    """
    if path == "auto":
        path = "grouped_mm" if x_TD.is_cuda else "sorted_loop"
    if path == "grouped_mm" and not _can_group(x_TD, experts):
        return "sorted_loop"
    return path


def _compute_dtype(x: Tensor) -> torch.dtype:
    """The dtype that autocast would give a matmul of ``x``."""
    kind = x.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype


def _can_group(x_TD: Tensor, experts: Experts) -> bool:
    """grouped_mm needs row strides of 16 bytes; on a GPU it computes in bfloat16 only."""
    dtype = _compute_dtype(x_TD)
    aligned = all(n * dtype.itemsize % 16 == 0 for n in (x_TD.shape[1], experts.width))
    known = dtype == torch.bfloat16 if x_TD.is_cuda else True
    return hasattr(F, "grouped_mm") and aligned and known


def _gated(x: Tensor, gate_up: Tensor, down: Tensor, width: int, act: Activation) -> Tensor:
    """down(act(gate x) * up x) with the first ``width`` neurons."""
    full = down.shape[1]
    if width == full:
        gate, up = F.linear(x, gate_up).chunk(2, dim=-1)
        return F.linear(act(gate) * up, down)
    gate, up = F.linear(x, gate_up[:width]), F.linear(x, gate_up[full : full + width])
    return F.linear(act(gate) * up, down[:, :width])


def _eager(experts: Experts, x_TD: Tensor, chosen_TK: Tensor, weights_TK: Tensor) -> Tensor:
    """One expert after the other, in the plainest words: what the others must equal."""
    out_TD = torch.zeros_like(x_TD)
    for expert in range(len(experts.widths)):
        token, slot = torch.where(chosen_TK == expert)
        y = experts.one(x_TD[token], expert)
        weight = weights_TK[token, slot, None]
        out_TD = out_TD.index_add(0, token, (y * weight).to(out_TD.dtype))
    return out_TD


def _sorted_loop(experts: Experts, x_TD: Tensor, chosen_TK: Tensor, weights_TK: Tensor) -> Tensor:
    """Gather tokens by expert, one matmul pair an expert, scatter back.

    ``unbind`` matters: indexing the stack once an expert would zero-fill a gradient of the whole
    stack every time, which is quadratic in E.
    """
    tokens, top_k = chosen_TK.shape
    if tokens * top_k <= _FEW and not torch.is_grad_enabled():
        return _few(experts, x_TD, chosen_TK, weights_TK)
    if top_k == len(experts.widths):
        return _all(experts, x_TD, chosen_TK, weights_TK)
    dtype = _compute_dtype(x_TD)
    bucket = 1 if dtype == torch.float32 else BUCKET
    sizes, source_S, place_TK = _sort(chosen_TK, len(experts.widths), bucket)
    groups = torch.split(_dispatch(x_TD.to(dtype), source_S, place_TK), sizes)
    pieces = [
        _gated(group, gate_up, down, width, experts.activation)
        for group, gate_up, down, width in zip(
            groups, experts.gate_up.unbind(0), experts.down.unbind(0), experts.widths, strict=True
        )
        if len(group)
    ]
    return _combine(torch.cat(pieces), place_TK, weights_TK).to(x_TD.dtype)


def _all(experts: Experts, x_TD: Tensor, chosen_TK: Tensor, weights_TK: Tensor) -> Tensor:
    """Every token takes every expert, so there is nothing to sort."""
    x = x_TD.to(_compute_dtype(x_TD))
    weights_TE = torch.zeros_like(weights_TK).scatter(1, chosen_TK, weights_TK).to(x.dtype)
    out_TD = torch.zeros_like(x)
    stacks = zip(experts.gate_up.unbind(0), experts.down.unbind(0), experts.widths, strict=True)
    for expert, (gate_up, down, width) in enumerate(stacks):
        y_TD = _gated(x, gate_up, down, width, experts.activation)
        out_TD = out_TD + y_TD * weights_TE[:, expert, None]
    return out_TD.to(x_TD.dtype)


def _few(experts: Experts, x_TD: Tensor, chosen_TK: Tensor, weights_TK: Tensor) -> Tensor:
    """A decoding step of one or two tokens: straight to the chosen experts."""
    y_TKD = torch.stack(
        [
            torch.cat([experts.one(x_TD[token : token + 1], expert) for expert in chosen])
            for token, chosen in enumerate(chosen_TK.tolist())
        ]
    )
    return torch.einsum("tkd,tk->td", y_TKD, weights_TK.to(y_TKD.dtype)).to(x_TD.dtype)


def _grouped_mm(experts: Experts, x_TD: Tensor, chosen_TK: Tensor, weights_TK: Tensor) -> Tensor:
    """Two grouped matrix products over all experts, without a look at the counts from the host.

    grouped_mm is unknown to autocast, so inputs and weights are cast here.
    """
    dtype = _compute_dtype(x_TD)
    count = len(experts.widths)
    flat_S = chosen_TK.flatten()
    order_S = flat_S.argsort(stable=True)
    place_TK = torch.empty_like(order_S).scatter_(
        0, order_S, torch.arange(len(order_S), device=order_S.device)
    )
    place_TK = place_TK.view_as(chosen_TK)
    ends_E = F.one_hot(flat_S, count).sum(0).cumsum(0).to(torch.int32)
    x_SD = _dispatch(x_TD.to(dtype), order_S // chosen_TK.shape[1], place_TK)
    hidden = F.grouped_mm(x_SD, experts.gate_up.to(dtype).transpose(1, 2), offs=ends_E)
    gate, up = hidden.chunk(2, dim=-1)
    y_SD = F.grouped_mm(
        (experts.activation(gate) * up).contiguous(),
        experts.down.to(dtype).transpose(1, 2),
        offs=ends_E,
    )
    return _combine(y_SD, place_TK, weights_TK).to(x_TD.dtype)


def _combine(y_SD: Tensor, place_TK: Tensor, weights_TK: Tensor) -> Tensor:
    """Weighted sum [T, D] over each token's K rows of ``y_SD``."""
    y_TKD: Tensor = _Collect.apply(y_SD, place_TK)  # type: ignore[no-untyped-call]
    return (y_TKD * weights_TK.to(y_TKD.dtype)[..., None]).sum(1)


def _dispatch(x_TD: Tensor, source_S: Tensor, place_TK: Tensor) -> Tensor:
    """Rows [S, D] of the tokens ``source_S``; row ``place_TK`` is a token's own."""
    rows: Tensor = _Dispatch.apply(x_TD, source_S, place_TK)  # type: ignore[no-untyped-call]
    return rows


class _Dispatch(torch.autograd.Function):
    """Rows of tokens in order of expert; each token has K rows, so its gradient is a plain sum.

    Autograd would scatter-add instead, which is slow in bf16 and on a GPU not deterministic.
    """

    @staticmethod
    def forward(ctx: Any, x_TD: Tensor, source_S: Tensor, place_TK: Tensor) -> Tensor:
        ctx.save_for_backward(place_TK)
        return x_TD.index_select(0, source_S)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (place_TK,) = ctx.saved_tensors
        rows_SD = gradients[0].index_select(0, place_TK.flatten())
        return rows_SD.view(*place_TK.shape, -1).sum(1), None, None


class _Collect(torch.autograd.Function):
    """Each token's K rows [T, K, D]; every row belongs to one token at most, padding to none."""

    @staticmethod
    def forward(ctx: Any, y_SD: Tensor, place_TK: Tensor) -> Tensor:
        ctx.save_for_backward(place_TK)
        ctx.rows = len(y_SD)
        return y_SD.index_select(0, place_TK.flatten()).view(*place_TK.shape, -1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (place_TK,) = ctx.saved_tensors
        zeros = gradients[0].new_zeros(ctx.rows, gradients[0].shape[-1])
        return zeros.index_copy_(0, place_TK.flatten(), gradients[0].flatten(0, 1)), None


def _sort(chosen_TK: Tensor, count: int, bucket: int) -> tuple[list[int], Tensor, Tensor]:
    """Rows for each expert (multiples of ``bucket``), token of each row [S], row of each [T, K].

    Padding rows read token 0 and nobody reads them.
    """
    flat_S = chosen_TK.flatten()
    counts_E = torch.bincount(flat_S, minlength=count)
    padded_E = (counts_E + bucket - 1) // bucket * bucket
    order_S = flat_S.argsort(stable=True)
    shift_E = (padded_E - counts_E).cumsum(0) - (padded_E - counts_E)  # padding in front
    row_S = torch.arange(len(flat_S), device=flat_S.device) + shift_E[flat_S[order_S]]
    sizes = padded_E.tolist()
    source_S = torch.zeros(sum(sizes), dtype=torch.long, device=flat_S.device)
    source_S[row_S] = order_S // chosen_TK.shape[1]
    place_TK = torch.empty_like(flat_S)
    place_TK[order_S] = row_S
    return sizes, source_S, place_TK.view_as(chosen_TK)


_PATHS = {"eager": _eager, "sorted_loop": _sorted_loop, "grouped_mm": _grouped_mm}
