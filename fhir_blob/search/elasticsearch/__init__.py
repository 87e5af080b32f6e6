"""The index in an Elasticsearch cluster beside the database."""
