"""Pure functions from measured quantities to metrics, and the registry that names them."""
