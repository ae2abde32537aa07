"""Importing must stay cheap: who is loaded, not how long it takes."""

import json
import subprocess
import sys

import pytest

HEAVY = {"numpy", "openai", "sounddevice", "soxr", "mcp", "httpx", "aiohttp", "jsonschema", "multiprocessing"}
BARE = "from pydantic import BaseModel, TypeAdapter; import websockets.asyncio.client"
AGENT = "from rtvoice import RealtimeAgent"
MORE_THAN_BARE = 125


def modules_after(statement: str) -> set[str]:
    code = f"{statement}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=50)
    return set(json.loads(done.stdout))


def packages(modules: set[str]) -> set[str]:
    return {name.partition(".")[0] for name in modules}


def test_the_package_alone_loads_nothing() -> None:
    modules = modules_after("import rtvoice")
    assert {name for name in modules if name.startswith("rtvoice")} == {"rtvoice"}
    assert not packages(modules) & (HEAVY | {"pydantic", "websockets", "asyncio", "dotenv"})


@pytest.mark.parametrize(
    "statement",
    [AGENT, f"{AGENT}, OpenAIProvider, Tools\nRealtimeAgent(provider=OpenAIProvider(api_key='none'), tools=Tools())"],
    ids=["import", "make an agent"],
)
def test_an_agent_loads_nothing_heavy(statement: str) -> None:
    assert not packages(modules_after(statement)) & HEAVY


def test_an_agent_loads_little_more_than_pydantic_and_websockets() -> None:
    more = modules_after(AGENT) - modules_after(BARE)
    assert len(more) <= MORE_THAN_BARE, sorted(more)
    known = {"rtvoice", "pydantic", "dotenv", "annotated_types", *sys.stdlib_module_names}
    assert packages(more) <= known, sorted(more)
