"""The command line: arguments, commands, and the client that they share."""
