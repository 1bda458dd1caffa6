"""What the sub-commands do; each module has `execute(arguments)`, which returns the exit code.

They are imported when they are called for, so that the service starts without the tools' libraries.
"""
