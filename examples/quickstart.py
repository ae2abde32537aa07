"""A voice agent in a few lines: it listens, answers, and can be interrupted.

Needs a microphone, a loudspeaker, ``pip install "rtvoice[audio]"`` and the environment variable OPENAI_API_KEY.
Ctrl+C ends the conversation.
"""

import asyncio

from rtvoice import RealtimeAgent

asyncio.run(RealtimeAgent(instructions="You are a friendly assistant. Answer briefly.").run())
