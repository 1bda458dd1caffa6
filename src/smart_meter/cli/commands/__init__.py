"""The sub-commands: each module has `execute(arguments)`, which returns the exit code.

They are imported on demand, so that the service starts without the libraries of the tools.
"""
