"""Runs the concentrator under faults, and reports how often each fault occurred and what was lost."""
