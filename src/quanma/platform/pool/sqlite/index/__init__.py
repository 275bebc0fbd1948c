"""What a SQLite pool keeps in memory. README.md says what it is made of."""
