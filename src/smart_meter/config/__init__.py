"""The configuration: a TOML file becomes a frozen, typed Config, or a ConfigError with all its problems.

Everything has a default: an empty file gives one PV meter between the field and the control zone.
"""

from smart_meter.config.load import load, loads
from smart_meter.config.model import (
    CONTROL_ZONE,
    FIELD_ZONE,
    Access,
    AccessRule,
    Complete,
    Config,
    ConfigError,
    EventsConfig,
    HistoryConfig,
    JournalConfig,
    LogFormat,
    MeterConfig,
    OnStale,
    OutOfRange,
    Publish,
    ServerConfig,
    Writers,
    ZoneConfig,
)

__all__ = [
    "CONTROL_ZONE",
    "FIELD_ZONE",
    "Access",
    "AccessRule",
    "Complete",
    "Config",
    "ConfigError",
    "EventsConfig",
    "HistoryConfig",
    "JournalConfig",
    "LogFormat",
    "MeterConfig",
    "OnStale",
    "OutOfRange",
    "Publish",
    "ServerConfig",
    "Writers",
    "ZoneConfig",
    "load",
    "loads",
]
