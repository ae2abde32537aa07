import dataclasses

import pytest

from rtvoice.realtime.stats import SessionStats


def test_nothing_has_happened_at_first() -> None:
    stats = SessionStats()
    assert {value for name, value in dataclasses.asdict(stats).items() if name != "watchdogs"} == {0}
    assert stats.watchdogs == {}
    with pytest.raises(dataclasses.FrozenInstanceError):
        stats.rotations = 1  # type: ignore[misc]
