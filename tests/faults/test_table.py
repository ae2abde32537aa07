"""docs/faults.md says what the matrix has proved: its tables are made of the matrix' own data.

``uv run python -m tests.faults.test_table --write``, in the project's folder, puts them into the page.
"""

import re
import sys
from pathlib import Path

from tests.faults.beginnings import BEGINNINGS
from tests.faults.catalogue import FAULTS, Fault, Outcome

PAGE = Path(__file__).parents[2] / "docs" / "faults.md"
MARKED = re.compile(r"(<!-- (\w+) -->\n)(.*?)(<!-- /\2 -->)", re.DOTALL)

HEARS = {
    Outcome.GOES_ON: "nothing of it",
    Outcome.RECONNECTS: "what had arrived, to its end; after a pause the rest of the answer, or the answer",
    Outcome.ENDS: "the assistant falls silent",
    Outcome.ENDS_QUIETLY: "the assistant falls silent",
}
SEES = {
    Outcome.GOES_ON: "nothing",
    Outcome.RECONNECTS: "`on_agent_reconnecting` for each attempt, `on_agent_reconnected`",
    Outcome.ENDS: "`run()` returns its result",
    Outcome.ENDS_QUIETLY: "`run()` returns its result; no error",
}
KEPT = {
    Outcome.GOES_ON: "everything",
    Outcome.RECONNECTS: "the conversation as far as it was heard; running tools; messages; 5 s of the user's speech",
    Outcome.ENDS: "the result: history, recording, usage",
    Outcome.ENDS_QUIETLY: "the result: history, recording, usage",
}


def _sees(fault: Fault) -> str:
    errors = [f"`on_agent_error` with type `{error}`" for error in sorted(fault.errors)]
    watchdogs = ", ".join(f"`{watchdog}`" for watchdog in sorted(fault.watchdogs))
    fired = [f"`on_watchdog_fired` ({watchdogs}, as the case may be)"] if watchdogs else []
    rest = [] if fault.outcome is Outcome.GOES_ON and (errors or fired) else [SEES[fault.outcome]]
    if fault.spoils:
        rest = ["perhaps `on_watchdog_fired`, `on_agent_error` or a reconnection"]
    return "; ".join([*errors, *fired, *rest])


def _row(fault: Fault, members: list[str]) -> str:
    what = f"{fault.family}: {', '.join(members)}" if fault.family else fault.what
    kept = "everything but what those frames carried" if fault.spoils else KEPT[fault.outcome]
    return f"| {what} | {fault.hears or HEARS[fault.outcome]} | {_sees(fault)} | {kept} |"


def render_matrix() -> str:
    """Return the table of faults during a conversation; a family is one row."""
    lines = ["| What goes wrong | The user hears | The program sees | Kept |", "| --- | --- | --- | --- |"]
    families: dict[str, list[Fault]] = {}
    for name, fault in FAULTS.items():
        families.setdefault(fault.family or name, []).append(fault)
    lines += [_row(faults[0], [fault.what for fault in faults]) for faults in families.values()]
    return "\n".join(lines)


def render_beginnings() -> str:
    """Return the table of faults at the beginning; those with the same end are one row."""
    lines = ["| `run()` raises | type of the error that `on_agent_error` gets | When |", "| --- | --- | --- |"]
    ends: dict[tuple[str, str], list[str]] = {}
    for beginning in BEGINNINGS.values():
        ends.setdefault((beginning.raises.__name__, beginning.error), []).append(beginning.what)
    lines += [f"| `{raises}` | `{error}` | {'; '.join(whats)} |" for (raises, error), whats in ends.items()]
    return "\n".join(lines)


TABLES = {"matrix": render_matrix, "beginnings": render_beginnings}


def test_the_page_says_what_the_matrix_proves() -> None:
    found = {name: table.strip() for _, name, table, _ in MARKED.findall(PAGE.read_text())}
    wanted = {name: render() for name, render in TABLES.items()}
    assert found == wanted, "run: uv run python -m tests.faults.test_table --write"


def test_members_of_a_family_are_dealt_with_alike() -> None:
    for fault in FAULTS.values():
        kin = [other for other in FAULTS.values() if fault.family and other.family == fault.family]
        assert {(other.outcome, other.hears, other.errors, other.watchdogs) for other in kin} <= {
            (fault.outcome, fault.hears, fault.errors, fault.watchdogs)
        }


if __name__ == "__main__":
    page = MARKED.sub(lambda found: f"{found[1]}{TABLES[found[2]]()}\n{found[4]}", PAGE.read_text())
    if "--write" in sys.argv:
        PAGE.write_text(page)
    else:
        print(page)
