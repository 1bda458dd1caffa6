"""What can be said about a site's inventory without touching a Pi: pure functions on plain values.

Every rule takes variables (templated, by their names) and yields Problems. None prints, none reads the
network, and none ever puts the value of a secret into a message.
"""

import sys
from pathlib import Path

# The program's rules come from the same commit as these, whatever else the controller has installed.
_SOURCE = str(Path(__file__).resolve().parents[3] / "src")
if _SOURCE not in sys.path:
    sys.path.insert(0, _SOURCE)
