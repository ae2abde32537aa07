"""What a check finds."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Finding:
    """The outcome of one check.

    Attributes:
        check: What was checked.
        status: ``problem``: an agent will not work; ``warning``: it will, but.
        message: What was found, for a person.
        remedy: What to do about it.
        details: The same in figures, for programs.
    """

    check: str
    status: Literal["ok", "warning", "problem", "skipped"]
    message: str
    remedy: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain values."""
        return asdict(self)
