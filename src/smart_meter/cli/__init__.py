"""The command line: argument parser, sub-commands, and the Modbus client that they share."""
