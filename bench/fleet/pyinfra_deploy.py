"""The deploy for pyinfra: copy a rendered configuration, and reload the service if the file has changed.

It is run by the command `pyinfra`, in a separate environment (requirements/peers.txt).
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
systemd.service(name="Start the service", service="smart-meter.service", running=True)
systemd.service(
    name="Reload the service",
    service="smart-meter.service",
    reloaded=True,
    _if=config.did_change,
)
