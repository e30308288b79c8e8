"""A task that waits for an event which nobody sets."""

import asyncio

from .. import package

manager = package.TimeoutManager(60, enforce=True)


async def serve(requests):
    while True:
        await requests.get()


async def fetch(arrived):
    async with manager.timed_operation("fetch", limit=2):
        await arrived.wait()


async def main():
    server = asyncio.ensure_future(serve(asyncio.Queue()))
    server.set_name("server")
    fetching = asyncio.ensure_future(fetch(asyncio.Event()))
    fetching.set_name("fetching")
    try:
        await fetching
    except package.PhaseTimeout as error:
        print(error)
        print(error.diagnosis)
    server.cancel()


asyncio.run(main())
