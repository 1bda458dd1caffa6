"""The state partition of the image: all that changes on the card (docs/decisions/0022).

The build installs this package on the image, below /usr/lib/smart-meter. It needs nothing but Python's
standard library and runs from the initrd, before systemd starts.
"""
