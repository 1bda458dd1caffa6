"""Sockets, connection limits and time-outs, and the event loop."""
