"""The services there are, in the order in which data flows through them."""

SERVICES = ("ingest", "scoring", "calibration", "compensation", "notifications")
