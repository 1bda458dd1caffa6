"""How our own tools announce that they only read: their connections are not counted. Pure.

The announcement is a request that any Modbus server answers and that changes nothing on any of them: Return
Query Data (Modbus Application Protocol V1.1b3, 6.8.1), whose data are echoed. The concentrator recognizes the
data, and from then on carries out no write of that connection.
"""

from __future__ import annotations

from smart_meter.modbus.adu import FUNCTION
from smart_meter.modbus.functions import RETURN_QUERY_DATA, FunctionCode

ANNOUNCEMENT = b"smart-meter: probe"
"""The query data; 6.8 counts them in whole registers, so the number of bytes is even."""
PDU = bytes((FunctionCode.DIAGNOSTICS, 0, RETURN_QUERY_DATA)) + ANNOUNCEMENT


def announces(request: bytes) -> bool:
    """Whether a request ADU is the announcement; the unit identifier does not matter."""
    return request[FUNCTION:] == PDU
