"""What one server allows, and how much of this machine it takes."""

from pydantic import Field

from oldfriend.lm.settings import Settings


class ServeParams(Settings):
    """Limits of one server. Sizes in bytes, times in seconds."""

    max_body: int = Field(default=1 << 20, ge=1024)  # of any request but a card
    max_card: int = Field(default=16 << 20, ge=1024)  # of an imported character card
    max_cards: int = Field(default=100, ge=0)  # that one person may import
    body_seconds: float = Field(default=20.0, gt=0)  # in which a request must have arrived
    per_minute: int = Field(default=120, ge=1)  # requests of one person, on average
    burst: int = Field(default=40, ge=1)  # requests of one person at once
    waiting_each: int = Field(default=8, ge=1)  # requests of one person that wait or run
    waiting: int = Field(default=256, ge=1)  # of all
    threads: int = Field(default=40, ge=1, le=1000)  # people who are answered at once
    rows: int = Field(default=32, ge=1, le=1024)  # drafts in one batch
    seats: int = Field(default=512, ge=1)  # people whose talk is kept at hand
    grace_seconds: int = Field(default=30, ge=1)  # for open requests when the server stops
