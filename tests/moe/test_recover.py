"""Healing: who may move, whom the cut model listens to, and that it helps."""

from pathlib import Path

import pytest
import torch
from moe_tiny import VOCAB, packed, tiny_config
from torch import Tensor, nn
from torch.nn import functional as F

from oldfriend.lm.fit import Run
from oldfriend.lm.packing import Document, isolate_convolutions, packed_hidden
from oldfriend.lm.settings import FitParams
from oldfriend.moe.config import make_config
from oldfriend.moe.modeling import OFMoeForCausalLM
from oldfriend.moe.pruning.recover import divergence, listening, recover
from oldfriend.moe.pruning.settings import RecoverParams
from oldfriend.moe.splice import read_layers, rebuilt

FIT = FitParams(
    steps=20, rows=4, row_tokens=32, lr=5e-3, precision="32-true", accelerator="cpu",
    checkpoint_every=1000,
)  # fmt: skip


def uncut(seed: int = 0) -> OFMoeForCausalLM:
    """Two layers of four experts."""
    torch.manual_seed(seed)
    text = tiny_config("lfm2", num_hidden_layers=2)
    model = OFMoeForCausalLM(
        make_config(text, [{"num_experts": 4, "moe_intermediate_size": 32}] * 2)
    )
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(4)  # sharp answers: something to lose
    return model.eval()


def halved(model: OFMoeForCausalLM) -> OFMoeForCausalLM:
    return rebuilt(model, [layer.keeping([0, 1]) for layer in read_layers(model)])


def documents(count: int = 120, seed: int = 0) -> list[Document]:
    random = torch.Generator().manual_seed(seed)
    lengths = torch.randint(6, 30, (count,), generator=random).tolist()
    return [
        Document(tuple(torch.randint(3, VOCAB, (n,), generator=random).tolist())) for n in lengths
    ]


def apart(model: OFMoeForCausalLM, other: OFMoeForCausalLM) -> float:
    """Mean divergence of two models on fresh text."""
    ids = torch.tensor([d.ids[:6] for d in documents(60, 9)])
    with torch.no_grad():
        ours, theirs = (m.eval()(input_ids=ids).logits.flatten(0, 1) for m in (model, other))
    return float(divergence(ours, theirs)) / len(ours)


def moved(before: dict[str, Tensor], model: nn.Module) -> set[str]:
    return {n for n, w in model.state_dict().items() if not torch.equal(w, before[n])}


@pytest.mark.parametrize("temperature", [1.0, 2.0, 0.5])
def test_divergence_is_its_formula_and_zero_for_equals(temperature: float) -> None:
    ours, theirs = torch.randn(7, 11), torch.randn(7, 11)
    p, q = ((z / temperature).softmax(-1) for z in (theirs, ours))
    wanted = temperature**2 * (p * (p / q).log()).sum()
    torch.testing.assert_close(divergence(ours, theirs, temperature), wanted, rtol=1e-4, atol=1e-5)
    assert float(divergence(ours, ours + 3, temperature)) == pytest.approx(0, abs=1e-5)


def test_healing_brings_the_cut_model_back_and_moves_no_mixer(tmp_path: Path) -> None:
    teacher = uncut()
    model = halved(teacher)
    before, distance = {n: w.clone() for n, w in model.state_dict().items()}, apart(model, teacher)
    same = {n: w.clone() for n, w in teacher.state_dict().items()}
    params = RecoverParams(distil=20, fit=FIT)
    result = recover(model, teacher, documents(), params, Run(tmp_path, 0), pad_id=0)
    assert result is not None and result.steps == 20
    assert apart(model, teacher) < 0.8 * distance
    changed = moved(before, model)
    assert changed and all(".feed_forward." in name for name in changed)
    assert not moved(same, teacher)


def test_without_a_teacher_there_is_only_the_text(tmp_path: Path) -> None:
    """On random text, plain training leads away from where the teacher leads to."""
    teacher = uncut()
    with_teacher, alone = halved(teacher), halved(teacher)
    run = Run(tmp_path, 0)
    recover(with_teacher, teacher, documents(), RecoverParams(distil=20, fit=FIT), run, pad_id=0)
    recover(alone, None, documents(), RecoverParams(fit=FIT), run, pad_id=0)
    assert apart(with_teacher, teacher) < apart(alone, teacher)


def test_routers_are_healed_alone_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained = []

    def spy(model: nn.Module, _: object, fit: FitParams, *__: object, **___: object) -> None:
        names = {n for n, p in model.named_parameters() if p.requires_grad}
        trained.append((fit.steps, fit.lr, names))

    monkeypatch.setattr("oldfriend.moe.pruning.recover.fit_model", spy)
    teacher = uncut()
    params = RecoverParams(router_steps=3, router_lr=0.01, fit=FIT)
    recover(halved(teacher), teacher, documents(), params, Run(tmp_path, 0), pad_id=0)
    (steps, rate, routers), (_, __, both) = trained
    assert (steps, rate) == (3, 0.01)
    assert routers and all(name.endswith("router.weight") for name in routers)
    assert routers < both and any("experts" in name for name in both)


def test_listening_adds_the_mean_divergence_over_real_tokens() -> None:
    """Gradient of a pass inside the block less that of one outside: the divergence's own."""
    teacher = uncut()
    model = halved(teacher).train()
    isolate_convolutions(model)
    batch = packed(documents(4), 32)

    def gradient(listen: bool) -> Tensor:
        model.zero_grad()
        if listen:
            with listening(model, teacher, 0.5):
                hidden = packed_hidden(model.model, batch)
        else:
            hidden = packed_hidden(model.model, batch)
        F.cross_entropy(model.lm_head(hidden).flatten(0, 1), batch["labels"].flatten()).backward()
        found = model.feed_forwards[0].experts.down.grad  # type: ignore[union-attr]
        assert found is not None
        return found.clone()

    extra = gradient(True) - gradient(False)
    model.zero_grad()
    hidden = packed_hidden(model.model, batch)
    real = (batch["input_ids"] != 0).flatten()
    with torch.no_grad():
        meant = teacher.lm_head(packed_hidden(teacher.model, batch)).flatten(0, 1)[real]
    said = model.lm_head(hidden).flatten(0, 1)[real]
    (0.5 * divergence(said, meant) / int(real.sum())).backward()
    own = model.feed_forwards[0].experts.down.grad  # type: ignore[union-attr]
    torch.testing.assert_close(extra, own, rtol=1e-3, atol=1e-6)
