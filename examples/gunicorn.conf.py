"""gunicorn reads this file where it starts. The client may be made before the fork: each worker connects by itself."""

preload_app = True
workers = 2
threads = 4
graceful_timeout = 30  # as long as a call may take: deadline_seconds
