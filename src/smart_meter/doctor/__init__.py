"""Checks of a Pi: `facts` collects, the other modules judge, `smart-meter doctor` prints."""
