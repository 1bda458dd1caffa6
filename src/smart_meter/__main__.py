"""`python -m smart_meter` is the command `smart-meter`."""

from smart_meter.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
