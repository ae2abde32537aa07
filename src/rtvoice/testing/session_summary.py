"""A recorded session in a few numbers and sentences."""

from statistics import median

from rtvoice.testing.session_timeline import SessionTimeline


def facts(timeline: SessionTimeline) -> list[tuple[str, str]]:
    """Return the numbers of a conversation, each with its name."""
    user = sum(said.who == "user" for said in timeline.utterances)
    interruptions = sum(incident.kind == "interruption" for incident in timeline.incidents)
    errors = sum(incident.kind == "error" for incident in timeline.incidents)
    waits = timeline.latencies_ms
    return [
        ("user turns", str(user)),
        ("answers", str(len(timeline.utterances) - user)),
        ("tool calls", str(len(timeline.tools))),
        ("interruptions", str(interruptions)),
        ("errors", str(errors)),
        ("median wait", f"{median(waits):.0f} ms" if waits else "-"),
        ("longest wait", f"{max(waits):.0f} ms" if waits else "-"),
    ]


def notices(timeline: SessionTimeline) -> list[str]:
    """Return what a reader has to know about the recording, in sentences."""
    recording = timeline.recording
    found = []
    if recording.truncated:
        found.append("The recording breaks off: its last line is incomplete.")
    if "audio" in recording.redacted:
        found.append("The sound was left out of this recording; its duration is right.")
    if "text" in recording.redacted:
        found.append("The words were left out of this recording.")
    return found


def about(timeline: SessionTimeline) -> str:
    """Return with what the conversation was, when, and how long."""
    recording = timeline.recording
    parts = (recording.model, recording.started.replace("T", " ").replace("+00:00", " UTC"))
    return " \N{MIDDLE DOT} ".join(part for part in (*parts, f"{timeline.duration_s:.1f} s") if part)
