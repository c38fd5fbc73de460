"""Text by tokens: which token may come next if what is written must become one of some strings."""

from collections.abc import Iterable, Sequence

from transformers import PreTrainedTokenizerBase


class Spelling:
    """The characters that each token of a tokenizer stands for; special tokens stand for none."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        special = set(tokenizer.all_special_ids)
        # Some tokenizers drop a leading space when decoding: read every piece after an anchor.
        anchor = tokenizer(":", add_special_tokens=False)["input_ids"][-1:]
        known = tokenizer.decode(anchor)
        self.ids: dict[str, int] = {}
        for i in range(len(tokenizer)):
            piece = "" if i in special else tokenizer.decode([*anchor, i])[len(known) :]
            if piece and "\ufffd" not in piece:
                self.ids.setdefault(piece, i)
        self.longest = max(map(len, self.ids))

    def starts(self, rest: str) -> list[int]:
        """Ids of all tokens that are a beginning of ``rest``."""
        lengths = range(1, min(len(rest), self.longest) + 1)
        return [self.ids[rest[:n]] for n in lengths if rest[:n] in self.ids]

    def towards(self, written: str, wanted: Iterable[str]) -> list[int]:
        """Ids after which ``written`` is still a beginning of one of ``wanted``."""
        rests: Sequence[str] = [w[len(written) :] for w in wanted if w.startswith(written)]
        return sorted({i for rest in rests for i in self.starts(rest)})
