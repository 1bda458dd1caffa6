"""Meters and what is known of them: samples, freshness, access, counters. No I/O."""
