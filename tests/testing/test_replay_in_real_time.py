"""The same over a real clock: recorded and replayed at the pace of a person."""

from pathlib import Path

from rtvoice import RealtimeAgent
from rtvoice.testing import Rehearsal, Replay


async def test_a_short_conversation(tmp_path: Path) -> None:
    path = tmp_path / "talk.jsonl"
    rehearsal = Rehearsal(["Yes."])
    async with rehearsal.run(RealtimeAgent(session_log=path, **rehearsal.devices)) as user:
        await user.says("Hi?")
        await user.hears("Yes")
    replay = Replay(path, patience=20.0)
    result = await replay.run(RealtimeAgent(**replay.devices))
    assert [turn.text for turn in result.turns] == ["Hi?", "Yes."]
