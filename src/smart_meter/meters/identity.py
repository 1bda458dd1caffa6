"""How a meter identifies itself to Read Device Identification. Pure."""

from __future__ import annotations

from smart_meter import __version__
from smart_meter.config import MeterConfig
from smart_meter.modbus.identification import Identification, ObjectId


def identify(config: MeterConfig, device: str) -> Identification:
    """Return the identification of a meter. device: the concentrator's own name."""
    return Identification(
        {
            ObjectId.VENDOR_NAME: "Smart Meter",
            ObjectId.PRODUCT_CODE: "smart-meter",
            ObjectId.MAJOR_MINOR_REVISION: __version__,
            ObjectId.PRODUCT_NAME: "Smart Meter concentrator",
            ObjectId.MODEL_NAME: "Modbus TCP data concentrator",
            ObjectId.USER_APPLICATION_NAME: device,
            ObjectId.REGISTER_MAP_FINGERPRINT: config.map.fingerprint,
            ObjectId.METER_NAME: config.name,
        }
    )
