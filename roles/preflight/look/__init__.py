"""The look at a Pi: the program that reads, in one round trip, the state that provisioning decides by.

`rules/look.py` sends these modules to the Pi as one program, and checks the answer. They need Python 3.9 and
the standard library, and change nothing. Everything that they read may be written by others: they open no
named pipe or device, read no file and no output without end, and wait for no command longer than
`commands.SECONDS`.
"""
