"""The eight holding registers that every server begins with; load.c and libmodbus_server.c have them, too."""

PRESET = (250, 260, 485, 536, 850, 456, 22150, 5600)
