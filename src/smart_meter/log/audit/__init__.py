"""The audit trail: a file of what happened, kept apart from the journal and from the history."""
