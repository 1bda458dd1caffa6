"""A Modbus TCP data concentrator between a zone that writes telemetry and a zone that reads it."""

__version__ = "0.1.0"
