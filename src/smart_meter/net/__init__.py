"""Sockets, connections and the event loop."""
