"""How large the containers inside an object are: what must not grow with what a server sends."""

from collections import deque
from dataclasses import fields, is_dataclass


def sizes(thing: object, path: str = "protocol") -> dict[str, int]:
    """Return the sizes of all containers within, by their path; those of the same name in one container are added."""
    names = [each.name for each in fields(thing)] if is_dataclass(thing) else list(getattr(thing, "__dict__", ()))
    found: dict[str, int] = {}
    for name in names:
        value = getattr(thing, name)
        if isinstance(value, dict | set | list | deque):
            found[f"{path}.{name}"] = len(value)
            for each in value.values() if isinstance(value, dict) else value:
                for inner, size in sizes(each, f"{path}.{name}[]").items():
                    found[inner] = found.get(inner, 0) + size
        elif type(value).__module__.startswith("rtvoice.realtime") and "events" not in type(value).__module__:
            found |= sizes(value, f"{path}.{name}")
    return found
