"""The state of a Pi as checks: collected in one place, judged in others, printed by the command."""
