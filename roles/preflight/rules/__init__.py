"""What can be said about a site's inventory without touching a Pi: pure functions on plain values.

Every rule takes variables (templated, by their names) and yields Problems. None prints, none reads the
network, and none ever puts the value of a secret into a message.
"""
