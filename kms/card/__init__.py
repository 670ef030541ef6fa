"""GlobalPlatform without I/O: values in, values out. No sockets, clocks, logging, databases or HSM libraries."""
