"""Personas on one model: each row as if served alone, swapped at will, gone without a trace."""

from pathlib import Path

import pytest
import torch
from persona_world import recall, rows, tiny, tokenizer, voice, write_adapter
from transformers import PreTrainedModel

from oldfriend.errors import CheckpointError, InputError
from oldfriend.lm import lora
from oldfriend.lm import model as models
from oldfriend.lm.chat import answer_documents, message
from oldfriend.persona import adapters
from oldfriend.persona.lessons import answered
from oldfriend.persona.likelihood import nats
from oldfriend.persona.serving import Mix, Personas

IDS = torch.arange(10, 70).reshape(4, 15)
FAMILIES = ("lfm2", "llama")


def adapter_folders(root: Path, family: str = "lfm2") -> dict[str, Path]:
    return {
        name: write_adapter(root / family / name, seed, rank=2 + seed, family=family)
        for seed, name in enumerate(("ana", "bo", "cy"))
    }


def logits(model: torch.nn.Module, ids: torch.Tensor = IDS) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model.eval()(input_ids=ids).logits
    return found


def opened(folders: dict[str, Path], family: str = "lfm2") -> Personas:
    personas = Personas(tiny(family), tokenizer())
    for name, folder in folders.items():
        personas.load(name, folder)
    return personas


def alone(folder: Path, family: str = "lfm2") -> PreTrainedModel:
    model: PreTrainedModel = lora.load(tiny(family), folder).merge_and_unload()
    return model


@pytest.mark.parametrize("family", FAMILIES)
def test_every_row_of_a_mixed_batch_is_as_if_served_alone(family: str, tmp_path: Path) -> None:
    folders = adapter_folders(tmp_path, family)
    personas = opened(folders, family)
    personas.select(["cy", "", "ana", "bo"])
    mixed = logits(personas.model)
    singles = [alone(folders["cy"], family), tiny(family), alone(folders["ana"], family),
               alone(folders["bo"], family)]  # fmt: skip
    for row, single in enumerate(singles):
        wanted = logits(single, IDS[row : row + 1])[0]
        torch.testing.assert_close(mixed[row], wanted, atol=2e-4, rtol=2e-4)
    assert (mixed - logits(tiny(family))).abs().amax((1, 2)).gt(1e-2).tolist() == [
        True, False, True, True,
    ]  # fmt: skip


def test_a_swap_takes_hold_at_once_and_leaves_nothing_behind(tmp_path: Path) -> None:
    folders = adapter_folders(tmp_path)
    personas = opened(folders)
    for name in ("ana", "bo", "ana", "cy", "bo"):
        personas.select([name])
        torch.testing.assert_close(
            logits(personas.model), logits(alone(folders[name])), atol=2e-4, rtol=2e-4
        )
    personas.select([""])
    assert logits(personas.model).equal(logits(tiny()))


def test_a_blend_in_a_row_is_the_blend_on_disk(tmp_path: Path) -> None:
    folders = adapter_folders(tmp_path)
    adapters.blend({folders["ana"]: 0.3, folders["cy"]: 0.9}, tmp_path / "blend")
    personas = opened(folders)
    mix: list[Mix] = ["bo", {"ana": 0.3, "cy": 0.9}, {"ana": 0.0}, ""]
    personas.select(mix)
    mixed = logits(personas.model)
    wanted = logits(alone(tmp_path / "blend"))
    torch.testing.assert_close(mixed[1], wanted[1], atol=2e-4, rtol=2e-4)
    torch.testing.assert_close(mixed[2:], logits(tiny())[2:], atol=1e-5, rtol=1e-5)


def test_replies_of_a_mixed_batch_are_those_given_one_by_one(tmp_path: Path) -> None:
    folders = adapter_folders(tmp_path)
    personas = opened(folders)
    prompts = [
        [message("system", "You are Bo."), message("user", "Where do I live? " * (n + 1))]
        for n in range(5)
    ]
    who: list[Mix] = ["ana", "cy", "", "bo", "ana"]
    mixed = personas.generate(prompts, who, max_new_tokens=6)
    single = [
        personas.generate([prompt], [name], max_new_tokens=6)[0]
        for prompt, name in zip(prompts, who, strict=True)
    ]
    assert len(set(mixed)) > 2
    assert sum(a == b for a, b in zip(mixed, single, strict=True)) >= 4  # bf16: a tie may flip
    assert personas.generate([], [], max_new_tokens=3) == []
    with pytest.raises(InputError, match="5 prompts, 1 personas"):
        personas.generate(prompts, ["ana"], max_new_tokens=3)


