"""How the built-in extractive model reads: what a question asks, and which sentences answer it."""
