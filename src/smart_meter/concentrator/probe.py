"""How our own tools say that they only look: a connection that has announced itself counts nowhere. Pure.

The announcement is a request that any Modbus server answers and that changes nothing at any: Return Query
Data (Modbus Application Protocol V1.1b3, 6.8.1), whose data come back as they are. The concentrator knows
them, and from there on carries out no write of that connection.
"""

from __future__ import annotations

from smart_meter.modbus.adu import FUNCTION
from smart_meter.modbus.functions import RETURN_QUERY_DATA, FunctionCode

ANNOUNCEMENT = b"smart-meter: probe"
"""The query data; 6.8 has them in whole registers, so their number is even."""
PDU = bytes((FunctionCode.DIAGNOSTICS, 0, RETURN_QUERY_DATA)) + ANNOUNCEMENT


def announces(request: bytes) -> bool:
    """Whether a request ADU is the announcement, for whichever unit identifier."""
    return request[FUNCTION:] == PDU
