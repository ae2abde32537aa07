"""An emulator in a process of its own, so that its memory is not measured: prints its address, serves for ever."""

import asyncio
import itertools

from rtvoice.testing import RealtimeEmulator, Reply, ReplyRequest, ToolCall

numbers = itertools.count()


def reply(request: ReplyRequest) -> Reply:
    if next(numbers) % 5 == 0 and not request.function_outputs:
        return Reply(calls=[ToolCall("look")])
    return Reply("Here is an answer.")


async def serve() -> None:
    async with RealtimeEmulator(reply, itertools.repeat("A question."), session_length_s=200.0) as server:
        print(server.url, server.api_key, flush=True)
        await asyncio.Event().wait()


asyncio.run(serve())
