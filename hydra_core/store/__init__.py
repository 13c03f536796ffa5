"""What outlives a process. SQLAlchemy is imported here alone, and only on first use."""
