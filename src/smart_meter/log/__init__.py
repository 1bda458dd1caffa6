"""The log: its lines, the limits of their rate, and the writer."""
