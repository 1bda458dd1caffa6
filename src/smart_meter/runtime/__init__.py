"""The service: start, reload and stop, systemd, and the state that it publishes."""
