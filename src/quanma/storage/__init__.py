"""What several floors need of a file."""
