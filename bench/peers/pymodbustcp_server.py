"""pyModbusTCP's server, a thread per connection: `python -m bench.peers.pymodbustcp_server HOST PORT`."""

import sys

from pyModbusTCP.server import DataBank, ModbusServer

from bench.samples import PRESET

bank = DataBank(h_regs_size=len(PRESET))
bank.set_holding_registers(0, list(PRESET))
ModbusServer(host=sys.argv[1], port=int(sys.argv[2]), data_bank=bank).start()
