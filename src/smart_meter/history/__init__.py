"""The history: stores every complete sample as a row of an SQLite file."""

from smart_meter.history.clocks import Clocks
from smart_meter.history.history import History, Restored

__all__ = ["Clocks", "History", "Restored"]
