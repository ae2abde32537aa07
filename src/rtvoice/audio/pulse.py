"""What PulseAudio and PipeWire do behind PortAudio's back: move our capture to another source.

When a microphone is unplugged, the sound server moves its streams to the next best source, and if there is no other
microphone, that is the *monitor* of the loudspeaker: PortAudio notices nothing, and the agent hears itself. So on Linux
a thread listens to what the server says of our streams. Without libpulse or such a server it does nothing.

The structures are the beginnings of those in https://freedesktop.org/software/pulseaudio/doxygen/introspect_8h.html
"""

import ctypes
import logging
import os
import threading
from collections.abc import Callable
from typing import Any, Final

logger = logging.getLogger(__name__)

STOP_TIMEOUT_S: Final = 1.0
"""How long to wait for the thread to end, in seconds."""

_LIBRARY: Final = "libpulse.so.0"
_NO_AUTOSPAWN: Final = 1  # pa_context_flags_t
_READY, _FAILED, _TERMINATED = 4, 5, 6  # pa_context_state_t
_SOURCE_OUTPUTS: Final = 8  # pa_subscription_mask_t
_INVALID_INDEX: Final = 0xFFFFFFFF


class _SampleSpec(ctypes.Structure):
    _fields_ = (("format", ctypes.c_int), ("rate", ctypes.c_uint32), ("channels", ctypes.c_uint8))


class _ChannelMap(ctypes.Structure):
    _fields_ = (("channels", ctypes.c_uint8), ("map", ctypes.c_int * 32))


class _Volume(ctypes.Structure):
    _fields_ = (("channels", ctypes.c_uint8), ("values", ctypes.c_uint32 * 32))


class _SourceOutputInfo(ctypes.Structure):
    _fields_ = (
        ("index", ctypes.c_uint32),
        ("name", ctypes.c_char_p),
        ("owner_module", ctypes.c_uint32),
        ("client", ctypes.c_uint32),
        ("source", ctypes.c_uint32),
        ("sample_spec", _SampleSpec),
        ("channel_map", _ChannelMap),
        ("buffer_usec", ctypes.c_uint64),
        ("source_usec", ctypes.c_uint64),
        ("resample_method", ctypes.c_char_p),
        ("driver", ctypes.c_char_p),
        ("proplist", ctypes.c_void_p),
    )


class _SourceInfo(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_char_p),
        ("index", ctypes.c_uint32),
        ("description", ctypes.c_char_p),
        ("sample_spec", _SampleSpec),
        ("channel_map", _ChannelMap),
        ("owner_module", ctypes.c_uint32),
        ("volume", _Volume),
        ("mute", ctypes.c_int),
        ("monitor_of_sink", ctypes.c_uint32),
    )


_OnState = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)
_OnEvent = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int, ctypes.c_uint32, ctypes.c_void_p)
_OnOutput = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.POINTER(_SourceOutputInfo), ctypes.c_int, ctypes.c_void_p)
_OnSource = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.POINTER(_SourceInfo), ctypes.c_int, ctypes.c_void_p)


