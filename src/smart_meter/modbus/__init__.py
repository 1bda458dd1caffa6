"""Modbus TCP: framing, function codes and connections. Knows nothing of zones, journals or signals."""
