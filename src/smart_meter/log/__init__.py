"""The journal: its lines, how many of them, and the writer."""
