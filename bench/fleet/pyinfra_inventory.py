"""The inventory for pyinfra: hosts and their data, from the file that BENCH_FLEET_HOSTS names."""

import json
import os
from pathlib import Path

pis = [tuple(host) for host in json.loads(Path(os.environ["BENCH_FLEET_HOSTS"]).read_text(encoding="utf-8"))]
