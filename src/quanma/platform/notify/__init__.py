"""Events out of the pool's outbox, to where merchants want them."""
