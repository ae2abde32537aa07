"""The contestants: one file each. To add a library, write a `Contestant` and name it here."""

import importlib
from typing import Final

from benchmarks.contestants.base import Call, Contestant, Tool

CONTESTANTS: Final = {
    "harness": "benchmarks.contestants.harness:Harness",
    "bare": "benchmarks.contestants.bare:Bare",
    "rtvoice": "benchmarks.contestants.rtvoice_agent:RtvoiceAgent",
}
"""Where they live. ``harness`` and ``bare`` are what the others are compared with."""

__all__ = ["CONTESTANTS", "Call", "Contestant", "Tool", "load"]


def load(name: str) -> Contestant:
    """Import a contestant, and with it its library, and return one."""
    module, _, cls = CONTESTANTS[name].partition(":")
    contestant: Contestant = getattr(importlib.import_module(module), cls)()
    return contestant
