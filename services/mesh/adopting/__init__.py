"""Settings of other gateways, as Tollway's. Pure: what a file says in, settings and what they leave out of it back."""
