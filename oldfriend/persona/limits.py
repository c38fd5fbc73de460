"""How much a card from a stranger may ask of this machine."""

from dataclasses import dataclass

MEBIBYTE = 1 << 20


@dataclass(frozen=True)
class Limits:
    """Upper bounds on one card file; beyond any of them it is refused, never cut."""

    file_bytes: int = 64 * MEBIBYTE
    payload_bytes: int = 8 * MEBIBYTE  # the card's own JSON
    yaml_bytes: int = 1 * MEBIBYTE  # the pure-Python parser is slow, and YAML has aliases
    unpacked_bytes: int = 128 * MEBIBYTE  # all members of a CharX, or all assets of a PNG
    members: int = 2_000  # files in a CharX
    chunks: int = 20_000  # of a PNG
    depth: int = 64  # of nested lists and objects
    values: int = 500_000  # lists, objects, keys and scalars together
    lore_entries: int = 5_000


LIMITS = Limits()
