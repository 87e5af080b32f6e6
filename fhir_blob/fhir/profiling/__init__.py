"""What a resource has to be beyond its type: profiles, extensions, value sets and R4's own constraints."""
