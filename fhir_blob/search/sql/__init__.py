"""The index in the database that the resources are in."""
