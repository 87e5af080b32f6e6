"""The HTTP edge: Flask requests in, Answers out. The WSGI blueprint that app.py mounts."""
