"""Hardship, as figures: what the concentrator was put through, how often, and what was lost of it."""
