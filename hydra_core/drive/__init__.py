"""The drivers: the only lock and the only I/O of a call."""
