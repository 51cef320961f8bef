"""A second, plain implementation of scores, bands and awards, to hold the services' results against.

It shares no code with `services/`: it starts from ingest's journal and from what people decided, works in exact
fractions, person by person, and compares what comes out with the services' databases.
"""
