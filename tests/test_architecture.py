"""The rules of ARCHITECTURE.md, read from the code.

``python tests/test_architecture.py`` prints the table of ports; with ``--write`` it puts it into ARCHITECTURE.md.
"""

import ast
import importlib
import pkgutil
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import rtvoice.components
from rtvoice.agent.parts import Parts
from rtvoice.events import Event, commands, facts
from rtvoice.events.bus import EventBus

REPOSITORY = Path(__file__).parent.parent
PACKAGE = REPOSITORY / "src" / "rtvoice"

FLOORS = {
    "errors": 1,
    "cancellation": 2, "eager": 2, "environment": 2, "private_files": 2, "settings": 2, "usage": 2,
    "events": 3,
    "audio": 4, "conversation": 4, "listener": 4, "realtime": 4, "tools": 4,
    "llm": 5,
    "supervisor": 6,
    "components": 7,
    "agent": 8,
    "testing": 9,
    "local": 10,
    "cli": 11, "__main__": 12,
}  # fmt: skip
"""A room may import rooms on lower floors. The front door, ``rtvoice`` itself, may import everything."""

LIBRARIES_OF_COMPONENTS = {
    "capture": {"audio"},
    "echo": {"audio"},
    "hooks": {"listener"},
    "inactivity": set(),
    "interruption": {"audio", "conversation"},  # it looks at the sound and at the words
    "meter": {"usage"},
    "playback": {"audio"},
    "recorder": {"audio"},
    "session": {"realtime"},
    "session_log": {"realtime"},
    "supervision": {"supervisor", "conversation", "tools"},  # it is a tool that reads the conversation
    "tool_runner": {"tools"},
    "transcript": {"conversation"},
}  # fmt: skip
WORDS = {"cancellation", "eager", "events", "errors", "settings"}

FOR_APPLICATIONS = {
    "AgentStartingEvent", "AgentStoppedEvent", "AssistantPausedEvent", "AssistantResumedEvent",
    "AssistantTranscriptChunkReceivedEvent", "AudioPlaybackCompletedEvent",
    "UsageUpdatedEvent", "UserAudioDroppedEvent", "UserInactivityTimeoutEvent",
}  # fmt: skip
"""Facts that no part of the agent needs."""
FROM_APPLICATIONS = {
    "CancelSupervisorCommand", "UpdateInstructionsCommand", "UpdateSupervisorCommand", "UpdateToolChoiceCommand",
}  # fmt: skip
"""Commands that no part of the agent gives."""

HOME_OF_PACKAGE = {
    "openai": ("llm/openai.py",),
    "sounddevice": ("audio/portaudio.py",),
    "websockets": ("realtime/connection.py", "testing/"),
    "numpy": ("audio/", "local/"),
    "soxr": ("audio/",),
    "pywebrtc_audio": ("audio/echo/webrtc.py",),
    "base64": ("realtime/", "testing/", "agent/images.py"),
    "binascii": ("realtime/", "testing/"),
}
WIRE_STRING = re.compile(
    r"(response|conversation|session|input_audio_buffer|output_audio_buffer|rate_limits|mcp_list_tools)(\.[a-z_]+)+"
)
TASK_GROUPS = re.compile(r"(self\._|home\.)?(group|tasks)")


