"""The peer's deploy: the configuration that was rendered before, and a reload where it is another one.

Run by pyinfra's own command, in an environment of its own (requirements/peers.txt).
"""

from pyinfra import host
from pyinfra.operations import files, systemd

config = files.put(
    name="Write the configuration",
    src=host.data.configuration,
    dest="/etc/smart-meter/config.toml",
    user="root",
    group="smart-meter",
    mode="640",
)
systemd.service(name="Have it run", service="smart-meter.service", running=True)
systemd.service(
    name="Have it take the configuration",
    service="smart-meter.service",
    reloaded=True,
    _if=config.did_change,
)
