"""Register maps: measurements, their encoding, and the status block. Pure."""