@dataclass(frozen=True)
class Module:
    path: Path
    tree: ast.Module

    @property
    def place(self) -> str:
        return self.path.relative_to(PACKAGE).as_posix()

    @property
    def room(self) -> str:
        return self.place.split("/")[0].removesuffix(".py")

    @property
    def name(self) -> str:
        return self.path.stem

    def imports(self) -> Iterator[tuple[str, str]]:
        """Yield ``(module, name)`` of every import, wherever it stands; name is empty for ``import module``."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                yield from ((alias.name, "") for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{self.place} has a relative import"
                yield from ((node.module or "", alias.name) for alias in node.names)
            elif isinstance(node, ast.Call) and _name(node.func).endswith("import_module") and node.args:
                yield _name(node.args[0]).strip("'"), ""

    def rooms(self) -> set[str]:
        found = {module.split(".")[1] for module, _ in self.imports() if module.startswith("rtvoice.")}
        return found - {self.room}

    def texts(self) -> set[str]:
        """Return the string constants that are no docstrings."""
        docstrings = {
            id(node.body[0].value)
            for node in ast.walk(self.tree)
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
            and node.body
            and isinstance(node.body[0], ast.Expr)
        }
        return {
            node.value
            for node in ast.walk(self.tree)
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings
        }

    def made_events(self) -> set[str]:
        """Return the events that are made here."""
        calls = (node for node in ast.walk(self.tree) if isinstance(node, ast.Call))
        return {_name(call.func) for call in calls} & EVENTS.keys()


def _name(node: ast.AST) -> str:
    return ast.unparse(node)


@cache
def modules() -> tuple[Module, ...]:
    found = tuple(Module(path, ast.parse(path.read_text())) for path in sorted(PACKAGE.rglob("*.py")))
    assert len(found) > 50
    return found


def in_room(*rooms: str) -> list[Module]:
    return [module for module in modules() if module.room in rooms]


def _events(module: Any) -> dict[str, type[Event]]:
    return {
        name: value
        for name, value in vars(module).items()
        if isinstance(value, type) and issubclass(value, Event) and value is not Event
    }


FACTS, COMMANDS = _events(facts), _events(commands)
EVENTS = FACTS | COMMANDS


@cache
def components() -> dict[str, Any]:
    """Return the component classes by module name."""
    found = {}
    for info in pkgutil.iter_modules(rtvoice.components.__path__):
        module = importlib.import_module(f"rtvoice.components.{info.name}")
        classes = [
            value for value in vars(module).values() if isinstance(value, type) and value.__module__ == module.__name__
        ]
        (found[info.name],) = [value for value in classes if hasattr(value, "hears")]
    return found


def names(ports: tuple[type, ...]) -> set[str]:
    assert len(set(ports)) == len(ports), "a port is listed twice"
    return {port.__name__ for port in ports}


# --- imports -----------------------------------------------------------------------------------------


def test_every_room_has_a_floor() -> None:
    assert {module.room for module in modules()} - {"__init__"} <= FLOORS.keys()


@pytest.mark.parametrize("room", FLOORS)
def test_a_room_imports_lower_floors_only(room: str) -> None:
    for module in in_room(room):
        for other in module.rooms():
            assert FLOORS[other] < FLOORS[room], f"{module.place} imports {other}"


def test_components_use_one_library_each_and_never_each_other() -> None:
    assert components().keys() == LIBRARIES_OF_COMPONENTS.keys()
    for module in in_room("components"):
        if module.name == "__init__":
            continue
        assert module.rooms() - WORDS <= LIBRARIES_OF_COMPONENTS[module.name], module.place
        others = {name for name, _ in module.imports() if name.startswith("rtvoice.components")}
        assert not others, f"{module.place} imports {others}"


def test_only_parts_and_applications_touch_the_bus() -> None:
    for module in modules():
        if module.room in ("events", "components", "agent", "testing", "cli"):
            continue
        touched = {name for name, _ in module.imports() if name == "rtvoice.events.bus"}
        touched |= {name for _, name in module.imports() if name == "EventBus"}
        assert not touched, module.place


def test_the_two_readings_of_the_protocol_share_no_code() -> None:
    for module in in_room("testing"):
        shared = {(name, what) for name, what in module.imports() if name.startswith("rtvoice.realtime")}
        assert shared <= {("rtvoice.realtime", "RealtimeProvider")}, module.place
    for module in in_room("realtime"):
        assert "testing" not in module.rooms(), module.place


def test_wire_strings_stand_in_realtime_and_testing_only() -> None:
    wire = {text for module in in_room("realtime") for text in module.texts() if WIRE_STRING.fullmatch(text)}
    assert {"response.create", "session.update", "conversation.item.truncate", "response.done"} <= wire
    wire |= {text for module in in_room("testing") for text in module.texts() if WIRE_STRING.fullmatch(text)}
    for module in modules():
        if module.room not in ("realtime", "testing"):
            assert not module.texts() & wire, module.place


@pytest.mark.parametrize(("package", "homes"), HOME_OF_PACKAGE.items(), ids=HOME_OF_PACKAGE.keys())
def test_packages_stay_at_home(package: str, homes: tuple[str, ...]) -> None:
    users = {module.place for module in modules() if package in {name.split(".")[0] for name, _ in module.imports()}}
    assert {place for place in users if not place.startswith(homes)} == set()


def test_no_drawers() -> None:
    drawers = {"utils", "util", "helpers", "helper", "common", "misc", "handlers", "shared", "core"}
    assert not [module.place for module in modules() if module.name in drawers or module.room in drawers]


# --- tasks and time ----------------------------------------------------------------------------------


def test_tasks_are_born_in_task_groups() -> None:
    for module in modules():
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                assert node.func.attr not in ("ensure_future", "run_coroutine_threadsafe"), module.place
                if node.func.attr == "create_task" and module.place not in ("cancellation.py", "eager.py"):
                    owner = _name(node.func.value)
                    assert TASK_GROUPS.fullmatch(owner), f"{module.place}:{node.lineno}: {owner}.create_task"


def test_time_is_the_loops_time() -> None:
    clocks = {"time.time", "time.monotonic", "time.perf_counter", "time.sleep"}
    known = {
        "conversation/inactivity.py": {"time.monotonic"},  # outside a loop there is no other clock
        "testing/clock.py": {"time.monotonic", "time.sleep"},  # it is the clock
        "testing/emulator.py": {"time.time"},  # a date for clients
    }
    for module in modules():
        used = {_name(node) for node in ast.walk(module.tree) if isinstance(node, ast.Attribute)} & clocks
        assert used <= known.get(module.place, set()), module.place


# --- events ------------------------------------------------------------------------------------------


def test_facts_and_commands_are_named_by_their_kind() -> None:
    assert all(name.endswith("Event") for name in FACTS)
    assert all(name.endswith("Command") for name in COMMANDS.keys() - FACTS.keys())
    for event in EVENTS.values():
        assert event.__dataclass_params__.frozen, event  # type: ignore[attr-defined]
        assert "__dict__" not in dir(event), f"{event} has no slots"
        assert event.__doc__
        assert event.__name__ in rtvoice.events.__all__


@pytest.mark.parametrize("name", LIBRARIES_OF_COMPONENTS)
def test_a_component_says_what_it_declares_and_nothing_else(name: str) -> None:
    (module,) = [module for module in in_room("components") if module.name == name]
    made = module.made_events()
    if name == "session":  # the protocol makes them, the session publishes them
        made |= set().union(*(module.made_events() for module in in_room("realtime")))
    assert made == names(components()[name].says)


@pytest.mark.parametrize("name", LIBRARIES_OF_COMPONENTS)
def test_a_component_hears_what_it_declares_and_nothing_else(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its inbox has exactly these types, and the module knows no others than those it hears and says."""
    component = components()[name]
    (module,) = [module for module in in_room("components") if module.name == name]
    opened = [
        _name(node)
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "open_inbox"
    ]
    assert bool(opened) == bool(component.hears)
    assert sum("open_inbox(*self.hears" in call for call in opened) == bool(opened)  # others hear a part of it
    known = {what for where, what in module.imports() if where.startswith("rtvoice.events")} & EVENTS.keys()
    assert known == names(component.hears) | (names(component.says) & known)


