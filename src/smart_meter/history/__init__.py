"""The history: every complete sample a row of an SQLite file, whatever clock, power and disk do."""

from smart_meter.history.clocks import Clocks
from smart_meter.history.history import History, Restored

__all__ = ["Clocks", "History", "Restored"]
