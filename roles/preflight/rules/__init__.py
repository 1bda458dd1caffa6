"""Rules on a site's inventory that need no Pi: pure functions of plain values.

A rule takes variables (templated, by their names) and yields Problems. It prints nothing, reads nothing from
the network, and never puts the value of a secret into a message.
"""

import sys
from pathlib import Path

# The program comes from the same commit as these rules, whatever else is installed on the controller.
_SOURCE = str(Path(__file__).resolve().parents[3] / "src")
if _SOURCE not in sys.path:
    sys.path.insert(0, _SOURCE)
