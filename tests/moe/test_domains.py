"""Domains: what experts tell of them, what they are worth, and learning one more."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from moe_tiny import VOCAB, documents, tiny_moe

from oldfriend.errors import InputError
from oldfriend.lm.fit import Run
from oldfriend.lm.packing import Document
from oldfriend.lm.settings import FitParams
from oldfriend.moe.diagnostics.domains import (
    ablation_matrix,
    domain_information,
    mutual_information,
    specialisation,
    without_expert,
)
from oldfriend.moe.diagnostics.probe import Probe
from oldfriend.moe.lessons import even_mix
from oldfriend.moe.modeling import OFMoeForCausalLM
from oldfriend.moe.recording import declared_domains
from oldfriend.moe.router.donor import ridge
from oldfriend.moe.router.views import start_routers
from oldfriend.moe.upcycling.add_domain import (
    by_declared_domain,
    compare,
    learn_domain,
    with_new_experts,
)

ROUTED: list[dict[str, Any]] = [
    {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 24}
] * 2


def fit(**changes: Any) -> FitParams:
    base: dict[str, Any] = {
        "steps": 6, "rows": 2, "row_tokens": 32, "lr": 1e-2, "precision": "32-true",
        "accelerator": "cpu", "checkpoint_every": 100,
    }  # fmt: skip
    return FitParams(**(base | changes))


def low_and_high(count: int = 12) -> dict[str, list[Document]]:
    """Two domains that share no token."""
    half = VOCAB // 2
    low = [Document(tuple(5 + i % (half - 5) for i in d.ids)) for d in documents([24] * count, 1)]
    high = [
        Document(tuple(half + i % (VOCAB - half) for i in d.ids))
        for d in documents([24] * count, 2)
    ]
    return {"low": low, "high": high}


# Information


def test_information_of_known_tables() -> None:
    assert mutual_information(torch.eye(3)) == pytest.approx(1)
    assert mutual_information(torch.ones(3, 5)) == pytest.approx(0, abs=1e-9)
    assert mutual_information(torch.ones(1, 5)) == 0
    # a fair coin that is read with an eighth of errors: 1 - H(1/8) bits
    p = torch.tensor([1 / 8, 7 / 8], dtype=torch.float64)
    table = torch.stack([p, p.flip(0)])
    assert mutual_information(table) == pytest.approx(1 + float((p * p.log2()).sum()))


@given(st.integers(2, 4), st.integers(2, 6), st.integers(0, 9))
@settings(max_examples=30, deadline=None)
def test_information_lies_between_nothing_and_all(rows: int, columns: int, seed: int) -> None:
    table = torch.rand(rows, columns, generator=torch.Generator().manual_seed(seed))
    assert -1e-9 <= mutual_information(table) <= 1 + 1e-9


def test_experts_that_know_domains_stand_out_from_the_null() -> None:
    domains = torch.arange(3).repeat_interleave(400)
    pieces = torch.arange(1200) // 20
    told = domain_information(domains[:, None], domains, 3, documents_T=pieces)
    assert told.value == pytest.approx(1)
    assert told.null < 0.2 and told.p_value < 0.05


def test_texts_that_differ_are_not_yet_domains() -> None:
    """Every text has an expert of its own, whatever its domain. A null by token is deceived."""
    generator = torch.Generator().manual_seed(0)
    pieces = torch.arange(24 * 50) // 50
    domains = (pieces % 2).long()
    chosen = torch.randint(0, 4, (24,), generator=generator)[pieces][:, None]
    honest = domain_information(chosen, domains, 4, documents_T=pieces, shuffles=100)
    by_token = domain_information(chosen, domains, 4, shuffles=100)
    assert by_token.p_value < 0.02
    assert honest.p_value > 0.02
    assert honest.null > 10 * by_token.null


# Ablation


def test_an_expert_that_is_gone_is_not_chosen_and_comes_back() -> None:
    model = tiny_moe("llama", ROUTED)
    probe = Probe(low_and_high(3), fit(), 0)
    before = probe.look(model)
    with without_expert(model, 1, 2):
        gone = probe.look(model)
    assert not (gone.routings[1].chosen == 2).any()
    assert gone.routings[0].chosen.equal(before.routings[0].chosen)
    after = probe.look(model)
    assert after.losses == before.losses


def test_an_expert_that_cannot_be_spared_is_refused() -> None:
    few = [{"num_experts": 2, "num_experts_per_tok": 2, "moe_intermediate_size": 8}]
    with (
        pytest.raises(ValueError, match="cannot do without expert 0"),
        without_expert(tiny_moe("llama", few), 0, 0),
    ):
        pass
    assert ablation_matrix(tiny_moe("llama", few), Probe(low_and_high(2), fit(), 0)) == []


def test_ablation_shows_whose_expert_it_is() -> None:
    """The router is fitted so that experts 0 and 1 serve one domain and 2 and 3 the other."""
    model = tiny_moe("llama", ROUTED[:1])
    probe = Probe(low_and_high(4), fit(), 0)
    (inputs,) = probe.inputs(model)
    side = torch.tensor([[5.0, 5.0, -5.0, -5.0], [-5.0, -5.0, 5.0, 5.0]])
    start_routers(model, [ridge(inputs, side[probe.domains_T], 1e-6)])
    rows = ablation_matrix(model, probe)
    assert [row["expert"] for row in rows] == [0, 1, 2, 3]
    moved = torch.tensor([[abs(row["low"]), abs(row["high"])] for row in rows])
    assert (moved[:2, 0] > 3 * moved[:2, 1]).all()
    assert (moved[2:, 1] > 3 * moved[2:, 0]).all()


def test_specialisation_of_known_matrices() -> None:
    own = [{"a": 1.0, "b": 0.0}, {"a": 0.0, "b": 2.0}]
    shared = [{"a": 1.0, "b": 1.0}] * 2
    assert specialisation(own, ["a", "b"]) == pytest.approx(1)
    assert specialisation(shared, ["a", "b"]) == pytest.approx(0)
    assert specialisation([{"a": -1.0, "b": -1.0}], ["a", "b"]) == 0


# Lessons


@given(st.lists(st.lists(st.integers(2, 30), min_size=1, max_size=20), min_size=1, max_size=4))
@settings(max_examples=40, deadline=None)
def test_an_even_mix_has_as_much_of_each(lengths: list[list[int]]) -> None:
    parts = [[Document((place,) * n) for n in part] for place, part in enumerate(lengths)]
    mixed = even_mix(parts)
    sizes = [sum(d.learnt() for d in mixed if d.ids[0] == place) for place in range(len(parts))]
    least = min(sum(n - 1 for n in part) for part in lengths)
    assert all(least - max(part) < size <= least for size, part in zip(sizes, lengths, strict=True))
    for place, part in enumerate(parts):  # every domain keeps its order
        own = [d for d in mixed if d.ids[0] == place]
        assert own == part[: len(own)]


# One more domain


@pytest.fixture(scope="module")
def grown() -> tuple[Any, Any, Probe, Probe]:
    texts = low_and_high()
    old = Probe({"low": texts["low"]}, fit(), 0)
    new = Probe({"high": texts["high"]}, fit(), 0)
    model = tiny_moe("lfm2", ROUTED)
    return model, with_new_experts(model, old, new, 2), old, new


def test_new_experts_lead_on_new_text_and_trail_on_old(
    grown: tuple[Any, Any, Probe, Probe],
) -> None:
    before, model, old, new = grown
    assert [r.out_features for r in model.routers()] == [6, 6]

    def share(probe: Probe) -> float:
        routings = probe.look(model).routings.values()
        return sum(float((r.chosen >= 4).float().mean()) for r in routings) / 2

    assert share(new) > 0.4
    assert share(old) < 0.4 * share(new)
    assert old.look(model).loss == pytest.approx(old.look(before).loss, rel=2e-2)


def test_frozen_experts_stay_to_the_bit_and_new_ones_learn(
    grown: tuple[Any, Any, Probe, Probe], tmp_path: Path
) -> None:
    _, start, _, _ = grown
    texts = low_and_high()
    model = copy.deepcopy(start)
    before = {n: w.clone() for n, w in model.state_dict().items()}
    learn_domain(
        model, [4, 4], texts["high"], {}, fit(steps=8, weight_decay=0.1), Run(tmp_path, 0),
        mode="freeze", pad_id=0,
    )  # fmt: skip
    for name, weight in model.state_dict().items():
        if "experts." in name or "router.weight" in name:
            assert weight[:4].equal(before[name][:4]), name
            assert not weight[4:].equal(before[name][4:]), name
        else:
            assert weight.equal(before[name]), name
    assert model.config.balance_weight == start.config.balance_weight


def test_freezing_and_replay_hurt_old_domains_less_than_naive_training(
    grown: tuple[Any, Any, Probe, Probe], tmp_path: Path
) -> None:
    _, start, old, new = grown
    texts = low_and_high()
    rises = {}
    for mode in ("freeze", "replay", "naive"):
        model = copy.deepcopy(start)
        before = old.look(model).losses | new.look(model).losses
        learn_domain(
            model, [4, 4], texts["high"], {"low": texts["low"]}, fit(steps=25), Run(tmp_path, 0),
            mode=mode, pad_id=0,  # type: ignore[arg-type]
        )  # fmt: skip
        row = compare(before, old.look(model).losses | new.look(model).losses, "high")
        assert row["new_after"] < row["new_before"]
        rises[mode] = row["old_rise"]
    assert rises["freeze"] < rises["naive"]
    assert rises["replay"] < rises["naive"]


def test_old_text_that_is_declared_is_served_as_before(
    grown: tuple[Any, Any, Probe, Probe], tmp_path: Path
) -> None:
    before, start, old, new = grown
    model = copy.deepcopy(start)
    run, lessons = Run(tmp_path, 0), low_and_high()["high"]
    learn_domain(model, [4, 4], lessons, {}, fit(steps=15), run, mode="freeze", pad_id=0)
    by_token = old.look(model).loss
    declared = by_declared_domain(model, [4, 4])
    with declared_domains(declared, torch.tensor([0])):
        assert old.look(declared).loss == pytest.approx(old.look(before).loss, rel=1e-6)
    with declared_domains(declared, torch.tensor([1])):
        assert new.look(declared).loss == pytest.approx(new.look(model).loss, rel=1e-6)
        assert old.look(declared).loss == pytest.approx(by_token, rel=1e-6)
    declared.save_pretrained(tmp_path / "declared")
    again = OFMoeForCausalLM.from_pretrained(tmp_path / "declared")
    assert [router.level for router in again.routers()] == ["domain", "domain"]


def test_a_dense_model_has_no_place_for_a_domain() -> None:
    plain = tiny_moe("llama", [{"num_experts": 1, "moe_intermediate_size": 8}])
    probe = Probe(low_and_high(2), fit(), 0)
    with pytest.raises(InputError, match="upcycle it first"):
        with_new_experts(plain, probe, probe, 1)


def test_compare_counts_old_and_new_apart() -> None:
    row = compare({"a": 2.0, "b": 4.0, "n": 5.0}, {"a": 2.2, "b": 4.0, "n": 3.0}, "n")
    assert row["old_rise"] == pytest.approx(0.05) and row["old_worst"] == pytest.approx(0.1)
    assert (row["new_before"], row["new_after"]) == (5, 3)
