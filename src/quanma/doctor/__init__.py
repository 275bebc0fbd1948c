"""What is wrong with settings, keys, the clock and the way to the platform: one check for each, and its mend."""
