"""How long and how often things are measured."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """A run; the defaults take about twelve minutes.

    Attributes:
        others: The contestants that are compared with the bare loop.
        repetitions: Of the cheap measures.
        long_repetitions: Of those that take longer.
        crowd_repetitions: Of the search for the most sessions.
        growth_repetitions: Of the long conversation.
        steady_s: Length of a stretch whose CPU time is measured.
        crowd_step_s: How long each number of sessions is held.
        recordings: How often the cost of recording is measured.
        tool_s: How long tools take.
        turns: Length of the long conversation.
        devices: Loudspeakers for interruptions: whether they count what they play, and their names.
    """

    others: tuple[str, ...] = ("rtvoice",)
    repetitions: int = 8
    long_repetitions: int = 3
    crowd_repetitions: int = 4
    growth_repetitions: int = 3
    steady_s: float = 3.0
    crowd_step_s: float = 1.5
    recordings: int = 6
    tool_s: float = 2.0
    turns: int = 3_000
    devices: Mapping[bool, str] = field(default_factory=lambda: {False: "plain device", True: "counting device"})

    @property
    def names(self) -> list[str]:
        """All who hold conversations, the bare loop first."""
        return ["bare", *self.others]


def quick(others: tuple[str, ...]) -> Settings:
    """Return settings that take under a minute: enough to see that everything works, too little to trust."""
    return Settings(
        others=others,
        repetitions=1,
        long_repetitions=1,
        growth_repetitions=1,
        steady_s=1.5,
        recordings=1,
        tool_s=0.5,
        turns=300,
        devices={False: "plain device"},
    )
