"""What every sampler shares: the protocol, laws over episodes, evidence, views of a store."""
