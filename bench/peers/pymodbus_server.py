"""pymodbus's asynchronous TCP server: `python -m bench.peers.pymodbus_server HOST PORT [uvloop]`."""

import asyncio
import importlib
import sys

from pymodbus.server import StartAsyncTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from bench.samples import PRESET


async def _serve(host: str, port: int) -> None:
    registers = SimData(0, values=list(PRESET), datatype=DataType.REGISTERS)
    await StartAsyncTcpServer(SimDevice(1, simdata=[registers]), address=(host, port))


def main(host: str, port: str, loop: str = "asyncio") -> None:
    """Serve until a signal ends the process; `loop` is "asyncio" or "uvloop"."""
    factory = importlib.import_module("uvloop").new_event_loop if loop == "uvloop" else None
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(_serve(host, int(port)))


main(*sys.argv[1:])
