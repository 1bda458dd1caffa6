"""Real sockets, real programs, real machines."""
