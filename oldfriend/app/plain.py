"""Text from strangers, made harmless for a terminal."""

from rich.text import Text


def plain(text: str) -> Text:
    """``text`` that can neither colour nor steer a terminal."""
    return Text("".join(c if c.isprintable() or c == "\n" else " " for c in text))
