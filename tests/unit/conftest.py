"""Shared by the unit tests: no sockets, no sleeps."""

from hypothesis import settings

# A machine that is busy with virtual Pis must not fail an example for its time.
settings.register_profile("unit", deadline=None)
settings.load_profile("unit")
