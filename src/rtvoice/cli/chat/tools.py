"""What the assistant of ``rtvoice chat`` can do besides talking: enough to see tools at work."""

import random
from datetime import datetime
from typing import Annotated

from pydantic import Field

from rtvoice import Tools

tools = Tools()


@tools.action("What time it is")
async def get_time() -> str:
    """Return the time of this machine's time zone."""
    now = datetime.now().astimezone()
    return f"It is {now:%H:%M}."


@tools.action("Today's date and weekday")
async def get_day_and_date() -> str:
    """Return the date of this machine's time zone."""
    today = datetime.now().astimezone()
    return f"Today is {today:%A}, {today:%B} {today.day}, {today.year}."


@tools.action("Roll a die")
async def roll_dice(sides: Annotated[int, Field(ge=2, le=1000)] = 6) -> str:
    """Roll it."""
    return f"You rolled: {random.randint(1, sides)}."
