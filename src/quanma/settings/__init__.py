"""What all who read settings share: what a message may say of one, files, addresses, the environment's names."""
