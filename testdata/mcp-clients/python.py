"""The Python SDK of the protocol, mcp on PyPI, as a client for tests.

    python python.py {"command": [...], "env": {...}, "cwd": "..."}
    python python.py {"url": "...", "token": "..."}

It reads calls as JSON lines {"tool", "arguments"} and answers each with a line: what call_tool gave. Before them
comes a line with the names of the tools.
"""

import asyncio
import json
import sys
from contextlib import AsyncExitStack

import httpx2
from mcp import Client, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client


def say(value: object) -> None:
    print(json.dumps(value), flush=True)


async def main(server: dict) -> None:
    async with AsyncExitStack() as stack:
        if "url" in server:
            headers = {"Authorization": "Bearer " + server["token"]}
            http = await stack.enter_async_context(httpx2.AsyncClient(headers=headers, timeout=120))
            target = streamable_http_client(server["url"], http_client=http)
        else:
            command = server["command"]
            target = StdioServerParameters(command=command[0], args=command[1:], env=server["env"], cwd=server["cwd"])
        client = await stack.enter_async_context(Client(target))
        say([tool.name for tool in (await client.list_tools()).tools])
        while line := await asyncio.to_thread(sys.stdin.readline):
            call = json.loads(line)
            result = await client.call_tool(call["tool"], call["arguments"])
            say(result.model_dump(mode="json", by_alias=True))


asyncio.run(main(json.loads(sys.argv[1])))
