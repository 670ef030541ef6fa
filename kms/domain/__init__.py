"""Pure rules and values of the product: no I/O, no clock, no framework."""
