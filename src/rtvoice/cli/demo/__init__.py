"""``rtvoice demo``: a whole spoken conversation."""

import argparse
import asyncio
from pathlib import Path

from rtvoice.cli.exit_codes import DONE
from rtvoice.cli.terminal import Terminal
from rtvoice.errors import ConfigurationError

_DESCRIPTION = """\
Hold a whole spoken conversation and record it, in about half a minute.

A user who is played from WAV files talks to an agent: real sound over a real
WebSocket to a Realtime server that runs inside this command. The server hears
where the user begins and ends; the agent answers in sound, calls a Python
tool, is interrupted in mid-sentence, and recovers. Nothing leaves this
machine, and no sound card or API key is needed. The server understands no
speech: what it "hears" and says comes from a script and from recordings.
With --local it does understand and speak, and answers by simple rules.
"""

_EPILOG = """\
exit codes:
  0    the conversation was held and recorded; with --mic, Ctrl+C is the way
       to end it
  1    something went wrong on the way
  2    it could not begin: wrong arguments, no API key, no rtvoice[audio]
       or rtvoice[local], a file that cannot be written
  130  Ctrl+C before the end
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command's arguments."""
    parser.description = _DESCRIPTION
    parser.epilog = _EPILOG
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("conversation.wav"),
        metavar="FILE.wav",
        help="the recording: left the user, right the assistant; an old file is replaced (default: %(default)s)",
    )
    parser.add_argument(
        "--record",
        type=Path,
        metavar="FILE.jsonl",
        help="also write the session log, for 'rtvoice replay'; an old file is replaced",
    )
    parser.add_argument(
        "--mic",
        action="store_true",
        help="you are the user: microphone and loudspeaker (better: headphones) of this machine; needs rtvoice[audio]",
    )
    server = parser.add_mutually_exclusive_group()
    server.add_argument(
        "--local",
        action="store_true",
        help="let the server understand and speak, offline, with simple rules for answers; needs rtvoice[local]",
    )
    server.add_argument(
        "--openai",
        action="store_true",
        help="talk to the real service instead; needs OPENAI_API_KEY and costs a few cents",
    )


def run(options: argparse.Namespace, terminal: Terminal) -> int:
    """Hold the conversation.

    Raises:
        ConfigurationError: A file cannot be written there, or there is no API key.
        AudioExtraMissingError: ``--mic`` without rtvoice[audio].
        LocalExtraMissingError: ``--local`` without rtvoice[local].
        RtvoiceError: Whatever else keeps the agent from its conversation.
    """
    # Here, and not above: with them comes nearly all of rtvoice, which --help can do without.
    from rtvoice.audio.portaudio import load_sounddevice
    from rtvoice.cli.demo.conversation import hold

    if options.out.suffix.lower() != ".wav":
        raise ConfigurationError(f"--out {options.out}: the recording is a WAV file, so its name must end in .wav")
    _check_writable("--out", options.out)
    if options.record is not None:
        _check_writable("--record", options.record)
    if options.mic:
        load_sounddevice()
    try:
        return asyncio.run(
            hold(
                terminal,
                out=options.out,
                log=options.record,
                microphone=options.mic,
                openai=options.openai,
                local=options.local,
            )
        )
    except KeyboardInterrupt:  # where the agent itself cannot catch Ctrl+C: on Windows, or the second time
        if options.mic:
            return DONE
        raise


def _check_writable(option: str, path: Path) -> None:
    """Find out now, not when everything is said, that a file cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        is_new = not path.exists()
        with path.open("ab"):
            pass
        if is_new:
            path.unlink()
    except OSError as error:
        raise ConfigurationError(f"{option} {path}: cannot write there ({error.strerror})") from error
