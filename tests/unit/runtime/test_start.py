"""What the start of the service imports: each of these modules takes milliseconds on a Pi."""

import subprocess
import sys

SLOW = ("asyncio", "dataclasses", "inspect", "logging", "pymodbus", "sqlite3")


def test_the_service_starts_without_slow_imports() -> None:
    code = (
        "import sys, smart_meter.cli.main, smart_meter.runtime.service\n"
        f"print(*[name for name in {SLOW!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
