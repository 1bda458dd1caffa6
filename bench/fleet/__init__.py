"""Measures how long redeploying a fleet's configuration takes: ours, pyinfra, and a loop of `ssh PI true`."""