def test_a_prompt_names_who_speaks(tmp_path: Path) -> None:
    folders = adapter_folders(tmp_path)
    models.write_meta(folders["ana"], {"persona": "Ana Lucia"})
    personas = opened(folders)
    plain = [message("system", "You are talking with Kit."), message("user", "Hi")]
    named: list[tuple[Mix, str]] = [
        ("ana", "You are Ana Lucia.\n"), ("bo", "You are bo.\n"), ("", ""), ({}, ""),
        ({"ana": 0.3, "cy": 0.9}, "You are cy.\n"),
    ]  # fmt: skip
    for who, line in named:
        assert personas.introduced(plain, who)[0]["content"] == f"{line}You are talking with Kit."
        assert personas.introduced(plain, who)[1:] == plain[1:]
    with pytest.raises(InputError, match="unknown persona 'x'"):
        personas.introduced(plain, "x")


def test_losses_of_a_mixed_batch_are_those_of_the_single_adapters(tmp_path: Path) -> None:
    folders = adapter_folders(tmp_path)
    personas = opened(folders)
    own = voice("tormod")
    documents = answer_documents(tokenizer(), [answered(own, row) for row in (recall(0), *rows(2))])
    found = personas.nats(documents, ["ana", "bo", "cy"])
    pad = tokenizer().pad_token_id
    for place, name in enumerate(("ana", "bo", "cy")):
        ((loss, count),) = nats(alone(folders[name]), documents[place : place + 1], pad_id=pad)
        assert count == found[place][1] == documents[place].learnt()
        assert found[place][0] == pytest.approx(loss, rel=1e-3)


def test_nats_are_those_of_the_plain_forward() -> None:
    model, document = (
        tiny(),
        answer_documents(tokenizer(), [answered(voice("tormod"), recall(1))])[0],
    )
    pad = tokenizer().pad_token_id
    ((loss, _),) = nats(model, [document], pad_id=pad)
    ids = torch.tensor([document.ids])
    with torch.no_grad():
        logprobs = torch.log_softmax(model(input_ids=ids).logits[0].float(), -1)
    wanted = -sum(
        float(logprobs[place, label]) for place, label in enumerate(document.labels()) if label >= 0
    )
    assert loss == pytest.approx(wanted, rel=1e-4)
    assert nats(model, [], pad_id=pad) == []


def test_closing_gives_the_model_back(tmp_path: Path) -> None:
    personas = opened(adapter_folders(tmp_path))
    personas.select(["ana"])
    names = tiny().state_dict().keys()
    personas.close()
    assert personas.model.state_dict().keys() == names
    assert logits(personas.model).equal(logits(tiny()))


def test_who_is_unloaded_or_unknown_cannot_speak(tmp_path: Path) -> None:
    personas = opened(adapter_folders(tmp_path))
    personas.unload("bo")
    assert personas.names == ("ana", "cy")
    with pytest.raises(InputError, match="unknown persona 'bo'; loaded: ana, cy"):
        personas.select(["ana", "bo"])
    with pytest.raises(InputError, match="unknown persona 'x'"):
        personas.unload("x")
    assert logits(personas.model).equal(logits(tiny()))


def test_a_persona_can_be_replaced_while_others_stay(tmp_path: Path) -> None:
    folders = adapter_folders(tmp_path)
    personas = opened(folders)
    personas.select(["ana"])
    personas.load("ana", folders["bo"])
    personas.select(["ana"])
    torch.testing.assert_close(
        logits(personas.model), logits(alone(folders["bo"])), atol=2e-4, rtol=2e-4
    )


def test_an_adapter_of_another_model_is_refused(tmp_path: Path) -> None:
    personas = opened(adapter_folders(tmp_path))
    stranger = write_adapter(tmp_path / "stranger", 1, family="llama")
    with pytest.raises(CheckpointError, match="not an adapter for this model"):
        personas.load("stranger", stranger)
    with pytest.raises(InputError, match="needs a name"):
        personas.load("", stranger)
    assert personas.names == ("ana", "bo", "cy")
    assert logits(personas.model).equal(logits(tiny()))
