"""The README is true: every Python block compiles, and runs offline where it can; names and tables are the code's."""

import ast
import asyncio
import importlib
import inspect
import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType
from typing import Any

import pytest

from rtvoice import AgentListener, AgentResult, RealtimeAgent, Tools
from rtvoice.audio import AudioInputDevice, AudioOutputDevice
from rtvoice.conversation import ConversationTurn
from rtvoice.listener import ToolApprovalRequest
from rtvoice.testing import (
    RealtimeEmulator,
    Rehearsal,
    ScriptedUser,
    VirtualMicrophone,
    VirtualSpeaker,
)

README = Path(__file__).parents[2] / "README.md"
TEXT = README.read_text(encoding="utf-8")


@dataclass(frozen=True)
class Block:
    """A Python block of the README."""

    line: int
    section: str
    code: str = field(repr=False)

    def compiled(self) -> CodeType:
        flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        return compile("\n" * (self.line - 1) + self.code, str(README), "exec", flags, dont_inherit=True)

    def tree(self) -> ast.Module:
        return compile(
            self.code, str(README), "exec", ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True
        )


def _blocks() -> Iterator[Block]:
    for match in re.finditer(r"^```python\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL):
        before = TEXT[: match.start()]
        headings = re.findall(r"^##+ (.+)$", before, re.MULTILINE)
        yield Block(before.count("\n") + 2, headings[-1] if headings else "Quickstart", match[1])


BLOCKS = list(_blocks())
every_block = pytest.mark.parametrize("block", BLOCKS, ids=[f"{block.section}:{block.line}" for block in BLOCKS])


def block_of(section: str) -> Block:
    return next(block for block in BLOCKS if block.section == section)


def test_the_readme_has_blocks() -> None:
    assert len(BLOCKS) >= 15
    assert len(BLOCKS) == TEXT.count("```python")


@every_block
def test_it_compiles(block: Block) -> None:
    assert block.compiled()


@every_block
def test_what_it_imports_is_there(block: Block) -> None:
    for node in ast.walk(block.tree()):
        if isinstance(node, ast.ImportFrom):
            module = importlib.import_module(node.module or "")
            for alias in node.names:
                assert hasattr(module, alias.name), f"{node.module} has no {alias.name}"


KINDS: dict[str, Any] = {
    "agent": RealtimeAgent, "tools": Tools, "shop": Tools, "result": AgentResult, "turn": ConversationTurn,
    "rehearsal": Rehearsal, "user": ScriptedUser, "request": ToolApprovalRequest,
}  # fmt: skip
"""What the README's variables are."""


def _meant(node: ast.expr) -> Any:
    """What a name or attribute in the README means; ``None`` if that cannot be said without running it."""
    import rtvoice
    import rtvoice.testing

    if isinstance(node, ast.Name):
        found = KINDS.get(node.id) or getattr(rtvoice, node.id, None)
        return found if found is not None else getattr(rtvoice.testing, node.id, None)
    if isinstance(node, ast.Attribute):
        owner = _meant(node.value)
        return getattr(owner, node.attr, None) if owner is not None else None
    return None


def _has(owner: Any, name: str) -> bool:
    fields = {*getattr(owner, "model_fields", ()), *getattr(owner, "__dataclass_fields__", ())}
    return hasattr(owner, name) or name in fields


@every_block
def test_its_attributes_and_keywords_exist(block: Block) -> None:
    for node in ast.walk(block.tree()):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in KINDS:
            assert _has(KINDS[node.value.id], node.attr), f"{node.value.id}.{node.attr}"
        if isinstance(node, ast.Call):
            called = _meant(node.func)
            if called is None or not callable(called):
                continue
            parameters = inspect.signature(called).parameters
            if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
                continue
            unknown = {keyword.arg for keyword in node.keywords if keyword.arg} - set(parameters)
            assert not unknown, f"{ast.unparse(node.func)} has no {unknown}"


# --- the blocks run --------------------------------------------------------------------------------------------------


class World:
    """Stands in for the service, the microphone and the loudspeaker wherever an agent is made without them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, server: RealtimeEmulator) -> None:
        self.speakers: list[VirtualSpeaker] = []
        self.main: list[Any] = []
        monkeypatch.setattr("rtvoice.agent.agent.OpenAIProvider", lambda api_key=None: server.provider)
        monkeypatch.setattr("rtvoice.agent.agent.MicrophoneInput", VirtualMicrophone)
        monkeypatch.setattr("rtvoice.agent.agent.SpeakerOutput", self._speaker)
        monkeypatch.setattr(asyncio, "run", self.main.append)

    def _speaker(self) -> VirtualSpeaker:
        self.speakers.append(VirtualSpeaker())
        return self.speakers[-1]


async def perform(block: Block, names: dict[str, Any]) -> dict[str, Any]:
    """Run a block in these names, as an asyncio console would."""
    value = eval(block.compiled(), names)  # noqa: S307 - it is our README
    if inspect.iscoroutine(value):
        await value
    return names


RUNS_ALONE = [
    "Quickstart", "Tools", "Injection", "Supervisor", "Conversation seeds", "Microphone and loudspeaker",
    "Your own audio devices", "Turn detection, voice, model", "Azure and other servers",
    "Test your agent without a key", "Logging",
]  # fmt: skip
"""Blocks that import what they use."""

NEEDS = {
    "A person decides": ["Tools"],
    "Listener": ["Tools"],
    "Inactivity timeout": ["Tools"],
}
"""Sections whose blocks go on from an earlier one."""


@pytest.mark.virtual_clock
@pytest.mark.parametrize("section", [*RUNS_ALONE, *NEEDS])
async def test_it_runs(section: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "key")
    level = logging.getLogger("rtvoice").level
    async with RealtimeEmulator() as server:
        world = World(monkeypatch, server)
        names: dict[str, Any] = {}
        for earlier in NEEDS.get(section, []):
            await perform(block_of(earlier), names)
        await perform(block_of(section), names)
        for coroutine in world.main:
            coroutine.close()
    logging.getLogger("rtvoice").setLevel(level)


@pytest.mark.virtual_clock
async def test_the_quickstart_holds_a_conversation(monkeypatch: pytest.MonkeyPatch) -> None:
    agents: list[RealtimeAgent[Any]] = []
    run = RealtimeAgent.run

    async def watched(agent: RealtimeAgent[Any]) -> AgentResult:
        agents.append(agent)
        return await run(agent)

    monkeypatch.setattr(RealtimeAgent, "run", watched)
    async with RealtimeEmulator(["At your service."], detect_speech=False) as server:
        world = World(monkeypatch, server)
        await perform(block_of("Quickstart"), {"__name__": "__main__"})
        (main,) = world.main
        async with asyncio.TaskGroup() as group:
            group.create_task(main)
            session = await server.connected()
            await server.sent("session.updated")
            session.speech_started()
            session.speech_stopped()
            await server.sent("response.done")
            await world.speakers[0].wait_until_heard(500)
            await agents[0].stop()


@pytest.mark.virtual_clock
async def test_the_test_in_the_readme_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "key")
    names = await perform(block_of("Tools"), {})
    await perform(block_of("Test your agent without a key"), names)
    await names["test_weather"]()


@pytest.fixture
def photo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The photo of the README, in the working directory."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photo.jpg").write_bytes(b"\xff\xd8\xff\xe0 a picture")
    return tmp_path / "photo.jpg"


@pytest.mark.virtual_clock
async def test_talking_to_the_session(converse: Any, photo: Path) -> None:
    assert photo.name == "photo.jpg"
    async with RealtimeEmulator(detect_speech=False) as server, converse(server) as conversation:
        await perform(block_of("Talking to the session"), {"agent": conversation.agent, "Path": Path})
        await asyncio.sleep(5)
        session = await server.connected()
        sent = session.types("received")
    assert sent.count("response.create") >= 2
    assert [event for event in session.received if event["type"] == "session.update"][-1]["session"] == {
        "type": "realtime",
        "audio": {"output": {"speed": 1.2}},
    }
    assert conversation.listener.all("agent_error") == []


@pytest.mark.virtual_clock
async def test_recording_and_usage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async with RealtimeEmulator(["Hello."]) as server:
        World(monkeypatch, server)
        agent = RealtimeAgent(
            recording_path=tmp_path / "session.wav",
            greeting="Hello.",
            inactivity_timeout_enabled=True,
            inactivity_timeout_seconds=1.0,
        )
        names = await perform(block_of("Recording"), {"agent": agent})
        await perform(block_of("Usage, cost and latency"), names)
    recording, turn, *_, tokens, latency = capsys.readouterr().out.splitlines()
    assert recording == str(tmp_path / "session.wav")
    assert turn.startswith("assistant Hello.")
    assert "total" in tokens
    assert latency


async def test_the_devices_of_the_readme_are_complete() -> None:
    names = await perform(block_of("Your own audio devices"), {})
    assert isinstance(names["PhoneLine"](), AudioInputDevice)
    assert isinstance(names["PhoneSpeaker"](), AudioOutputDevice)


# --- the tables are complete -----------------------------------------------------------------------------------------


def table_after(heading: str, pattern: str) -> set[str]:
    """The names in the first column of the first table after this text."""
    rest = TEXT[TEXT.index(heading) :]
    rows = re.search(r"(?:^\|.*\n)+", rest, re.MULTILINE)
    assert rows is not None
    first = " ".join(row.split("|")[1] for row in rows[0].splitlines())
    return set(re.findall(pattern, first))


def test_the_table_of_parameters() -> None:
    told = table_after("## All parameters of `RealtimeAgent`", r"`(\w+)`")
    aliases = set(re.findall(r"alias `(\w+)`", TEXT))
    assert told | aliases == set(inspect.signature(RealtimeAgent).parameters)


def test_the_table_of_callbacks() -> None:
    told = table_after("## Listener", r"`(on_\w+)\(")
    assert told == {name for name in vars(AgentListener) if name.startswith("on_")}
    signatures = table_after("## Listener", r"`(on_\w+\([^)]*\))`")
    for signature in signatures:
        name, parameters = re.fullmatch(r"(\w+)\((.*)\)", signature).groups()  # type: ignore[union-attr]
        _, *real = inspect.signature(getattr(AgentListener, name)).parameters
        assert real == [part for part in parameters.split(", ") if part]


def test_the_table_of_action() -> None:
    told = table_after("| `@tools.action(...)` |", r"`(\w+)=?[^`(]*`")
    assert told == set(inspect.signature(Tools.action).parameters) - {
        "self",
        "kind",
    }  # "kind" is only accepted for 0.10


@pytest.mark.parametrize("page", [README, *sorted(README.parent.glob("docs/*.md"))], ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?://|#)([^)#]+)[^)]*\)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target


def test_errors_that_the_troubleshooting_names_exist() -> None:
    import rtvoice.errors

    told = table_after("## Troubleshooting", r"`([A-Z]\w+(?:Error|Failed))`")
    assert told
    assert all(hasattr(rtvoice.errors, name) for name in told)
