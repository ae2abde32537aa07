"""Where keys and addresses come from when the program does not give them."""

import os

from dotenv import dotenv_values, find_dotenv


def read_variable(name: str) -> str | None:
    """Return a variable of the process, else of the nearest ``.env`` file; neither is changed, empty is unset."""
    return os.environ.get(name) or dotenv_values(find_dotenv(usecwd=True)).get(name) or None
