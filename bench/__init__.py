"""How fast the server is, against a bare Flask application under the same server in the same run."""
