"""One side of a recording: blocks that arrive late, early or in bursts, laid onto a real-time line.

Pure bookkeeping in samples since the start of the line: no clock, no thread, no file.
"""

from collections import deque

from rtvoice.audio.pcm import SAMPLE_BYTES, SAMPLE_RATE, ms_to_samples, samples_in, silence

TOLERANCE = ms_to_samples(20)
"""Deviations up to this are jitter: the audio is joined without a gap."""

LOOK_AHEAD = ms_to_samples(750)
"""How long a block waits for its successors, which show whether it was late or follows a gap."""

FAST_FEED = SAMPLE_RATE // 2
"""Audio this far ahead of its time is no clock drift: its source delivers faster than real time."""


class RecordingTrack:
    """Places blocks of one track and gives the line out piece by piece.

    A block says when it was captured or heard. After a stall of the program, blocks that belong to different
    moments arrive together and late; they must follow each other without gaps. After a mute, blocks are not late
    but truly later; there the line needs silence. What tells the two apart is the *smallest* lag among the blocks
    that follow: it comes back to zero after a stall and stays after a gap.
    """

    def __init__(self) -> None:
        self._waiting: deque[tuple[int, int, bytes]] = deque()  # (number, at, pcm)
        self._least: deque[tuple[int, int]] = deque()  # (number, at - samples before it): minima of what waits
        self._placed: deque[tuple[int, bytes]] = deque()  # (start, pcm): in order, without overlaps
        self._count = 0
        self._received = 0  # samples of all blocks so far
        self._settled = 0  # samples of the blocks that no longer wait
        self._next = 0  # where the line goes on
        self._taken = 0  # how far it has been given out
        self.held = 0  # bytes in memory

    def place(self, at: int, pcm: bytes) -> None:
        """Add a block as it was captured or rendered.

        Args:
            at: When its first sample was, more or less: never before its time, but possibly after.
            pcm: PCM16 of any length.
        """
        self.held += len(pcm)
        offset = at - self._received
        while self._least and self._least[-1][1] >= offset:
            self._least.pop()
        self._least.append((self._count, offset))
        self._waiting.append((self._count, at, pcm))
        self._count += 1
        self._received += samples_in(pcm)

    def schedule(self, at: int, pcm: bytes) -> None:
        """Add a block that will be heard at ``at``, or when what was scheduled before it has ended."""
        self.held += len(pcm)
        if at > self._next + TOLERANCE:
            self._next = at
        self._append(pcm)

    def cut(self, at: int) -> None:
        """Take out what was scheduled from ``at`` on."""
        while self._placed and self._placed[-1][0] + samples_in(self._placed[-1][1]) > at:
            start, pcm = self._placed.pop()
            kept = pcm[: max(0, at - start) * SAMPLE_BYTES]
            self.held -= len(pcm) - len(kept)
            if kept:
                self._placed.append((start, kept))
        self._next = min(self._next, at)

    def settle(self, now: int | None = None) -> None:
        """Decide where the blocks belong that have waited long enough; all of them when ``now`` is ``None``."""
        while self._waiting and (now is None or self._waiting[0][1] + LOOK_AHEAD <= now):
            number, _, pcm = self._waiting.popleft()
            while self._least[0][0] < number:
                self._least.popleft()
            lag = self._least[0][1] - (self._next - self._settled)
            self._settled += samples_in(pcm)
            if lag > TOLERANCE:
                self._next += lag
            elif -FAST_FEED < lag < -TOLERANCE:  # the device's clock runs fast
                kept = pcm[-lag * SAMPLE_BYTES :]
                self.held -= len(pcm) - len(kept)
                pcm = kept
            self._append(pcm)

    def ready(self, now: int) -> int:
        """Return how far the line is final, if nothing from before ``now`` will follow."""
        return min(now, self._next) if self._waiting else now

    def take(self, until: int) -> bytes:
        """Give out the line up to sample ``until``; where nothing was placed, it is silent."""
        parts: list[bytes] = []
        while self._placed and self._placed[0][0] < until:
            start, pcm = self._placed.popleft()
            room = (until - start) * SAMPLE_BYTES
            if len(pcm) > room:
                self._placed.appendleft((until, pcm[room:]))
                pcm = pcm[:room]
            parts += silence(start - self._taken), pcm
            self._taken = start + samples_in(pcm)
            self.held -= len(pcm)
        parts.append(silence(until - self._taken))
        self._taken = max(self._taken, until)
        return b"".join(parts)

    def _append(self, pcm: bytes) -> None:
        self._next = max(self._next, self._taken)
        if pcm:
            self._placed.append((self._next, pcm))
            self._next += samples_in(pcm)
