"""The same pool below any SDK: HTTP clients of httpx and httpx2 that rotate keys."""
