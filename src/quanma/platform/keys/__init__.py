"""The keys of the platform and of its merchants: kept, made, reloaded, replaced."""
