"""What the start of the service imports: each of these modules takes milliseconds on a Pi."""

import subprocess
import sys
from pathlib import Path

SLOW = ("asyncio", "dataclasses", "inspect", "logging", "pymodbus", "sqlite3")


def test_the_service_starts_without_slow_imports() -> None:
    code = (
        "import sys, smart_meter.cli.main, smart_meter.runtime.service\n"
        f"print(*[name for name in {SLOW!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


READY = """
import sys
from pathlib import Path
from smart_meter.config import Config, EventsConfig, ServerConfig
from smart_meter.runtime import service
from smart_meter.runtime.notify import Notifier

Notifier.ready = lambda self: print(*[name for name in {slow!r} if name in sys.modules])
config = Config(server=ServerConfig("127.0.0.1", 0), events=EventsConfig({path!r}))
served = service.Service(config, options=service.Options(output=2))
served.stop()
served.run(signals=False)
"""


def test_the_audit_trail_loads_sqlite_once_the_service_is_ready(tmp_path: Path) -> None:
    code = READY.format(slow=SLOW, path=str(tmp_path / "events.db"))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "\n"
    assert (tmp_path / "events.db").exists()
