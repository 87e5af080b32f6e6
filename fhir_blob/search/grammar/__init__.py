"""The grammar of searches: from an HTTP query to a Query."""
