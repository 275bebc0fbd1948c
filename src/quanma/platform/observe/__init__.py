"""What is seen of a running platform: figures, traces, and whether the store answers."""
