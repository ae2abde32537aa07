"""What the assistant of ``rtvoice chat`` can do."""

import re

from rtvoice.cli.chat import tools


async def test_time_and_date() -> None:
    assert re.fullmatch(r"It is \d\d:\d\d\.", await tools.get_time())
    assert re.fullmatch(r"Today is \w+day, \w+ \d+, \d{4}\.", await tools.get_day_and_date())


async def test_dice() -> None:
    thrown = {await tools.roll_dice(2) for _ in range(100)}
    assert thrown == {"You rolled: 1.", "You rolled: 2."}
    assert tools.tools.tools.keys() == {"get_time", "get_day_and_date", "roll_dice"}