def test_the_agent_says_what_it_declares() -> None:
    made = set().union(*(module.made_events() for module in in_room("agent")))
    assert names(Parts.says) <= made
    assert made - names(Parts.says) <= COMMANDS.keys()  # the rest are the wishes of whoever calls the agent


def speakers() -> dict[str, set[str]]:
    return {
        **{name: names(component.says) for name, component in components().items()},
        "agent": set().union(*(module.made_events() for module in in_room("agent"))),
    }


def ears() -> dict[str, set[str]]:
    return {
        **{name: names(component.hears) for name, component in components().items()},
        "agent": names(Parts.hears),
    }


def test_every_fact_has_a_speaker_and_an_ear() -> None:
    said, heard = set().union(*speakers().values()), set().union(*ears().values())
    assert FACTS.keys() - said == set()
    assert FACTS.keys() - heard == FOR_APPLICATIONS


def test_every_command_has_exactly_one_ear() -> None:
    for command in COMMANDS:
        assert len([part for part, heard in ears().items() if command in heard]) == 1, command
    said = set().union(*speakers().values())
    assert COMMANDS.keys() - said <= FROM_APPLICATIONS


def test_urgent_events_are_few() -> None:
    urgent = {name for name, event in EVENTS.items() if event.urgent}
    assert urgent == {"AssistantInterruptedEvent", "InterruptCommand", "SpeechDetectedEvent", "StopAgentCommand"}


# --- the table ---------------------------------------------------------------------------------------


def render_ports() -> str:
    """Return the table of ports for ARCHITECTURE.md."""
    lines = ["| part | hears | says |", "| --- | --- | --- |"]
    parts = {**components(), "agent (parts)": Parts}
    for name in sorted(parts):
        hears, says = (
            " ".join(f"`{port.__name__}`" for port in ports) or "-" for ports in (parts[name].hears, parts[name].says)
        )
        lines.append(f"| {name} | {hears} | {says} |")
    return "\n".join(lines)


MARKED = re.compile(r"(<!-- ports -->\n)(.*?)(<!-- /ports -->)", re.DOTALL)


def test_the_table_in_the_documentation_is_the_one_in_the_code() -> None:
    page = (REPOSITORY / "ARCHITECTURE.md").read_text()
    found = MARKED.search(page)
    assert found is not None
    assert found[2].strip() == render_ports(), "run: python tests/test_architecture.py --write"


def test_a_bus_delivers_what_the_ports_promise() -> None:
    bus = EventBus()
    for component in components().values():
        if component.hears:
            bus.open_inbox(*component.hears)
    assert all(bus.is_heard(EVENTS[name]) for name in EVENTS.keys() - FOR_APPLICATIONS - names(Parts.hears))


if __name__ == "__main__":
    if "--write" in sys.argv:
        page = REPOSITORY / "ARCHITECTURE.md"
        table = f"{render_ports()}\n"
        page.write_text(MARKED.sub(lambda found: found[1] + table + found[3], page.read_text()))
    else:
        print(render_ports())