class MonitorWatch:
    """Says when a capture stream of this process is moved to the monitor of a loudspeaker.

    Args:
        on_monitor: Called with the name of the monitor, once, from a thread of its own.
    """

    def __init__(self, on_monitor: Callable[[str], None]) -> None:
        self._on_monitor = on_monitor
        self._monitor: str | None = None  # on which one of our streams was seen at first
        self._seen = threading.Event()  # one of our streams was, or there is nothing to see
        self._known_good: set[int] = set()  # our streams that were seen on a real source
        self._streams: dict[int, set[int]] = {}  # source: those of our streams that were seen on it last
        self._running = False
        self._loop: int | None = None
        self._lock = threading.Lock()  # while the main loop is made or freed
        self._thread = threading.Thread(target=self._run, name="rtvoice-pulse", daemon=True)

    def start(self) -> None:
        """Begin to listen, if there is a sound server to listen to. Blocks while the library is loaded."""
        try:
            pulse = ctypes.CDLL(_LIBRARY)
        except OSError:
            return
        pulse.pa_mainloop_new.restype = ctypes.c_void_p
        pulse.pa_mainloop_get_api.restype = ctypes.c_void_p
        pulse.pa_context_new.restype = ctypes.c_void_p
        pulse.pa_context_get_source_output_info_list.restype = ctypes.c_void_p
        pulse.pa_context_get_source_info_by_index.restype = ctypes.c_void_p
        pulse.pa_context_subscribe.restype = ctypes.c_void_p
        pulse.pa_proplist_gets.restype = ctypes.c_char_p
        self._pulse: Any = pulse
        self._callbacks = (
            _OnState(self._state_changed),
            _OnEvent(lambda *_: self._look()),
            _OnOutput(self._stream_seen),
            _OnSource(self._source_seen),
        )
        self._running = True
        self._thread.start()

    def monitor_at_first(self, timeout_s: float) -> str | None:
        """Return the monitor that a stream of ours began on, if one did; blocks until the server has said so."""
        if self._thread.ident is not None:
            self._seen.wait(timeout_s)
        return self._monitor

    def stop(self) -> None:
        """Listen no more; blocks for a moment."""
        with self._lock:
            self._running = False
            if self._loop is not None:
                self._pulse.pa_mainloop_wakeup(ctypes.c_void_p(self._loop))
        if self._thread.ident is not None and self._thread is not threading.current_thread():
            self._thread.join(STOP_TIMEOUT_S)

    def _run(self) -> None:
        pulse = self._pulse
        loop = pulse.pa_mainloop_new()
        api = ctypes.c_void_p(pulse.pa_mainloop_get_api(ctypes.c_void_p(loop)))
        self._context = ctypes.c_void_p(pulse.pa_context_new(api, b"rtvoice"))
        with self._lock:
            self._loop = loop
        pulse.pa_context_set_state_callback(self._context, self._callbacks[0], None)
        pulse.pa_context_connect(self._context, None, _NO_AUTOSPAWN, None)
        while self._running and pulse.pa_mainloop_iterate(ctypes.c_void_p(loop), 1, None) >= 0:
            pass
        self._seen.set()
        with self._lock:
            self._loop = None
        pulse.pa_context_set_state_callback(self._context, None, None)
        pulse.pa_context_disconnect(self._context)
        pulse.pa_context_unref(self._context)
        pulse.pa_mainloop_free(ctypes.c_void_p(loop))

    def _state_changed(self, *_: object) -> None:
        state = self._pulse.pa_context_get_state(self._context)
        if state in (_FAILED, _TERMINATED):  # no such server, or it has died: PortAudio will notice that
            self._running = False
        elif state == _READY:
            self._pulse.pa_context_set_subscribe_callback(self._context, self._callbacks[1], None)
            self._discard(self._pulse.pa_context_subscribe(self._context, _SOURCE_OUTPUTS, None, None))
            self._look()

    def _look(self) -> None:
        on_stream = self._callbacks[2]
        self._discard(self._pulse.pa_context_get_source_output_info_list(self._context, on_stream, None))

    def _stream_seen(self, _context: int, info: Any, end: int, _data: int) -> None:
        if end:
            return
        stream = info.contents
        process = self._pulse.pa_proplist_gets(ctypes.c_void_p(stream.proplist), b"application.process.id")
        if process is not None and process.decode() == str(os.getpid()):
            for streams in self._streams.values():
                streams.discard(stream.index)
            self._streams.setdefault(stream.source, set()).add(stream.index)
            self._discard(
                self._pulse.pa_context_get_source_info_by_index(self._context, stream.source, self._callbacks[3], None)
            )

    def _source_seen(self, _context: int, info: Any, end: int, _data: int) -> None:
        if end:
            return
        source = info.contents
        streams = self._streams.get(source.index, set())
        if source.monitor_of_sink == _INVALID_INDEX:
            self._known_good |= streams
        elif self._running and streams & self._known_good:
            self._running = False
            self._on_monitor(source.name.decode(errors="replace"))
        elif streams and not self._seen.is_set():
            self._monitor = source.name.decode(errors="replace")
        if streams:
            self._seen.set()

    def _discard(self, operation: int | None) -> None:
        """Let an operation finish on its own."""
        if operation:
            self._pulse.pa_operation_unref(ctypes.c_void_p(operation))
