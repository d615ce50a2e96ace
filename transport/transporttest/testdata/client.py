"""The Python package websockets against a server at argv[1]; "ok" last.

argv[2] is what is agreed on of the extensions: the package offers compression.
"""

import asyncio
import json
import sys

import websockets


async def main(base, extension):
    async def envelope(ws, kind):
        while True:
            got = json.loads(await asyncio.wait_for(ws.recv(), 20))
            if got["type"] == kind:
                return got
            assert got["type"] == "heartbeat", got

    async with websockets.connect(base + "/rooms/snake?heartbeat=1", ping_interval=0.2, ping_timeout=5) as ws:
        hello = await envelope(ws, "hello")
        assert hello["rooms"] == ["snake"], hello
        assert "; ".join(e.name for e in ws.extensions) == extension.split(";")[0], ws.extensions

        await ws.send(json.dumps({"type": "publish", "ref": "a", "data": {"n": 1}, "key": "k"}))
        seen = {}
        while len(seen) < 2:
            got = json.loads(await ws.recv())
            if got["type"] != "heartbeat":
                seen[got["type"]] = got
        assert seen["reply"]["ok"] and seen["reply"]["offset"] == 1, seen
        assert seen["message"]["data"] == {"n": 1}, seen

        # A message in fragments, and pings with content.
        await ws.send(iter(['{"type":"publish","re', 'f":1,"data":"', "\u00e9" * 1000, '"}']))
        seen = set()
        while len(seen) < 2:
            got = json.loads(await ws.recv())
            assert got["type"] in ("reply", "message", "heartbeat"), got
            seen |= {got["type"]} - {"heartbeat"}
        await asyncio.wait_for(await ws.ping(b"x" * 125), 5)
        for _ in range(5):
            await envelope(ws, "heartbeat")

    assert ws.close_code == 1000, ws.close_code

    # From the first greeting's cursor on, everything is there again.
    async with websockets.connect(base + "/rooms/snake?cursor=" + hello["cursor"]) as ws:
        await envelope(ws, "hello")
        assert [(await envelope(ws, "message"))["offset"] for _ in range(2)] == [1, 2]
        await ws.send("{")
        assert (await envelope(ws, "error"))["error"]["code"] == "bad_json"
        await ws.send("x" * ((1 << 20) + 1))
        assert (await envelope(ws, "bye"))["code"] == "frame_too_large"
        try:
            await ws.recv()
        except websockets.ConnectionClosed:
            pass
        assert ws.close_code == 1009, ws.close_code

    # The bare form: data in, data out.
    async with websockets.connect(base + "/rooms/plain?format=bare") as one:
        async with websockets.connect(base + "/rooms/plain?format=bare") as two:
            await one.send("just text")
            for ws in (one, two):
                assert await asyncio.wait_for(ws.recv(), 20) == "just text"

    print("ok")


asyncio.run(main(sys.argv[1], sys.argv[2]))
