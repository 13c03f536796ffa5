"""The engine: pure decisions about keys, quotas and failures.

Nothing in here reads a clock, takes a lock, does I/O or draws randomness of its
own: `now` (monotonic seconds) is always an argument, and whoever calls holds the
lock (`hydra_core.drive.gate`). So every rule can be tested as a table and every
history replayed.
"""
