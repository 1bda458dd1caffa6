"""Builds the image that is flashed to a card: a Debian root from packages, the roles' files, and a disk."""
